"""Files that are continued by real clients, up and down, after what they were killed in.

The gateway keeps what has arrived of an upload that breaks off, as those who resume uploads want.
"""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Client, Curl, Ftplib, Lftp, NcftpTools, Tnftp
from tests.e2e.conftest import NewClient, Place
from tests.e2e.harness import MIB, Gateway, Site, random_bytes
from tests.e2e.wire import Wire

SIZE = 6 * MIB + 5
CONTENT = random_bytes(SIZE)
CUT = pytest.mark.parametrize("cut", [0, 1, 1000, MIB, 4 * MIB + 1, SIZE])


@pytest.fixture
def keeper(keeping_gateway: Gateway) -> Site:
    return keeping_gateway.site("alice")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


# Uploads


def lftp_put(client: Client, source: Path, name: str) -> None:
    assert isinstance(client, Lftp)
    with client:
        client.command("put -c", source)
        client.lines[-1] += f" -o {client.quoted(name)}"


def curl_continue(client: Client, source: Path, name: str) -> None:
    assert isinstance(client, Curl)
    client.run(*client.arguments, "-C", "-", "-T", source, client.url(name))


def ftplib_rest(client: Client, source: Path, name: str) -> None:
    assert isinstance(client, Ftplib)
    with client, source.open("rb") as file:
        size = client.ftp.size(name)
        assert size is not None
        file.seek(size)
        client.ftp.storbinary(f"STOR {name}", file, rest=size)


RESUMED_UP: dict[str, tuple[str, Callable[[Client, Path, str], None]]] = {
    "lftp put -c": ("lftp", lftp_put),
    "curl -C - -T": ("curl", curl_continue),
    "ftplib rest=": ("ftplib", ftplib_rest),
}


@CUT
@pytest.mark.parametrize("how", RESUMED_UP)
def test_an_upload_is_resumed(
    how: str, cut: int, new_client: NewClient, alice: Site, place: Place, source: Path
) -> None:
    place.put("file", CONTENT[:cut])
    name, resume = RESUMED_UP[how]
    resume(new_client(name, alice), source, f"{place.path}/file")
    assert place.content("file") == CONTENT


@pytest.mark.parametrize("how", ["lftp put -c", "curl -C - -T"])
def test_a_killed_upload_is_resumed_by_the_same_client(
    how: str,
    new_client: NewClient,
    keeping_gateway: Gateway,
    keeper: Site,
    place: Place,
    source: Path,
) -> None:
    content = random_bytes(24 * MIB)
    source.write_bytes(content)
    name, resume = RESUMED_UP[how]
    client = new_client(name, keeper)
    path = f"{place.path}/file"
    with start_slowly(client, source, path) as process:
        place.store.wait_for_request("UploadPart", place.key("file"), count=2)
        process.send_signal(signal.SIGKILL)
    keeping_gateway.wait_for_line("transfer verb=STOR", f"path='{path}'")
    arrived = place.content("file")
    assert 0 < len(arrived) < len(content)
    assert content.startswith(arrived)
    resume(client, source, path)
    assert place.content("file") == content
    assert place.open_uploads() == []


def start_slowly(client: Client, source: Path, name: str) -> "subprocess.Popen[bytes]":
    """Start an upload that takes long enough to be killed amid it."""
    if isinstance(client, Curl):
        command = [*client.arguments, "--limit-rate", "4M", "-T", str(source), client.url(name)]
    else:
        site = client.site
        script = (
            f"set net:limit-rate {4 * MIB}; open -u {site.user},{site.password} -p {site.port} "
            f"ftp://{site.host}; put {source} -o {name}"
        )
        command = ["lftp", "--norc", "-c", script]
    return subprocess.Popen(command, env=client.environment, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize("old_size", [MIB, len(CONTENT), len(CONTENT) + 1])
@pytest.mark.parametrize("how", ["lftp put -c", "curl -C - -T"])
def test_an_old_file_is_not_taken_for_the_new_one_nor_for_its_beginning(
    how: str,
    old_size: int,
    new_client: NewClient,
    gateway: Gateway,
    alice: Site,
    place: Place,
    source: Path,
) -> None:
    """Nothing is kept of what was killed: both ask for the size, and send all if there is none."""
    old = random_bytes(old_size, seed=2)
    place.put("file", old)
    client_name, resume = RESUMED_UP[how]
    client, path = new_client(client_name, alice), f"{place.path}/file"
    with start_slowly(client, source, path) as process:
        place.store.wait_for_request("UploadPart", place.key("file"))
        process.kill()
    gateway.wait_for_line("transfer verb=STOR", f"path='{path}'")
    resume(client, source, path)
    assert place.content("file") == CONTENT


@pytest.mark.parametrize("old", [None, 0, 1000, 2 * MIB])
def test_curl_appends(
    old: int | None, new_client: NewClient, alice: Site, place: Place, source: Path
) -> None:
    before = b"" if old is None else random_bytes(old, seed=2)
    if old is not None:
        place.put("file", before)
    client = new_client("curl", alice)
    assert isinstance(client, Curl)
    client.run(*client.arguments, "-a", "-T", source, client.url(f"{place.path}/file"))
    assert place.content("file") == before + CONTENT


def test_tnftp_appends(new_client: NewClient, alice: Site, place: Place, source: Path) -> None:
    place.put("file", b"before")
    client = new_client("tnftp", alice)
    assert isinstance(client, Tnftp)
    with client:
        client.command("append", source, f"{place.path}/file")
    assert place.content("file") == b"before" + CONTENT


def test_filezilla_resumes_an_upload(wire: Wire, place: Place) -> None:
    """As FEAT says REST STREAM: the size, then REST and STOR in place of APPE."""
    place.put("file", CONTENT[: 4 * MIB])
    wire.play(f"250 CWD {place.path}\n257 PWD\n200 TYPE I")
    assert wire.expect("SIZE file", 213).text == f"213 {4 * MIB}"
    with wire.passive() as data:
        wire.play(f"350 REST {4 * MIB}\n150 STOR file")
        data.sendall(CONTENT[4 * MIB :])
    assert wire.reply().code == 226
    assert place.content("file") == CONTENT


def test_winscp_resumes_an_upload(wire: Wire, place: Place) -> None:
    place.put("file.filepart", CONTENT[: 4 * MIB])
    wire.play(f"250 CWD {place.path}\n213 SIZE file.filepart\n200 TYPE I")
    assert wire.upload("APPE file.filepart", CONTENT[4 * MIB :]).code == 226
    wire.play("350 RNFR file.filepart\n250 RNTO file")
    assert place.content("file") == CONTENT


# Downloads


def lftp_reget(client: Client, name: str, local: Path) -> None:
    assert isinstance(client, Lftp)
    with client:
        client.command("reget", name)
        client.lines[-1] += f" -o {client.quoted(local)}"


def tnftp_reget(client: Client, name: str, local: Path) -> None:
    assert isinstance(client, Tnftp)
    with client:
        client.command("reget", name, local)


def curl_continue_download(client: Client, name: str, local: Path) -> None:
    assert isinstance(client, Curl)
    client.run(*client.arguments, "-C", "-", "-o", local, client.url(name))


def ncftpget(client: Client, name: str, local: Path) -> None:
    assert isinstance(client, NcftpTools)
    client._tool("ncftpget", client.site.host, local.parent, name)


def ftplib_rest_download(client: Client, name: str, local: Path) -> None:
    assert isinstance(client, Ftplib)
    with client, local.open("ab") as file:
        client.ftp.retrbinary(f"RETR {name}", file.write, rest=file.tell())


RESUMED_DOWN: dict[str, tuple[str, Callable[[Client, str, Path], None]]] = {
    "lftp reget": ("lftp", lftp_reget),
    "tnftp reget": ("tnftp", tnftp_reget),
    "curl -C - -o": ("curl", curl_continue_download),
    "ncftpget": ("ncftp-tools", ncftpget),
    "ftplib rest=": ("ftplib", ftplib_rest_download),
}


@CUT
@pytest.mark.parametrize("how", RESUMED_DOWN)
def test_a_download_is_resumed(
    how: str, cut: int, new_client: NewClient, alice: Site, place: Place, tmp_path: Path
) -> None:
    place.put("file", CONTENT)
    local = tmp_path / "file"
    local.write_bytes(CONTENT[:cut])
    name, resume = RESUMED_DOWN[how]
    resume(new_client(name, alice), f"{place.path}/file", local)
    assert local.read_bytes() == CONTENT


def test_filezilla_resumes_a_download(wire: Wire, place: Place) -> None:
    place.put("file", CONTENT)
    wire.play(f"250 CWD {place.path}\n257 PWD\n200 TYPE I\n213 SIZE file\n213 MDTM file")
    with wire.passive() as data:
        wire.play(f"350 REST {4 * MIB}\n150 RETR file")
        received = b"".join(iter(lambda: data.recv(MIB), b""))
    assert wire.reply().code == 226
    assert received == CONTENT[4 * MIB :]
