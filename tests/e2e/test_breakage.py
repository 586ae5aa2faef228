"""What breaks: clients, connections, the store, the server. Nothing of it may look like success.

After each upload that broke off, the object is what it was before, no multipart upload is open
(the fixture `place` looks), and the server goes on serving.
"""

import random
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cos_ftp_server.emulator import Fault
from tests.e2e.clients import Curl, Lftp
from tests.e2e.conftest import ALICE, NewClient, Place
from tests.e2e.harness import (
    DEADLINE_S,
    MIB,
    Gateway,
    Service,
    Site,
    Store,
    random_bytes,
    wait_until,
)
from tests.e2e.wire import Reply, Wire, read_all, reset

OLD = b"what was there before"


def wait_for_end(gateway: Gateway, path: str) -> str:
    """Return the outcome of the upload to `path` that the gateway has logged."""
    line = gateway.wait_for_line("transfer verb=STOR", f"path='{path}'")
    return line.partition("outcome=")[2]


def outcome(wire: Wire) -> int | None:
    """Return the code of the final reply; None if there is none, because publishing the file took
    so long that "226-" was sent, which only a close can take back.
    """
    try:
        return wire.reply().code
    except EOFError:
        return None


def check_unharmed(site: Site, place: Place, *, name: str = "file", content: bytes = OLD) -> None:
    """Hold the old object to its content, and the server to its work, in the same place."""
    assert place.content(name) == content
    wait_until(lambda: not place.open_uploads(), "a multipart upload is still open")
    with Wire(site) as wire:
        wire.log_in()
        assert wire.upload(f"STOR {place.path}/{name}", b"new").code == 226
        assert wire.download(f"RETR {place.path}/{name}") == b"new"
        assert wire.download(f"NLST {place.path}") == f"{name}\r\n".encode()


# Clients that are killed


def spawn(
    client: Curl | Lftp, source: Path, name: str, *, rate: int = 8 * MIB
) -> "subprocess.Popen[bytes]":
    """Start an upload, at a pace that leaves time to kill it; `rate` 0 is as fast as can be."""
    if isinstance(client, Curl):
        options = ["--limit-rate", str(rate), "-T", str(source), client.url(name)]
        command = [*client.arguments, *options]
    else:
        site = client.site
        script = (
            f"set net:limit-rate {rate}; open -u {site.user},{site.password} -p {site.port} "
            f"ftp://{site.host}; put {source} -o {name}"
        )
        command = ["lftp", "--norc", "-c", script]
    return subprocess.Popen(
        command, env=client.environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("operation", "count"),
    [("InitiateMultipartUpload", 1), ("UploadPart", 1), ("UploadPart", 2), ("UploadPart", 9)],
)
@pytest.mark.parametrize("client_name", ["curl", "lftp"])
def test_a_client_killed_while_it_uploads(
    client_name: str,
    operation: str,
    count: int,
    new_client: NewClient,
    gateway: Gateway,
    alice: Site,
    store: Store,
    place: Place,
    tmp_path: Path,
) -> None:
    place.put("file", OLD)
    source = tmp_path / "source"
    source.write_bytes(random_bytes(64 * MIB))
    client = new_client(client_name, alice)
    assert isinstance(client, Curl | Lftp)
    with spawn(client, source, f"{place.path}/file") as process:
        store.wait_for_request(operation, place.key("file"), count=count)
        process.kill()
    assert wait_for_end(gateway, f"{place.path}/file").startswith("426 ")
    check_unharmed(alice, place)


@pytest.mark.parametrize("seed", range(6))
def test_a_client_killed_at_any_byte(
    seed: int,
    new_client: NewClient,
    gateway: Gateway,
    alice: Site,
    place: Place,
) -> None:
    """What it has sent so far was cut anywhere, small uploads and large ones."""
    size = int(2 ** random.Random(seed).uniform(0, 22))
    place.put("file", OLD)
    client = new_client("curl", alice, options=["--ftp-method", "nocwd"])
    assert isinstance(client, Curl)
    command = [*client.arguments, "-T", "-", client.url(f"{place.path}/file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=client.environment) as process:
        assert process.stdin
        process.stdin.write(random_bytes(size))
        process.stdin.flush()
        gateway.wait_for_line("<- STOR", place.name)
        process.kill()
    assert wait_for_end(gateway, f"{place.path}/file").startswith("426 ")
    check_unharmed(alice, place)


def test_a_client_killed_while_its_file_is_published(
    gateway: Gateway, alice: Site, store: Store, place: Place
) -> None:
    """All data came, and the client is gone before 226: old or new, but never a part of it."""
    content = random_bytes(3 * MIB)
    place.put("file", OLD)
    with store.holding(place.key("file"), "CompleteMultipartUpload"), Wire(alice) as wire:
        wire.log_in()
        with wire.passive() as data:
            wire.expect(f"STOR {place.path}/file", 150)
            data.sendall(content)
        store.wait_for_request("CompleteMultipartUpload", place.key("file"))
        reset(wire.socket)
    wait_for_end(gateway, f"{place.path}/file")
    wait_until(lambda: not place.open_uploads(), "a multipart upload is still open")
    found = place.content("file")
    assert found in (OLD, content)
    check_unharmed(alice, place, content=found)


# Connections that break

SENT = pytest.mark.parametrize("sent", [0, 1, 100_000, MIB, 3 * MIB + 1])


@pytest.fixture
def sending(wire: Wire, store: Store, place: Place, sent: int) -> Iterator[socket.socket]:
    """A data connection on which `sent` bytes of a new version of "file" have arrived."""
    place.put("file", OLD)
    data = wire.passive()
    wire.expect(f"STOR {place.path}/file", 150)
    data.sendall(random_bytes(sent))
    # STAT during a transfer tells how much of it has come (RFC 959 section 4.1.3).
    wait_until(lambda: f" {sent} bytes" in wire.expect("STAT", 211).text, "not all has arrived")
    with data:
        yield data


@SENT
def test_a_reset_data_connection(
    wire: Wire, sending: socket.socket, alice: Site, place: Place
) -> None:
    reset(sending)
    assert wire.reply().code == 426
    wire.expect("NOOP", 200)
    check_unharmed(alice, place)


@SENT
@pytest.mark.parametrize("urgent", ["plain", "synch", "all-urgent"])
def test_abor(wire: Wire, sending: socket.socket, urgent: str, alice: Site, place: Place) -> None:
    """Plain as curl, with Telnet's IP and Synch as lftp, and all of it urgent as ftplib."""
    if urgent == "plain":
        wire.send("ABOR")
    elif urgent == "synch":
        wire.socket.sendall(b"\xff\xf4\xff")
        wire.socket.sendall(b"\xf2", socket.MSG_OOB)
        wire.send("ABOR")
    else:
        wire.socket.sendall(b"ABOR\r\n", socket.MSG_OOB)
    assert [wire.reply().code, wire.reply().code] == [426, 226]
    assert wire.upload(f"STOR {place.path}/file", OLD).code == 226
    check_unharmed(alice, place)


@SENT
@pytest.mark.parametrize("how", ["both-closed", "both-reset", "control-first"])
def test_a_lost_control_connection(
    wire: Wire, sending: socket.socket, how: str, gateway: Gateway, alice: Site, place: Place
) -> None:
    """The data connection ends as cleanly as if all had been sent."""
    if how == "both-reset":
        reset(wire.socket)
        reset(sending)
    elif how == "control-first":
        wire.socket.shutdown(socket.SHUT_WR)
        sending.close()
    else:
        sending.close()
        wire.close()
    assert wait_for_end(gateway, f"{place.path}/file").startswith("426 ")
    check_unharmed(alice, place)


def test_fewer_bytes_than_announced(wire: Wire, alice: Site, place: Place) -> None:
    place.put("file", OLD)
    wire.expect("ALLO 1000", 202)
    reply = wire.upload(f"STOR {place.path}/file", bytes(999))
    assert 400 <= reply.code < 600, reply
    check_unharmed(alice, place)


# A store that misbehaves


def upload(wire: Wire, place: Place, size: int) -> Reply:
    return wire.upload(f"STOR {place.path}/file", random_bytes(size))


SMALL, LARGE = 1000, 3 * MIB
COMPLETE = "CompleteMultipartUpload"
WRITES = [
    (SMALL, "PutObject"),
    (LARGE, "InitiateMultipartUpload"),
    (LARGE, "UploadPart"),
    (LARGE, COMPLETE),
]


@pytest.mark.parametrize(("size", "operation"), WRITES)
def test_a_store_that_recovers(
    size: int, operation: str, wire: Wire, store: Store, place: Place
) -> None:
    fault = Fault(operation=operation, status=503, code="SlowDown", times=2)
    with store.fault(place.key("file"), fault) as rule:
        assert upload(wire, place, size).code == 226
    assert rule.hits == 2
    assert place.content("file") == random_bytes(size)


@pytest.mark.parametrize(("size", "operation"), WRITES)
def test_answers_that_get_lost(
    size: int, operation: str, wire: Wire, store: Store, place: Place
) -> None:
    """The store has done it and its answer was cut off."""
    fault = Fault(operation=operation, reset=True, after_commit=True, times=1)
    with store.fault(place.key("file"), fault) as rule:
        assert upload(wire, place, size).code == 226
    assert rule.hits == 1
    assert place.content("file") == random_bytes(size)
    if operation == "InitiateMultipartUpload":
        # Nobody but the store knows the id of the first one yet: a sweep asks for it later.
        assert len(place.open_uploads()) <= 1
        place.abort_uploads()


@pytest.mark.parametrize(
    ("status", "code", "replies"), [(503, "SlowDown", {451, 450}), (403, "AccessDenied", {550})]
)
@pytest.mark.parametrize(("size", "operation"), WRITES)
def test_a_store_that_refuses(
    size: int,
    operation: str,
    status: int,
    code: str,
    replies: set[int],
    wire: Wire,
    store: Store,
    alice: Site,
    place: Place,
) -> None:
    place.put("file", OLD)
    with store.fault(place.key("file"), Fault(operation=operation, status=status, code=code)):
        with wire.passive() as data:
            wire.expect(f"STOR {place.path}/file", 150)
            data.sendall(random_bytes(size))  # a reset would come before the reply
        assert outcome(wire) in (replies | {None} if operation == COMPLETE else replies)
    check_unharmed(alice, place)


def hears_of_failure(
    client: Curl | Lftp, source: Path, store: Store, place: Place, fault: Fault
) -> None:
    with (
        store.fault(place.key("file"), fault),
        spawn(client, source, f"{place.path}/file", rate=0) as process,
    ):
        _, told = process.communicate(timeout=DEADLINE_S)
    assert process.returncode != 0
    assert b"550" in told


@pytest.mark.parametrize("client_name", ["curl", "lftp"])
def test_a_client_that_still_sends_hears_why(
    client_name: str,
    new_client: NewClient,
    gateway: Gateway,
    alice: Site,
    store: Store,
    place: Place,
    tmp_path: Path,
) -> None:
    """Both take a reset for the outcome, and look no further; lftp then sends all of it again."""
    source = tmp_path / "source"
    source.write_bytes(random_bytes(64 * MIB))
    client = new_client(client_name, alice)
    assert isinstance(client, Curl | Lftp)
    fault = Fault(operation="UploadPart", status=403, code="AccessDenied")
    hears_of_failure(client, source, store, place, fault)
    assert wait_for_end(gateway, f"{place.path}/file").startswith("550 ")
    assert place.names() == []


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart", COMPLETE])
def test_lftp_does_not_repeat_what_the_store_did_not_take(
    operation: str,
    new_client: NewClient,
    alice: Site,
    store: Store,
    place: Place,
    tmp_path: Path,
) -> None:
    """It would send the end of it from a buffer: a part of the file that looks complete."""
    source = tmp_path / "source"
    source.write_bytes(random_bytes(300_000 if operation == "PutObject" else 12 * MIB))
    client = new_client("lftp", alice)
    assert isinstance(client, Lftp)
    fault = Fault(operation=operation, status=503, code="SlowDown")
    hears_of_failure(client, source, store, place, fault)
    assert place.names() == []


@pytest.mark.parametrize("command", ["SIZE", "MDTM", "MLST"])
@pytest.mark.parametrize(
    ("status", "code", "replies"), [(503, "SlowDown", {451, 450}), (403, "AccessDenied", {550})]
)
def test_questions_to_a_store_that_refuses(
    command: str,
    status: int,
    code: str,
    replies: set[int],
    wire: Wire,
    store: Store,
    place: Place,
) -> None:
    place.put("file", OLD)
    with store.fault(place.key("file"), Fault(operation="HeadObject", status=status, code=code)):
        assert wire.ask(f"{command} {place.path}/file").code in replies
    assert wire.ask(f"{command} {place.path}/file").code in (213, 250)


def test_a_download_that_breaks_off_is_continued(wire: Wire, store: Store, place: Place) -> None:
    content = random_bytes(20 * MIB)
    place.put("file", content)
    fault = Fault(operation="GetObject", reset_after=3 * MIB, times=2)
    with store.fault(place.key("file"), fault) as rule:
        assert wire.download(f"RETR {place.path}/file") == content
    assert rule.hits == 2


def test_a_client_hears_that_a_store_hangs(wire: Wire, store: Store, place: Place) -> None:
    with store.holding(place.key("file"), "PutObject") as release:
        with wire.passive() as data:
            wire.expect(f"STOR {place.path}/file", 150)
            data.sendall(b"12345")
        assert wire.line().startswith("226-")
        assert place.names() == []
        release()
        assert wire.reply().code == 226
    assert place.content("file") == b"12345"


# Servers that end


@pytest.fixture
def start_gateway(tmp_path: Path, store: Store) -> Iterator[Callable[[int], Gateway]]:
    """Start a gateway that the test may end; transfers get so many seconds then."""
    started: list[Gateway] = []

    def start(stop_timeout: int) -> Gateway:
        directory = tmp_path / "gateway"
        started.append(Gateway(directory, store.port, [ALICE], stop_timeout=stop_timeout))
        return started[-1]

    yield start
    for gateway in started:
        gateway.kill()


def test_sigterm_lets_an_upload_end(start_gateway: Callable[[int], Gateway], place: Place) -> None:
    content = random_bytes(3 * MIB)
    gateway = start_gateway(30)
    with Wire(gateway.site("alice")) as wire, Wire(gateway.site("alice")) as idle:
        wire.log_in()
        with wire.passive() as data:
            wire.expect(f"STOR {place.path}/file", 150)
            data.sendall(content[:MIB])
            gateway.signal(signal.SIGTERM)
            assert idle.reply().code == 421  # so the signal has arrived
            data.sendall(content[MIB:])
        assert wire.reply().code == 226
        assert wire.reply().code == 421
    gateway.end()
    assert place.content("file") == content


def test_sigterm_aborts_an_upload_that_does_not_end(
    start_gateway: Callable[[int], Gateway], store: Store, place: Place
) -> None:
    place.put("file", OLD)
    gateway = start_gateway(1)
    with Wire(gateway.site("alice")) as wire:
        wire.log_in()
        with wire.passive() as data:
            wire.expect(f"STOR {place.path}/file", 150)
            data.sendall(random_bytes(3 * MIB))
            store.wait_for_request("UploadPart", place.key("file"), count=3)
            gateway.signal(signal.SIGTERM)
            assert wire.reply().code in (421, 426)
    gateway.end()
    assert place.content("file") == OLD


@pytest.mark.parametrize("stop_timeout", [0, 30])
def test_a_second_sigterm_ends_at_once(
    stop_timeout: int,
    start_gateway: Callable[[int], Gateway],
    store: Store,
    place: Place,
) -> None:
    """While transfers get their time, and while they are being aborted by a store that hangs."""
    place.put("file", OLD)
    gateway = start_gateway(stop_timeout)
    with (
        store.holding(place.key("file"), "AbortMultipartUpload") as release,
        Wire(gateway.site("alice")) as wire,
        Wire(gateway.site("alice")) as idle,
    ):
        wire.log_in()
        with wire.passive() as data:
            wire.expect(f"STOR {place.path}/file", 150)
            data.sendall(random_bytes(3 * MIB))
            store.wait_for_request("UploadPart", place.key("file"), count=3)
            gateway.signal(signal.SIGTERM)
            assert idle.reply().code == 421
            if not stop_timeout:
                store.wait_for_request("AbortMultipartUpload", place.key("file"))
            gateway.signal(signal.SIGTERM)
            if stop_timeout:
                store.wait_for_request("AbortMultipartUpload", place.key("file"))
                release()
            gateway.end()
    assert place.content("file") == OLD
    place.abort_uploads()


@pytest.fixture
def mortal_store(tmp_path: Path) -> Iterator[Service]:
    """The store's own command, to be killed."""
    keys = ALICE.keys
    service = Service(
        [
            "emulator",
            *("--port", "0", "--data", tmp_path / "data", "--bucket", keys.bucket),
            *("--secret-id", keys.secret_id, "--secret-key", keys.secret_key),
        ],
        tmp_path / "emulator.stderr",
    )
    yield service
    service.kill()


@pytest.fixture
def its_gateway(mortal_store: Service, tmp_path: Path) -> Iterator[Gateway]:
    assert mortal_store.url.port
    gateway = Gateway(tmp_path / "gateway", mortal_store.url.port, [ALICE])
    yield gateway
    gateway.kill()


# More than the gateway holds of one upload: when all has arrived, the first parts are stored.
LONG = 12 * MIB


@pytest.mark.parametrize("size", [SMALL, LONG])
def test_a_store_killed_during_an_upload(
    size: int, mortal_store: Service, its_gateway: Gateway, tmp_path: Path
) -> None:
    """The client hears of it, and the gateway goes on when the store is back."""
    site, bucket = its_gateway.site("alice"), ALICE.keys.bucket
    with Wire(site) as wire:
        wire.log_in()
        assert wire.upload("STOR /file", OLD).code == 226
        with wire.passive() as data:
            wire.expect("STOR /file", 150)
            data.sendall(random_bytes(size))
            wait_until(lambda: f" {size} bytes" in wire.ask("STAT").text, "not all has arrived")
            mortal_store.kill()
        assert outcome(wire) in ((450, 451, None) if size == LONG else (450, 451))
    assert mortal_store.url.port
    store = Store(tmp_path / "data", [ALICE.keys], port=mortal_store.url.port)
    try:
        assert store.content(bucket, "file") == OLD
        with Wire(site) as wire:
            wire.log_in()
            assert wire.upload("STOR /file", b"new").code == 226
            assert wire.download("RETR /file") == b"new"
        its_gateway.stop()
        # What could not be aborted while there was no store is told to the operator.
        left_behind = store.open_uploads(bucket)
        assert not left_behind or "multipart upload left behind" in its_gateway.errors
    finally:
        store.close()


def test_a_store_killed_during_a_download(mortal_store: Service, its_gateway: Gateway) -> None:
    content = random_bytes(40 * MIB)
    with Wire(its_gateway.site("alice")) as wire:
        wire.log_in()
        assert wire.upload("STOR /file", content).code == 226
        with wire.passive() as data:
            wire.expect("RETR /file", 150)
            received = data.recv(MIB)
            mortal_store.kill()
            received += read_all(data)
        assert wire.reply().code in (426, 450, 451)
        assert wire.ask("SIZE /file").code in (450, 451)
        wire.expect("NOOP", 200)
    assert len(received) < len(content)
    assert content.startswith(received)
    its_gateway.stop()
