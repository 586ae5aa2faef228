"""Addresses of data connections in PORT, EPRT and EPSV, and which of them may be connected to."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError

__all__ = [
    "EpsvArgument",
    "HostPort",
    "check_active_target",
    "parse_eprt",
    "parse_epsv_argument",
    "parse_port",
]

EpsvArgument = Literal[1, 2, "ALL"] | None
"""1: IPv4, 2: IPv6 (RFC 2428 section 2); None: that of the control connection."""

_PORT = re.compile(r"([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3}),([0-9]{1,3})")
_NETWORKS = {"1": 4, "2": 6}  # RFC 2428 section 2: address family numbers to IP versions
_EPSV_ARGUMENTS: dict[str, EpsvArgument] = {"": None, "1": 1, "2": 2, "ALL": "ALL"}
_FIRST_UNPRIVILEGED_PORT = 1024  # RFC 2577 section 3: lower ones belong to other services


@dataclass(frozen=True, slots=True)
class HostPort:
    """Where to connect to; `host` is an IPv4 or IPv6 address in its canonical form."""

    host: str
    port: int


def parse_port(argument: str) -> HostPort:
    """Return the address in a PORT command (RFC 959 section 5.3.2). Raises ProtocolError (501).

    >>> parse_port("192,168,0,1,4,1")
    HostPort(host='192.168.0.1', port=1025)
    """
    match = _PORT.fullmatch(argument.strip(" "))
    numbers = [int(number) for number in match.groups()] if match else []
    if not numbers or max(numbers) > 0xFF:
        raise ProtocolError(replies.BAD_PORT_ARGUMENT)
    *octets, high, low = numbers
    port = high << 8 | low
    if not port:
        raise ProtocolError(replies.BAD_PORT_ARGUMENT)
    return HostPort(".".join(map(str, octets)), port)


def parse_eprt(argument: str) -> HostPort:
    """Return the address in an EPRT command (RFC 2428 section 2).

    Raises ProtocolError: 522 for a network protocol other than 1 and 2, 501 otherwise.

    >>> parse_eprt("|2|2001:DB8::1|5282|")
    HostPort(host='2001:db8::1', port=5282)
    """
    argument = argument.strip(" ")
    parts = argument.split(argument[:1] or "|")
    if len(parts) != 5 or parts[4] or not "!" <= argument[0] <= "~":
        raise ProtocolError(replies.BAD_PORT_ARGUMENT)
    _, network, host, port, _ = parts
    if network not in _NETWORKS:
        is_number = network.isascii() and network.isdigit()
        raise ProtocolError(replies.UNKNOWN_NETWORK if is_number else replies.BAD_PORT_ARGUMENT)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ProtocolError(replies.BAD_PORT_ARGUMENT) from None
    if (
        address.version != _NETWORKS[network]
        or "%" in host  # a zone means something on the client's machine only
        or not re.fullmatch("[0-9]{1,5}", port)
        or not 0 < int(port) <= 0xFFFF
    ):
        raise ProtocolError(replies.BAD_PORT_ARGUMENT)
    return HostPort(str(address), int(port))


def parse_epsv_argument(argument: str) -> EpsvArgument:
    """Return what an EPSV command asks for (RFC 2428 section 3).

    Raises ProtocolError: 522 for another network protocol, 501 for anything else.
    """
    argument = argument.strip(" ").upper()
    if argument in _EPSV_ARGUMENTS:
        return _EPSV_ARGUMENTS[argument]
    is_number = argument.isascii() and argument.isdigit()
    raise ProtocolError(replies.UNKNOWN_NETWORK if is_number else replies.SYNTAX_ERROR)


def check_active_target(target: HostPort, client_host: str) -> None:
    """Refuse to connect anywhere but to the client itself, so that nobody is attacked through us.

    `client_host` is the peer of the control connection, as the socket names it. Raises
    ProtocolError (504). RFC 2577 section 3: the "bounce" attack.
    """
    is_own = _plain_address(target.host) == _plain_address(client_host)
    if not is_own or target.port < _FIRST_UNPRIVILEGED_PORT:
        raise ProtocolError(replies.FOREIGN_ADDRESS)


def _plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address without its zone, and as IPv4 if it is ::ffff:1.2.3.4 (dual stack)."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
