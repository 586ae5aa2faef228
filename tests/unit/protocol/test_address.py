"""Addresses of data connections: what is understood, what is refused, and with which reply."""

import doctest
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.protocol import address, replies
from cos_ftp_server.protocol.address import (
    HostPort,
    check_active_target,
    parse_eprt,
    parse_epsv_argument,
    parse_port,
)
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.replies import Reply

ports = st.integers(1, 0xFFFF)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("127,0,0,1,4,1", HostPort("127.0.0.1", 1025)),
        (" 127,0,0,1,4,1 ", HostPort("127.0.0.1", 1025)),
        ("010,001,000,255,255,255", HostPort("10.1.0.255", 65535)),
        ("1,2,3,4,0,1", HostPort("1.2.3.4", 1)),
    ],
)
def test_port(argument: str, expected: HostPort) -> None:
    assert parse_port(argument) == expected


@pytest.mark.parametrize(
    "argument",
    [
        "",
        " ",
        "1,2,3,4,5",
        "1,2,3,4,5,6,7",
        "256,0,0,1,4,1",
        "1,2,3,4,0,256",
        "1,2,3,4,0,0",
        "1,2,3,4,-1,0",
        "1,2,3,4,+1,0",
        "1, 2,3,4,1,0",
        "1,2,3,4,1_0,0",
        "1,2,3,4,\u0661,0",
        "1.2.3.4,1,0",
        "0001,2,3,4,1,0",
        "a,b,c,d,e,f",
        "|1|1.2.3.4|1025|",
    ],
)
def test_port_refused(argument: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_port(argument)
    assert caught.value.reply is replies.BAD_PORT_ARGUMENT


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("|1|132.235.1.2|6275|", HostPort("132.235.1.2", 6275)),
        ("|2|1080::8:800:200C:417A|5282|", HostPort("1080::8:800:200c:417a", 5282)),
        (" !1!1.2.3.4!1! ", HostPort("1.2.3.4", 1)),
        ("/2/::1/65535/", HostPort("::1", 65535)),
    ],
)
def test_eprt(argument: str, expected: HostPort) -> None:
    assert parse_eprt(argument) == expected


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("", replies.BAD_PORT_ARGUMENT),
        (" ", replies.BAD_PORT_ARGUMENT),
        ("|", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|1025", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|1025|x", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|1025||", replies.BAD_PORT_ARGUMENT),
        ("é1é1.2.3.4é1025é", replies.BAD_PORT_ARGUMENT),
        ("|1|::1|1025|", replies.BAD_PORT_ARGUMENT),
        ("|2|1.2.3.4|1025|", replies.BAD_PORT_ARGUMENT),
        ("|2|fe80::1%eth0|1025|", replies.BAD_PORT_ARGUMENT),
        ("|1|example.com|1025|", replies.BAD_PORT_ARGUMENT),
        ("|1||1025|", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4||", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|0|", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|65536|", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|-1|", replies.BAD_PORT_ARGUMENT),
        ("|1|1.2.3.4|" + "9" * 5000 + "|", replies.BAD_PORT_ARGUMENT),
        ("|x|1.2.3.4|1025|", replies.BAD_PORT_ARGUMENT),
        ("||1.2.3.4|1025|", replies.BAD_PORT_ARGUMENT),
        ("|3|1.2.3.4|1025|", replies.UNKNOWN_NETWORK),
        ("|0|whatever|1025|", replies.UNKNOWN_NETWORK),
    ],
)
def test_eprt_refused(argument: str, reply: Reply) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_eprt(argument)
    assert caught.value.reply is reply


@pytest.mark.parametrize(
    ("argument", "expected"),
    [("", None), (" ", None), ("1", 1), ("2", 2), ("ALL", "ALL"), (" all ", "ALL")],
)
def test_epsv(argument: str, expected: object) -> None:
    assert parse_epsv_argument(argument) == expected


@pytest.mark.parametrize(
    ("argument", "reply"),
    [
        ("3", replies.UNKNOWN_NETWORK),
        ("01", replies.UNKNOWN_NETWORK),
        ("x", replies.SYNTAX_ERROR),
        ("-1", replies.SYNTAX_ERROR),
        ("\u0661", replies.SYNTAX_ERROR),
        ("ALL 1", replies.SYNTAX_ERROR),
    ],
)
def test_epsv_refused(argument: str, reply: Reply) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_epsv_argument(argument)
    assert caught.value.reply is reply


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "::ffff:10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8:0::1"),
        ("fe80::1", "fe80::1%eth0"),
    ],
)
def test_a_client_may_name_itself(host: str, client: str) -> None:
    check_active_target(HostPort(host, 1024), client)


@pytest.mark.parametrize(
    ("host", "port"),
    [("10.0.0.2", 1024), ("10.0.0.1", 1023), ("10.0.0.1", 25), ("::1", 1024), ("0.0.0.0", 1024)],
)
def test_bounce_is_refused(host: str, port: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        check_active_target(HostPort(host, port), "10.0.0.1")
    assert caught.value.reply is replies.FOREIGN_ADDRESS


@given(st.ip_addresses(v=4).map(str), ports)
def test_what_pasv_says_port_understands(host: str, port: int) -> None:
    text = replies.passive(host, port).text
    assert parse_port(text[text.index("(") + 1 : text.index(")")]) == HostPort(host, port)


@given(st.ip_addresses(), ports, st.sampled_from("|!/~#"))
def test_any_address_in_eprt(host: object, port: int, delimiter: str) -> None:
    network = "2" if ":" in str(host) else "1"
    argument = delimiter.join(["", network, str(host), str(port), ""])
    assert parse_eprt(argument) == HostPort(str(host), port)


@given(st.text())
def test_nothing_but_a_refusal_comes_out_of_nonsense(argument: str) -> None:
    for parse in (parse_port, parse_eprt, parse_epsv_argument):
        with suppress(ProtocolError):
            parse(argument)


def test_the_examples_in_the_documentation() -> None:
    outcome = doctest.testmod(address)
    assert outcome.attempted
    assert not outcome.failed
