"""Rows B1 to B11: what clients and operators see of a running server."""

import os
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.contract.conftest import Installation, Server
from tests.e2e.conftest import ALICE, BOB, NewClient
from tests.e2e.harness import MIB, Store, random_bytes
from tests.e2e.wire import Wire, read_all

SMALL_PARTS = {"min_part_size": MIB, "buffer_memory": 16 * MIB}
CLIENTS = ["tnftp", "lftp"]
BUCKET = ALICE.keys.bucket


LARGEST_NOTE = 1000
"""Bytes of a note on a multipart upload that is under way."""


def files_on_disk(installation: Installation) -> set[Path]:
    """Everything below the installation but for what its operator put there, its logs, and its
    notes on what is under way.
    """
    own = {"ftp_server.py", "vsftpd.conf", "vsftpd.conf.example"}
    return {
        path
        for path in installation.directory.rglob("*")
        if path.is_file() and path.name not in own and path.parent.name != "log"
        if not path.name.startswith("stderr")
        if path.parent.name != "uploads" or path.stat().st_size > LARGEST_NOTE
    }


def notes(installation: Installation) -> list[Path]:
    return list(installation.directory.glob("log/uploads/*.jsonl"))


def open_files(server: Server, installation: Installation) -> set[str]:
    """Regular files that the server has open for writing, but for its logs and notes."""
    found = set()
    process = Path(f"/proc/{server.process.pid}")
    for descriptor in (process / "fd").iterdir():
        try:
            target = os.readlink(descriptor)
            info = (process / "fdinfo" / descriptor.name).read_text()
        except FileNotFoundError:  # closed in the meantime
            continue
        flags = int(info.split("flags:")[1].split()[0], 8)
        is_log = "/log/" in target or "/stderr" in target
        if flags & os.O_ACCMODE != os.O_RDONLY and target.startswith("/") and not is_log:
            found.add(target)
    return {target for target in found if not target.startswith("/dev/")}


def test_b1_an_upload_streams_to_the_store_and_never_touches_the_disk(
    installation: Installation, store: Store, name: str
) -> None:
    content = random_bytes(8 * MIB)
    with installation.serving(optional=SMALL_PARTS) as server, server.session() as wire:
        with wire.passive() as data:
            wire.expect(f"STOR {name}", 150)
            data.sendall(content[: 4 * MIB])
            store.wait_for_request("UploadPart", name)  # long before the client is done
            assert open_files(server, installation) == set()
            assert files_on_disk(installation) == set()
            assert len(notes(installation)) == 1
            data.sendall(content[4 * MIB :])
        assert wire.reply().code == 226
        assert files_on_disk(installation) == set()
        assert notes(installation) == []
        assert list(installation.home().iterdir()) == []
        assert list(installation.temporary.iterdir()) == []
    assert store.content(BUCKET, name) == content


def test_b2_a_download_streams_back_and_never_touches_the_disk(
    installation: Installation, store: Store, name: str
) -> None:
    content = random_bytes(64 * MIB)
    store.load(BUCKET, **{name: content})
    with installation.serving(optional=SMALL_PARTS) as server, server.session() as wire:
        with wire.passive() as data:
            wire.expect(f"RETR {name}", 150)
            first = data.recv(1000)  # while the store is still sending
            assert store.requests("GetObject", name)[-1].ended is None
            assert open_files(server, installation) == set()
            assert files_on_disk(installation) == set()
            received = first + read_all(data)
        assert wire.reply().code == 226
    assert received == content


def test_b3_the_bucket_is_the_root_and_directories_are_inside(
    installation: Installation, store: Store, name: str
) -> None:
    with installation.serving() as server, server.session() as wire:
        assert '"/"' in wire.expect("PWD", 257).text
        wire.play(f"250 CDUP\n257 MKD {name}\n250 CWD {name}\n257 MKD inner\n250 CWD inner")
        assert f'"/{name}/inner"' in wire.expect("PWD", 257).text
        assert wire.upload("STOR file", b"1").code == 226
        wire.play("250 CWD ../../../../..")
        assert '"/"' in wire.expect("PWD", 257).text
        assert name in wire.download("NLST").decode().splitlines()
    assert store.content(BUCKET, f"{name}/inner/file") == b"1"


def test_b4_each_account_has_its_bucket(
    installation: Installation, store: Store, name: str
) -> None:
    accounts = [installation.account(tenant) for tenant in (ALICE, BOB)]
    with installation.serving(*accounts) as server:
        for tenant in (ALICE, BOB):
            with server.session(tenant) as wire:
                assert wire.upload(f"STOR {name}", tenant.user.encode()).code == 226
    for tenant in (ALICE, BOB):
        assert store.content(tenant.keys.bucket, name) == tenant.user.encode()


@pytest.mark.parametrize("key", ["home_dir", "ftp_login_user_name"])
def test_b4_a_clash_is_an_error_that_names_both_sections(
    installation: Installation, key: str
) -> None:
    first = installation.account(ALICE)
    errors = installation.refused(first, installation.account(BOB, **{key: first[key]}))
    assert "COS_ACCOUNT_0" in errors
    assert "COS_ACCOUNT_1" in errors
    assert key in errors


def test_b5_a_missing_home_dir_is_an_error_that_says_how_to_mend_it(
    installation: Installation,
) -> None:
    missing = installation.directory / "missing"
    errors = installation.refused(installation.account(home_dir=missing))
    assert all(word in errors for word in ("COS_ACCOUNT_0", "home_dir", str(missing), "mkdir"))


def test_b6_a_user_without_delete_enable_deletes_nothing(
    installation: Installation, store: Store, name: str
) -> None:
    account = installation.account(delete_enable="false")
    with installation.serving(account) as server, server.session() as wire:
        wire.play(f"257 MKD {name}\n257 MKD {name}/empty")
        assert wire.upload(f"STOR {name}/file", b"1").code == 226
        wire.play(f"550 DELE {name}/file\n550 RMD {name}/empty\n213 SIZE {name}/file")
    assert store.keys(BUCKET, name) == [f"{name}/", f"{name}/empty/", f"{name}/file"]


def test_b6_users_may_delete_unless_told_otherwise(
    installation: Installation, store: Store, name: str
) -> None:
    with installation.serving() as server, server.session() as wire:
        assert wire.upload(f"STOR {name}", b"1").code == 226
        wire.play(f"250 DELE {name}\n257 MKD {name}\n250 RMD {name}")
    assert store.keys(BUCKET, name) == []


@pytest.mark.parametrize("client_name", CLIENTS)
def test_b7_every_command_of_the_manual(
    installation: Installation,
    store: Store,
    new_client: NewClient,
    tmp_path: Path,
    name: str,
    client_name: str,
) -> None:
    local = [tmp_path / f"local{number}" for number in range(3)]
    for number, path in enumerate(local):
        path.write_bytes(random_bytes(1000 + number, number))
    fetched = tmp_path / "fetched"
    with (
        installation.serving() as server,
        new_client(client_name, server.site()) as client,  # "quit" is its end
    ):
        client.mkdir(name)
        client.cd(name)
        client.put(local[0], "put")
        client.mput(local[1:])
        client.get("put", fetched)
        client.rename("put", "renamed")
        client.delete("local1")
        client.size("local2")
        client.ls()
    assert fetched.read_bytes() == local[0].read_bytes()
    assert store.keys(BUCKET, f"{name}/") == [
        f"{name}/", f"{name}/local2", f"{name}/renamed"
    ]  # fmt: skip
    assert store.content(BUCKET, f"{name}/renamed") == local[0].read_bytes()
    assert store.content(BUCKET, f"{name}/local2") == local[2].read_bytes()
    assert "1002" in client.output
    assert "renamed" in client.output


@pytest.mark.parametrize("command", ["bye", "quit"])
@pytest.mark.parametrize("client_name", CLIENTS)
def test_b7_bye_and_quit(
    installation: Installation, new_client: NewClient, client_name: str, command: str
) -> None:
    with (
        installation.serving() as server,
        new_client(client_name, server.site(), options=["cd /", command]),
    ):
        pass


@pytest.mark.parametrize("client_name", CLIENTS)
def test_b8_mget(
    installation: Installation,
    store: Store,
    new_client: NewClient,
    tmp_path: Path,
    name: str,
    client_name: str,
) -> None:
    contents = {f"{name}-{number}.dat": random_bytes(5000, number) for number in range(3)}
    store.load(BUCKET, **{f"{name}/{key}": content for key, content in contents.items()})
    target = tmp_path / "target"
    target.mkdir()
    go = {"tnftp": ["glob on"], "lftp": []}[client_name]
    options = [*go, f"lcd {target}", f"cd {name}", "mget *.dat"]
    with (
        installation.serving() as server,
        new_client(client_name, server.site(), options=options) as client,
    ):
        pass
    received = {path.name: path.read_bytes() for path in target.iterdir()}
    assert received == contents, client.output


@pytest.mark.parametrize(("client_name", "verb"), [("tnftp", "reget"), ("lftp", "get -c")])
def test_b8_a_download_goes_on_where_it_was_paused(
    installation: Installation,
    store: Store,
    new_client: NewClient,
    tmp_path: Path,
    name: str,
    client_name: str,
    verb: str,
) -> None:
    content = random_bytes(3 * MIB)
    store.load(BUCKET, **{name: content})
    target = tmp_path / "target"
    target.mkdir()
    # Its beginning is marked, so that a download from the start would show.
    (target / name).write_bytes(bytes(MIB))
    with (
        installation.serving() as server,
        new_client(client_name, server.site(), options=[f"lcd {target}", f"{verb} {name}"]),
    ):
        pass
    assert (target / name).read_bytes() == bytes(MIB) + content[MIB:]


def test_b8_rest_and_retr_after_a_download_that_broke_off(
    installation: Installation, store: Store, name: str
) -> None:
    content = random_bytes(16 * MIB)
    store.load(BUCKET, **{name: content})
    with installation.serving() as server, server.session() as wire:
        with wire.passive() as data:
            wire.expect(f"RETR {name}", 150)
            head = data.recv(100_000)
        assert wire.reply().code == 426
        with wire.passive() as data:
            wire.play(f"350 REST {len(head)}\n150 RETR {name}")
            tail = read_all(data)
        assert wire.reply().code == 226
    assert head + tail == content


def logged_in(stack: ExitStack, server: Server) -> Wire:
    return stack.enter_context(server.session())


def refusal(server: Server) -> str:
    """What a login that is one too many is told."""
    site = server.site()
    with Wire(site) as wire:
        wire.expect(f"USER {site.user}", 331)
        reply = wire.ask(f"PASS {site.password}")
        assert reply.code in (421, 530)
        return reply.text


def test_b9_the_101st_login_is_refused(installation: Installation) -> None:
    with installation.serving() as server, ExitStack() as stack:
        sessions = [logged_in(stack, server) for _ in range(100)]
        assert "Too many users" in refusal(server)
        sessions[0].expect("NOOP", 200)  # the others are not disturbed


def test_b9_the_bound_is_a_setting_and_a_place_gets_free_again(
    installation: Installation,
) -> None:
    optional = {"max_login_users": 2}
    with installation.serving(optional=optional) as server, ExitStack() as stack:
        sessions = [logged_in(stack, server) for _ in range(2)]
        assert "Too many users" in refusal(server)
        sessions[0].expect("QUIT", 221)
        logged_in(stack, server)


LARGEST = 3 * MIB


@pytest.mark.parametrize("size", [LARGEST + 1, 2 * LARGEST])
def test_b10_a_file_that_is_too_large_fails_and_leaves_nothing(
    installation: Installation, store: Store, name: str, size: int
) -> None:
    with (
        installation.serving(
            file_option={"single_file_max_size": LARGEST}, optional=SMALL_PARTS
        ) as server,
        server.session() as wire,
    ):
        with wire.passive() as data:
            wire.expect(f"STOR {name}", 150)
            try:
                data.sendall(bytes(size))
            except ConnectionError:
                assert size > LARGEST + 1  # it need not take what comes after the first byte
        assert wire.reply().code == 552
        server.signal(signal.SIGTERM)
        assert server.end() == 0
    lines = [line for line in installation.log().splitlines() if name in line]
    assert any("WARNING" in line and "failed" in line for line in lines), lines
    assert any("outcome=552 File too large." in line for line in lines), lines
    assert store.keys(BUCKET, name) == []
    assert store.open_uploads(BUCKET, name) == []
    assert notes(installation) == []


def test_b10_the_largest_file_is_stored(
    installation: Installation, store: Store, name: str
) -> None:
    content = random_bytes(LARGEST)
    with (
        installation.serving(
            file_option={"single_file_max_size": LARGEST}, optional=SMALL_PARTS
        ) as server,
        server.session() as wire,
    ):
        assert wire.upload(f"STOR {name}", content).code == 226
    assert store.content(BUCKET, name) == content


@pytest.mark.parametrize("command", ["LIST", "NLST", "MLSD"])
def test_b11_a_listing_is_cut_and_says_so(
    installation: Installation, store: Store, name: str, command: str
) -> None:
    store.load(BUCKET, **{f"{name}/{number}": b"" for number in range(6)})
    with (
        installation.serving(optional={"max_list_file": 5}) as server,
        server.session() as wire,
    ):
        wire.expect(f"CWD {name}", 250)
        with wire.passive() as data:
            wire.expect(command, 150)
            lines = read_all(data).decode().splitlines()
        reply = wire.reply()
        assert reply.code == 226
        assert "cut" in reply.text
        assert "5" in reply.text
        assert len([line for line in lines if "type=cdir" not in line]) == 5


def test_b11_a_listing_that_fits_is_not_cut(
    installation: Installation, store: Store, name: str
) -> None:
    store.load(BUCKET, **{f"{name}/{number}": b"" for number in range(5)})
    with (
        installation.serving(optional={"max_list_file": 5}) as server,
        server.session() as wire,
        wire.passive() as data,
    ):
        wire.expect(f"NLST {name}", 150)
        assert len(read_all(data).decode().splitlines()) == 5
        assert "cut" not in wire.reply().text
