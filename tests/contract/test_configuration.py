"""Every key of `conf/vsftpd.conf`: what older files say is understood, and has its effect."""

import ftplib
import re
import socket
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from cos_ftp_server.settings import Settings, load_settings
from tests.contract.conftest import CHECKOUT, Installation, Server
from tests.e2e.conftest import ALICE
from tests.e2e.harness import DEADLINE_S, MIB, Store, wait_until
from tests.e2e.wire import Wire

BUCKET = ALICE.keys.bucket
PRINTED = CHECKOUT / "tests" / "unit" / "settings" / "documented.conf"
"""The example as the manual of the original prints it."""

GIB = 1024**3

# Section, key, a value as files have it, what it means, and what counts without the key.
KEYS = [
    ("account", "cos_protocol", "http", "http", "https"),
    ("account", "delete_enable", "false", False, True),
    ("account", "cos_endpoint", "cos.example.com", "cos.example.com", None),
    ("account", "cos_region", "ap-guangzhou", "ap-guangzhou", None),
    ("account", "authority", "R", "R", None),
    ("network", "masquerade_address", "203.0.113.7", "203.0.113.7", None),
    ("network", "masquerade_address", "ftp.example.com", "ftp.example.com", None),
    ("network", "masquerade_address", "XXX.XXX.XXX.XXX", None, None),
    ("network", "listen_port", "2122", 2122, 2121),
    ("network", "passive_port", "50000,50100", (50000, 50100), (60000, 65535)),
    ("file_option", "single_file_max_size", "21474836480", 20 * GIB, 200 * GIB),
    ("optional", "min_part_size", "2097152", 2 * MIB, None),
    ("optional", "upload_thread_num", "4", 4, None),
    ("optional", "max_connection_num", "0", 0, 512),
    ("optional", "max_list_file", "77", 77, 10_000),
    ("optional", "log_level", "DEBUG", "DEBUG", "INFO"),
    ("optional", "log_level", "warning", "WARNING", "INFO"),
    ("optional", "log_dir", "/var/log/ftp", Path("/var/log/ftp"), Path("log")),
    ("optional", "config_check_enable", "false", False, True),
    ("optional", "log_rotate_enabled", "false", False, True),
    *(("optional", "log_rotate_when", when, when, None) for when in "SMHD"),
    ("optional", "log_backup_count", "3", 3, None),
    ("optional", "max_login_users", "5", 5, 100),
]
OPTIONAL = sorted({key for section, key, *_ in KEYS if section == "optional"})


def settings_of(installation: Installation, text: str) -> tuple[Settings, list[str]]:
    """The settings that a file has, and the words of its warnings."""
    installation.config.write_text(text, encoding="utf-8")
    installation.config.chmod(0o600)
    settings, warnings = load_settings(installation.config)
    return settings, [warning.message for warning in warnings]


def account_text(installation: Installation, **changes: object) -> str:
    account = installation.account(ALICE, **changes)
    return "[COS_ACCOUNT_0]\n" + "".join(f"{key} = {value}\n" for key, value in account.items())


def with_key(installation: Installation, section: str, key: str, line: str) -> str:
    """A file of one account, with `line` for `key`."""
    if section == "account":
        # Leaves out what is asked about, and what would make up for it.
        changes: Mapping[str, object] = {key: None, "cos_protocol": None}
        region = {} if key == "cos_region" else {"cos_region": "ap-shanghai"}
        changes = {**region, **changes, "cos_endpoint": None}
        return account_text(installation, **changes) + line
    return f"{account_text(installation)}[{section.upper()}]\n{line}"


def value_of(settings: Settings, section: str, key: str) -> object:
    owner = settings.accounts[0] if section == "account" else getattr(settings, section)
    return getattr(owner, key)


WRITTEN = ["{key}={value}\n", "\t{key}\t=\t{value}\t\t# a comment, 説明\n", "{key} = {value}\r\n"]


@pytest.mark.parametrize("written", WRITTEN, ids=["plain", "tabs-and-comment", "crlf"])
@pytest.mark.parametrize(("section", "key", "value", "meaning", "default"), KEYS)
def test_a_key_is_read(
    installation: Installation,
    section: str,
    key: str,
    value: str,
    meaning: object,
    default: object,
    written: str,
) -> None:
    line = written.format(key=key, value=value)
    settings, warnings = settings_of(installation, with_key(installation, section, key, line))
    assert value_of(settings, section, key) == meaning
    assert warnings == []


@pytest.mark.parametrize(
    ("section", "key", "default"),
    sorted({(s, k, d) for s, k, *_, d in KEYS if d is not None}, key=str),
)
def test_a_key_has_its_default(
    installation: Installation, section: str, key: str, default: object
) -> None:
    settings, _ = settings_of(installation, with_key(installation, section, key, ""))
    assert value_of(settings, section, key) == default


@pytest.mark.parametrize("key", OPTIONAL)
@pytest.mark.parametrize("word", ["default", "DEFAULT"])
def test_every_optional_key_may_be_the_word_default(
    installation: Installation, key: str, word: str
) -> None:
    account = account_text(installation)
    without, _ = settings_of(installation, account)
    settings, warnings = settings_of(
        installation, f"{account}[OPTIONAL]\n{key} = {word}   # comment\n"
    )
    assert settings == without
    assert warnings == []


REQUIRED = [
    "cos_secretid",
    "cos_secretkey",
    "cos_bucket",
    "home_dir",
    "ftp_login_user_name",
    "ftp_login_user_password",
    "authority",
]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_required_key_that_is_missing_is_named(installation: Installation, key: str) -> None:
    errors = installation.refused(installation.account(**{key: None}))
    assert f"{installation.config}" in errors
    assert "COS_ACCOUNT_0" in errors
    assert key in errors


def test_region_or_endpoint_is_required(installation: Installation) -> None:
    errors = installation.refused(installation.account(cos_endpoint=None))
    assert "cos_region" in errors
    assert "cos_endpoint" in errors


def test_all_wrong_values_are_reported_at_once(installation: Installation) -> None:
    errors = installation.refused(
        installation.account(authority="X", cos_protocol="gopher"),
        network={"passive_port": "65535,60000"},
        file_option={"single_file_max_size": "big"},
        optional={"max_list_file": "many", "log_rotate_when": "Y"},
    )
    for section, key, value in [
        ("COS_ACCOUNT_0", "authority", "X"),
        ("COS_ACCOUNT_0", "cos_protocol", "gopher"),
        ("NETWORK", "passive_port", "65535,60000"),
        ("FILE_OPTION", "single_file_max_size", "big"),
        ("OPTIONAL", "max_list_file", "many"),
        ("OPTIONAL", "log_rotate_when", "Y"),
    ]:
        (line,) = (line for line in errors.splitlines() if key in line)
        assert all(word in line for word in (section, repr(value), "right would be")), line


def test_an_unknown_key_is_a_warning_with_the_nearest_one(installation: Installation) -> None:
    with installation.serving(optional={"max_list_files": 5}) as server:
        assert "warning" in server.errors
        assert "did you mean max_list_file?" in server.errors


def test_the_file_that_the_manual_prints_starts_the_server(
    installation: Installation, store: Store, name: str
) -> None:
    text = PRINTED.read_text(encoding="utf-8")
    for user in ("user0", "user1"):
        (installation.directory / user).mkdir()
    for pattern, filled in {
        "/home/": f"{installation.directory}/",
        "cos_secretid = X+": f"cos_secretid = {ALICE.keys.secret_id}",
        "cos_secretkey = X+": f"cos_secretkey = {ALICE.keys.secret_key}",
        r"\{bucket name\}-123": BUCKET,
        "#cos_endpoint = ap-xxx.myqcloud.com": f"cos_endpoint = 127.0.0.1:{store.port}",
        "cos_protocol = https": "cos_protocol = http",
        "listen_port = 2121": "listen_port = 0",
    }.items():
        text, count = re.subn(pattern, filled, text)
        assert count, pattern
    installation.config.write_text(text, encoding="utf-8")
    installation.config.chmod(0o600)
    with installation.running() as server, ftplib.FTP(timeout=DEADLINE_S) as ftp:
        assert server.errors.count("warning") == 0
        ftp.connect("127.0.0.1", server.site().port)
        ftp.login("user1", "pass1")
        ftp.mkd(name)
        with pytest.raises(ftplib.error_perm, match="550"):
            ftp.rmd(name)  # delete_enable=false
    assert store.keys(BUCKET, f"{name}/") == [f"{name}/"]


# What the keys do in a server that runs.


def test_the_endpoint_wins_over_the_region(
    installation: Installation, store: Store, name: str
) -> None:
    account = installation.account(cos_region="ap-guangzhou")
    with installation.serving(account) as server, server.session() as wire:
        assert wire.upload(f"STOR {name}", b"1").code == 226
    assert store.content(BUCKET, name) == b"1"


def test_the_protocol_holds_for_an_endpoint_too(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(DEADLINE_S)
        port = listener.getsockname()[1]
        account = installation.account(cos_endpoint=f"127.0.0.1:{port}", cos_protocol="https")
        with installation.serving(account) as server, server.session() as wire:
            wire.send("SIZE file")
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE_S)
                assert connection.recv(1) == b"\x16"  # RFC 8446, 5.1: a TLS handshake


def test_the_name_and_the_password_are_those_of_the_file(installation: Installation) -> None:
    with installation.serving() as server:
        for user, password in (("alice", "wrong"), ("nobody", ALICE.password)):
            with Wire(server.site()) as wire:
                wire.play(f"331 USER {user}\n530 PASS {password}")


@pytest.mark.parametrize(("authority", "read", "write"), [("R", 226, 550), ("W", 550, 226)])
def test_authority(
    installation: Installation, store: Store, name: str, authority: str, read: int, write: int
) -> None:
    store.load(BUCKET, **{name: b"1"})
    account = installation.account(authority=authority)
    with installation.serving(account) as server, server.session() as wire:
        for command, code in ((f"RETR {name}", read), (f"STOR {name}-new", write)):
            with wire.passive():
                reply = wire.ask(command)
            if reply.code == 150:
                reply = wire.reply()
            assert (reply.code, command) == (code, command)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("203.0.113.7", "203,0,113,7"),
        ("localhost", "127,0,0,1"),
        ("XXX.XXX.XXX.XXX", "127,0,0,1"),
    ],
)
def test_masquerade_address(installation: Installation, address: str, told: str) -> None:
    network = {"masquerade_address": address}
    with installation.serving(network=network) as server, server.session() as wire:
        assert f"({told}," in wire.expect("PASV", 227).text


def test_passive_port_is_an_inclusive_range(installation: Installation) -> None:
    network = {"passive_port": "20000,30000"}
    with installation.serving(network=network) as server, server.session() as wire:
        for _ in range(5):
            with wire.extended_passive() as data:
                assert 20000 <= data.getpeername()[1] <= 30000


def test_min_part_size(installation: Installation, store: Store, name: str) -> None:
    with (
        installation.serving(optional={"min_part_size": 2 * MIB}) as server,
        server.session() as wire,
    ):
        assert wire.upload(f"STOR {name}", bytes(5 * MIB)).code == 226
    assert len(store.requests("UploadPart", name)) == 3


def test_upload_thread_num(installation: Installation, store: Store, name: str) -> None:
    optional = {"min_part_size": MIB, "upload_thread_num": 1}
    with installation.serving(optional=optional) as server, server.session() as wire:
        assert wire.upload(f"STOR {name}", bytes(4 * MIB)).code == 226
    parts = store.requests("UploadPart", name)
    assert len(parts) == 4
    for earlier, later in pairwise(parts):
        assert earlier.ended is not None
        assert earlier.ended <= later.started


@pytest.mark.parametrize(("limit", "code"), [(2, 421), (0, 220)])
def test_max_connection_num(installation: Installation, limit: int, code: int) -> None:
    with installation.serving(optional={"max_connection_num": limit}) as server:
        site = server.site()
        with Wire(site), Wire(site), Wire(site) as third:
            assert third.greeting.code == code


def test_log_level(installation: Installation) -> None:
    with installation.serving(optional={"log_level": "ERROR"}) as server, server.session():
        pass
    assert installation.log() == ""


@pytest.mark.parametrize("log_dir", [None, "deep/logs"])
def test_log_dir_is_relative_to_where_the_server_was_started(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory, log_dir: str | None
) -> None:
    elsewhere = Installation(tmp_path_factory.mktemp("elsewhere"), installation.store_port)
    optional = {} if log_dir is None else {"log_dir": log_dir}
    installation.configure(optional=optional)
    started_in = elsewhere.directory
    with elsewhere.running(script=str(installation.directory / "ftp_server.py")):
        wait_until(lambda: list((started_in / (log_dir or "log")).iterdir()), "no log file")
    assert not (installation.directory / (log_dir or "log")).exists()


def test_config_check_enable(installation: Installation) -> None:
    optional = {"buffer_memory": 1024**5, "config_check_enable": "true"}
    assert "60%" in installation.refused(optional=optional)
    with installation.serving(optional={**optional, "config_check_enable": "false"}) as server:
        assert "error" not in server.errors


def _log_in_again(server: Server) -> None:
    """Make the server log something."""
    with server.session():
        pass


def test_log_rotate_when(installation: Installation) -> None:
    log = installation.directory / "log"
    with installation.serving(optional={"log_rotate_when": "S"}) as server:

        def is_rotated() -> bool:
            _log_in_again(server)
            return len(list(log.iterdir())) >= 2

        wait_until(is_rotated, "no second log file")


def test_log_rotate_enabled(installation: Installation) -> None:
    optional = {"log_rotate_when": "S", "log_rotate_enabled": "false"}
    log = installation.directory / "log"
    with installation.serving(optional=optional) as server:

        def is_seconds_later() -> bool:
            _log_in_again(server)
            return len({line[:19] for line in installation.log().splitlines()}) >= 3

        wait_until(is_seconds_later, "no lines of several seconds")
        assert len(list(log.iterdir())) == 1


def test_log_backup_count(installation: Installation) -> None:
    log = installation.directory / "log"
    optional = {"log_rotate_when": "S", "log_backup_count": 1}
    with installation.serving(optional=optional) as server:
        seen: set[str] = set()

        def is_rotated_twice() -> bool:
            _log_in_again(server)
            seen.update(path.name for path in log.iterdir())
            return len(seen) >= 4

        wait_until(is_rotated_twice, "no fourth log file")
        wait_until(lambda: len(list(log.iterdir())) == 2, "old log files are kept")
