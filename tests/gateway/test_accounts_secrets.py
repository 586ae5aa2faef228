"""A long day of a gateway, in which everything goes wrong: no secret is in anything it says."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cos_ftp_server.accounts import Account, Login, hash_password
from cos_ftp_server.app import Gateway
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.diagnosis import examine_accounts
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig, Fault
from cos_ftp_server.errors import ConfigError
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.settings import Settings, load_settings
from tests.doubles.ftp_client import RawClient
from tests.doubles.memory_fs import MemoryFileSystem
from tests.doubles.scripted_store import replies, scripted_store

KEYS = EmulatorBucket("example-1250000000", "AKIDplain", "hush-key-1")
TOKEN_KEYS = EmulatorBucket(KEYS.name, "AKIDtoken", "hush-key-2", token="hush-token-2")
ROLE_KEYS = EmulatorBucket(KEYS.name, "AKIDrole", "hush-key-3", token="hush-token-3")
PASSWORDS = ("hush-password-1", "hush-password-2", "hush-password-3")
TYPED = "hush-mistyped"
SECRET = "hush"
"""What every secret here begins with."""


class Transcript(RawClient):
    """A client that remembers every line it was told."""

    def __init__(self, address: tuple[str, int], lines: list[str]) -> None:
        super().__init__(address)
        self._lines = lines

    async def line(self) -> str:
        line = await super().line()
        self._lines.append(line)
        return line


@pytest.fixture
async def store(tmp_path: Path, no_leaks: None) -> AsyncIterator[Emulator]:
    buckets = (KEYS, TOKEN_KEYS, ROLE_KEYS)
    async with Emulator(EmulatorConfig(directory=tmp_path / "s", buckets=buckets)) as running:
        yield running


@pytest.fixture
def config(store: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Secrets in the file, in the environment, in files, and hashed."""
    monkeypatch.setenv("KEY_2", TOKEN_KEYS.secret_key)
    (tmp_path / "token").write_text(f"{TOKEN_KEYS.token}\n")
    common = f"""\
cos_bucket = {KEYS.name}
cos_endpoint = 127.0.0.1:{store.port}
cos_protocol = http
authority = RW
"""
    text = f"""\
[COS_ACCOUNT_0]
cos_secretid = {KEYS.secret_id}
cos_secretkey = {KEYS.secret_key}
ftp_login_user_name = user0
ftp_login_user_password = {PASSWORDS[0]}
home_dir = {tmp_path}/0
{common}
[COS_ACCOUNT_1]
cos_secretid = {TOKEN_KEYS.secret_id}
cos_secretkey = env:KEY_2
cos_token = file:{tmp_path}/token
ftp_login_user_name = user1
ftp_login_user_password = {hash_password(PASSWORDS[1])}
home_dir = {tmp_path}/1
{common}
[COS_ACCOUNT_2]
cos_credential = cvm_role
ftp_login_user_name = user2
ftp_login_user_password = {PASSWORDS[2]}
home_dir = {tmp_path}/2
{common}
[NETWORK]
listen_address = 127.0.0.1
listen_port = 0
"""
    for number in range(3):
        (tmp_path / str(number)).mkdir()
    path = tmp_path / "vsftpd.conf"
    path.write_text(text)
    path.chmod(0o600)
    return path


async def test_no_secret_is_ever_said(
    store: Emulator, config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    settings = load_settings(config).settings
    async with scripted_store() as metadata:
        document = (
            f'{{"TmpSecretId": "{ROLE_KEYS.secret_id}", "TmpSecretKey": "{ROLE_KEYS.secret_key}", '
            f'"Token": "{ROLE_KEYS.token}", "ExpiredTime": {time.time() + 7200}, '
            '"Code": "Success"}'
        )
        role = (replies(200, body=b"role"), replies(200, body=document.encode()))
        metadata.will(*role, *role)
        url = f"http://{metadata.endpoint}/"
        gateway = Gateway(settings, url)
        await gateway.start()
        try:
            async with asyncio.TaskGroup() as mistaken:
                for number, password in enumerate(PASSWORDS):
                    await spend_a_day(gateway, f"user{number}", password, said)
                    mistaken.create_task(mistype(gateway, f"user{number}", password, said))
            for fault in FAULTS:
                rule = store.faults.add(fault)
                await spend_a_day(gateway, "user0", PASSWORDS[0], said)
                store.faults.remove(rule)
            gateway.reload(settings)
        finally:
            await gateway.aclose()
        said += await examined(store, settings, url)
    said += [repr(gateway), repr(vars(gateway)), *all_reprs(settings)]
    said += [said_of_a_broken(config)]
    # So that silence is not taken for discretion:
    assert "login failed for user 'user2'" in caplog.text
    assert any(line.startswith("226 ") for line in said)
    assert "403" in caplog.text
    for text in (*said, caplog.text, *map(repr, (record.args for record in caplog.records))):
        assert SECRET not in text
        assert "q-signature" not in text


FAULTS = (
    Fault(status=403, code="SignatureDoesNotMatch"),
    Fault(status=404, code="NoSuchBucket"),
    Fault(status=400, code="InvalidArgument"),
    Fault(operation="PutObject", truncate_at=3, times=1),
    Fault(operation="GetObject", status=403, code="AccessDenied"),
)


def connect(gateway: Gateway, said: list[str]) -> Transcript:
    port = int(gateway.url.rpartition(":")[2].rstrip("/"))
    return Transcript(("127.0.0.1", port), said)


async def mistype(gateway: Gateway, user: str, password: str, said: list[str]) -> None:
    async with connect(gateway, said) as client:
        await client.reply()
        for line in (f"PASS {password}", f"USER {user}", f"PASS {TYPED}", f"pass  {password}"):
            await client.command(line)


async def spend_a_day(gateway: Gateway, user: str, password: str, said: list[str]) -> None:
    async with connect(gateway, said) as client:
        await client.reply()
        for line in (f"USER {user}", f"PASS {password}", f"USERR {TYPED}", "HELP", "STAT", "FEAT"):
            await client.command(line)
        await client.command("TYPE I")
        await client.store("f", b"content")
        for command in ("RETR f", "LIST", "MLSD", "RETR nothing", "NLST nowhere"):
            content, _ = await client.fetch(command)
            said.append(content.decode())
        for line in ("SIZE f", "MKD d", "RNFR f", "RNTO g", "DELE g", "RMD d", "STAT /", "QUIT"):
            with suppress(EOFError):
                await client.command(line)


async def examined(store: Emulator, settings: Settings, url: str) -> list[str]:
    said: list[str] = []

    def report(finding: Any) -> None:
        said.extend((str(finding), repr(finding)))

    for fault in (None, *FAULTS):
        rule = store.faults.add(fault) if fault else None
        async with asyncio.timeout(30):
            await examine_accounts(settings.accounts, report, url)
        if rule:
            store.faults.remove(rule)
    return said


def all_reprs(settings: Settings) -> list[str]:
    account = Account("user0", MemoryFileSystem(), Permission.READ)
    keys = Credentials(KEYS.secret_id, KEYS.secret_key, TOKEN_KEYS.token)
    values = (settings, Login(account, PASSWORDS[0]), keys, StaticCredentials(keys))
    return [text for value in values for text in (repr(value), str(value))] + [
        settings.model_dump_json()
    ]


def said_of_a_broken(config: Path) -> str:
    """Break every value, and return what is said of them."""
    broken = re.sub(
        r"(?m)^(cos_secret|cos_token|ftp_login_user_p)(.*)$", r"\1\2 é ü", config.read_text()
    )
    config.write_text(broken.replace("authority = RW", "authority = X"))
    with pytest.raises(ConfigError) as caught:
        load_settings(config)
    assert len(caught.value.problems) > 5
    return f"{caught.value} {caught.value!r}"
