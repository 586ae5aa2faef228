"""Nobody waits for somebody else, and nobody sees what is somebody else's.

That one session goes on while another is blocked is shown by order, not by time: everything that
the second one does is over before the first one's obstacle is taken away.
"""

import select

import pytest

from tests.e2e.conftest import BOB, Place
from tests.e2e.harness import MIB, Gateway, Site, Store
from tests.e2e.wire import Wire, read_all


def is_silent(wire: Wire) -> bool:
    """Whether no reply has come."""
    return not select.select([wire.socket], [], [], 0)[0]


def work(wire: Wire, path: str) -> None:
    """Do something of everything."""
    wire.play(f"250 CWD {path}\n257 MKD {path}/d\n250 RMD {path}/d")
    for number in range(10):
        content = b"x" * (number * 200_000)
        assert wire.upload(f"STOR {path}/{number}", content).code == 226
        assert wire.download(f"RETR {path}/{number}") == content
        wire.play(f"213 SIZE {path}/{number}\n250 MLST {path}/{number}")
        wire.play(f"350 RNFR {path}/{number}\n250 RNTO {path}/moved")
        assert b"moved" in wire.download(f"NLST {path}")
        wire.expect(f"DELE {path}/moved", 250)


@pytest.mark.parametrize(
    ("operation", "command"),
    [("HeadObject", "SIZE"), ("DeleteObject", "DELE"), ("HeadObject", "MLST")],
)
@pytest.mark.parametrize("user", ["alice", "bob"])
def test_a_slow_request_delays_only_its_own_session(
    operation: str,
    command: str,
    user: str,
    gateway: Gateway,
    store: Store,
    wire: Wire,
    place: Place,
) -> None:
    place.put("slow", b"12345")
    path = place.path if user == "alice" else f"/{place.name}-bob"
    if user == "bob":
        store.load(BOB.keys.bucket, **{f"{path[1:]}/": b""})
    with store.holding(place.key("slow"), operation) as release, Wire(gateway.site(user)) as other:
        wire.send(f"{command} {place.path}/slow")
        store.wait_for_request(operation, place.key("slow"))
        other.log_in()
        work(other, path)
        assert is_silent(wire)
        release()
        assert wire.reply().code in (213, 250)


def test_a_slow_upload_and_a_slow_download_delay_nobody(
    alice: Site, store: Store, wire: Wire, place: Place
) -> None:
    place.put("slow-down", b"12345")
    with (
        store.holding(place.key("slow")) as release,
        Wire(alice) as reader,
        Wire(alice) as other,
    ):
        reader.log_in()
        other.log_in()
        with reader.passive() as reading, wire.passive() as writing:
            reader.send(f"RETR {place.path}/slow-down")
            wire.expect(f"STOR {place.path}/slow-up", 150)
            writing.sendall(bytes(2 * MIB))
            writing.close()
            store.wait_for_request("GetObject", place.key("slow-down"))
            work(other, place.path)
            assert is_silent(reader)
            release()
            reply = wire.reply()
            assert reply.code == 226, reply
            assert reader.reply().code == 150
            assert read_all(reading) == b"12345"
        assert reader.reply().code == 226


def test_clients_that_do_not_read_delay_nobody(alice: Site, wire: Wire, place: Place) -> None:
    """More data is on its way than fits into the gateway's memory for transfers."""
    content = bytes(40 * MIB)
    place.put("large", content)
    with Wire(alice) as first, Wire(alice) as second, Wire(alice) as third:
        readers = (first, second, third)
        connections = []
        for reader in readers:
            reader.log_in()
            connections.append(reader.passive())
            reader.expect(f"RETR {place.path}/large", 150)
        work(wire, place.path)
        for reader, connection in zip(readers, connections, strict=True):
            with connection:
                assert len(read_all(connection)) == len(content)
            assert reader.reply().code == 226


def test_accounts_do_not_see_each_other(
    gateway: Gateway, store: Store, wire: Wire, place: Place
) -> None:
    name = place.key("mine")
    assert wire.upload(f"STOR /{name}", b"alice's").code == 226
    with Wire(gateway.site("bob")) as bob:
        bob.log_in()
        bob.play(
            f"""
            550 SIZE /{name}
            550 CWD {place.path}
            550 MLST /{name}
            550 DELE /{name}
            550 RNFR /{name}
            550 MLST /../{name}
            257 MKD {place.path}
            """
        )
        with bob.passive():
            bob.expect(f"RETR /{name}", 550)
        assert bob.download(f"NLST {place.path}") == b""
        assert bob.upload(f"STOR /{name}", b"bob's").code == 226
        assert place.name.encode() in bob.download("NLST /")
    assert wire.download(f"RETR /{name}") == b"alice's"
    assert place.content("mine") == b"alice's"
    assert store.content(BOB.keys.bucket, name) == b"bob's"


def test_a_password_is_of_one_account(gateway: Gateway) -> None:
    site = gateway.site("bob")
    with Wire(site) as wire:
        wire.play("331 USER alice")
        wire.expect(f"PASS {site.password}", 530)
        wire.expect("PWD", 530)
        wire.log_in()
