"""`check --online`: each step with each account, and what is said when one goes wrong."""

import asyncio
import json
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cos_ftp_server.cli import main
from cos_ftp_server.diagnosis import PROBE_NAME, examine_accounts
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig, Fault
from cos_ftp_server.settings import AccountSettings
from tests.doubles.scripted_store import (
    ScriptedStore,
    error,
    replies,
    resets,
    scripted_store,
    xml,
)

SECRET = "s3cr3t"
BUCKET = EmulatorBucket("example-1250000000", "AKIDexample", SECRET)
TEMPORARY = EmulatorBucket(BUCKET.name, "AKIDtemporary", SECRET, token=f"{SECRET}-token")
OTHER = EmulatorBucket("other-1250000000", "AKIDother", SECRET)
ALL_STEPS = ["connect", "sign", "bucket", "list", "write", "read", "delete"]


@pytest.fixture
async def store(tmp_path: Path, no_leaks: None) -> AsyncIterator[Emulator]:
    config = EmulatorConfig(directory=tmp_path / "store", buckets=(BUCKET, TEMPORARY, OTHER))
    async with Emulator(config) as running:
        yield running


@pytest.fixture
async def script(no_leaks: None) -> AsyncIterator[ScriptedStore]:
    async with scripted_store() as running:
        yield running


def account(endpoint: str, **changes: Any) -> AccountSettings:
    values: dict[str, Any] = {
        "section": "COS_ACCOUNT_0",
        "cos_secretid": BUCKET.secret_id,
        "cos_secretkey": SecretStr(SECRET),
        "cos_bucket": BUCKET.name,
        "cos_endpoint": endpoint,
        "cos_protocol": "http",
        "home_dir": Path("/"),
        "ftp_login_user_name": "user0",
        "ftp_login_user_password": SecretStr(SECRET),
        "authority": "RW",
    }
    return AccountSettings(**values | changes)


def at(store: Emulator, **changes: Any) -> AccountSettings:
    return account(f"127.0.0.1:{store.port}", **changes)


async def findings(*accounts: AccountSettings, metadata_url: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def report(finding: Any) -> None:
        assert SECRET not in str(finding)
        assert "\n" not in str(finding)
        found.append((finding.step, finding.problem))

    async with asyncio.timeout(60):
        await examine_accounts(accounts, report, metadata_url)
    return found


async def problem(*accounts: AccountSettings, step: str) -> str:
    """Return the only problem there is, which is that of `step`."""
    found = {name: words for name, words in await findings(*accounts) if words}
    assert list(found) == [step], found
    return found[step]


# What is good


async def test_an_account_that_works_leaves_no_trace(store: Emulator) -> None:
    assert await findings(at(store)) == [(step, "") for step in ALL_STEPS]
    assert await store.object_names(BUCKET.name) == []


async def test_an_account_that_only_reads_writes_nothing(store: Emulator) -> None:
    assert await findings(at(store, authority="R")) == [(step, "") for step in ALL_STEPS[:4]]
    assert store.requests.count("PutObject") == 0


async def test_the_probe_is_as_the_accounts_files_are(store: Emulator) -> None:
    await store.load(BUCKET.name, [("p/q/own", b"")])
    hold = asyncio.Event()
    store.faults.add(Fault(operation="DeleteObject", hold=hold))
    examined = asyncio.create_task(
        findings(at(store, cos_prefix="p/q/", storage_class="STANDARD_IA"))
    )
    await store.requests.wait_for("DeleteObject")
    probe, _ = sorted(await store.object_names(BUCKET.name))
    assert probe.startswith(f"p/q/{PROBE_NAME}")
    hold.set()
    assert [words for _, words in await examined] == [""] * len(ALL_STEPS)
    assert await store.object_names(BUCKET.name) == ["p/q/own"]


async def test_temporary_keys(store: Emulator) -> None:
    keys = {"cos_secretid": TEMPORARY.secret_id, "cos_token": SecretStr(TEMPORARY.token)}
    assert await findings(at(store, **keys)) == [(step, "") for step in ALL_STEPS]


async def test_a_key_that_may_do_all_but_look_at_the_bucket_is_good(store: Emulator) -> None:
    store.faults.add(Fault(operation="HeadBucket", status=403, code="AccessDenied"))
    assert await findings(at(store)) == [(step, "") for step in ALL_STEPS]


async def test_a_role(store: Emulator, script: ScriptedStore) -> None:
    keys = {
        "TmpSecretId": TEMPORARY.secret_id,
        "TmpSecretKey": TEMPORARY.secret_key,
        "Token": TEMPORARY.token,
        "ExpiredTime": 4_000_000_000,
        "Code": "Success",
    }
    script.will(replies(200, body=b"role"), replies(200, body=json.dumps(keys).encode()))
    with_role = at(store, cos_credential="cvm_role", cos_secretid=None, cos_secretkey=None)
    url = f"http://{script.endpoint}/"
    good = [(step, "") for step in ["keys of the role", *ALL_STEPS]]
    assert await findings(with_role, metadata_url=url) == good
    script.will(replies(404))
    ((step, words),) = await findings(with_role, metadata_url=url)
    assert step == "keys of the role"
    assert words.startswith("there are no keys of this machine's role: bind a role to it")
    assert "no role is bound to this machine" in words


async def test_many_accounts_a_few_at_a_time(store: Emulator) -> None:
    hold = asyncio.Event()
    store.faults.add(Fault(operation="HeadBucket", hold=hold))
    accounts = [at(store, section=f"COS_ACCOUNT_{n}", authority="R") for n in range(20)]
    examined = asyncio.create_task(findings(*accounts))
    await store.requests.wait_for("HeadBucket", count=8)
    assert store.requests.count("HeadBucket") == 8
    hold.set()
    assert len(await examined) == 20 * 4


# Keys


async def test_a_key_that_the_store_does_not_know(store: Emulator) -> None:
    words = await problem(at(store, cos_secretid="AKIDmistyped"), step="sign")
    assert words.startswith("the store does not know cos_secretid")
    assert "403 InvalidAccessKeyId" in words
    assert "request id " in words


async def test_a_key_with_the_wrong_secret(store: Emulator) -> None:
    words = await problem(at(store, cos_secretkey=SecretStr(f"{SECRET}x")), step="sign")
    assert words.startswith("the signature is wrong: cos_secretkey does not belong to cos_secret")


async def test_a_key_without_permission(store: Emulator) -> None:
    found = dict(await findings(at(store, cos_secretid=OTHER.secret_id, authority="R")))
    assert found["sign"] == ""
    assert "this key may not look at the bucket (HeadBucket)" in found["bucket"]
    assert "this key may not list the bucket (GetBucket): grant it that" in found["list"]


@pytest.mark.parametrize(
    ("operation", "step", "action"),
    [
        ("ListObjects", "list", "list the bucket (GetBucket)"),
        ("PutObject", "write", "write objects (PutObject)"),
        ("GetObject", "read", "read objects (GetObject)"),
    ],
)
async def test_a_key_that_may_do_something_else(
    store: Emulator, operation: str, step: str, action: str
) -> None:
    store.faults.add(Fault(operation=operation, status=403, code="AccessDenied"))
    words = await problem(at(store), step=step)
    assert words.startswith(f"this key may not {action}: grant it that, on {BUCKET.name} (403")
    assert await store.object_names(BUCKET.name) == []


async def test_a_probe_that_may_not_be_deleted_is_named(store: Emulator) -> None:
    store.faults.add(Fault(operation="DeleteObject", status=403, code="AccessDenied"))
    words = await problem(at(store), step="delete")
    (left,) = await store.object_names(BUCKET.name)
    assert f"{left!r} is still there" in words


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidToken"])
async def test_a_token_that_is_over(script: ScriptedStore, code: str) -> None:
    script.will(error(403, code), error(403, code))
    assert "cos_secretid" in await problem(account(script.endpoint), step="sign")


# Buckets


async def test_a_bucket_that_is_not_there(store: Emulator) -> None:
    words = await problem(at(store, cos_bucket="mistyped-125"), step="bucket")
    assert words.startswith("there is no bucket mistyped-125 at 127.0.0.1:")


async def test_a_bucket_that_is_somewhere_else(script: ScriptedStore) -> None:
    script.will(replies(404), error(404, "NoSuchBucket"))
    words = await problem(account(script.endpoint), step="bucket")
    assert words.startswith(f"there is no bucket {BUCKET.name} at {script.endpoint}: cos_bucket, ")
    script.will(replies(301), error(301, "PermanentRedirect"))
    words = await problem(account(script.endpoint), step="bucket")
    assert words.startswith(f"there is no bucket {BUCKET.name} at {script.endpoint}")


async def test_a_bucket_that_refuses_path_style(script: ScriptedStore) -> None:
    refusal = error(403, "AccessDenied", "PathStyleDomainForbidden")
    script.will(refusal, refusal)
    words = await problem(account(script.endpoint), step="sign")
    assert "cos_endpoint must be a host name instead of an IP address" in words


async def test_a_storage_class_that_the_bucket_does_not_take(store: Emulator) -> None:
    store.faults.add(Fault(operation="PutObject", status=400, code="NotSupportedStorageClass"))
    assert "does not take the storage_class" in await problem(at(store), step="write")


async def test_archived_objects_cannot_be_read_back_and_that_is_good(store: Emulator) -> None:
    store.faults.add(Fault(operation="GetObject", status=403, code="InvalidObjectState"))
    archive = at(store, storage_class="ARCHIVE")
    assert await findings(archive) == [(step, "") for step in ALL_STEPS]


async def test_a_store_that_changes_what_is_written(script: ScriptedStore) -> None:
    listing = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    date = {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}
    script.will(replies(), xml(listing), replies(), replies(200, date, b"something else"))
    words = await problem(account(script.endpoint), step="read")
    assert words == "what was read is not what was written"


# The way there


@contextmanager
def listening() -> Iterator[str]:
    """An address where nobody ever answers, because nobody accepts."""
    with socket.create_server(("127.0.0.1", 0), backlog=5) as sock:
        yield f"127.0.0.1:{sock.getsockname()[1]}"


async def test_nobody_listens() -> None:
    with listening() as address:
        pass
    words = await problem(account(address), step="connect")
    assert words.startswith(f"nobody answers at {address}: cos_endpoint is wrong, or a firewall")


@pytest.mark.parametrize("behind_s", [86_400, -86_400])
async def test_a_clock_that_is_wrong(store: Emulator, behind_s: int) -> None:
    store.faults.clock_offset_s = behind_s
    words = await problem(at(store), step="sign")
    side = "behind" if behind_s > 0 else "ahead of"
    assert words.startswith("this machine's clock is 86")
    assert f"s {side} the store's" in words


async def test_a_name_that_does_not_exist() -> None:
    """`.invalid` never does (RFC 2606, 2)."""
    words = await problem(account("cos.invalid"), step="connect")
    assert words.startswith("cos_endpoint is wrong, or DNS does not work on this machine")


async def test_tls_with_a_store_that_has_none(store: Emulator) -> None:
    words = await problem(at(store, cos_protocol="https"), step="connect")
    assert "cos_protocol must be http" in words


async def test_a_certificate_that_is_not_trusted(tmp_path: Path, no_leaks: None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        untrusted = account(f"127.0.0.1:{port}", cos_protocol="https")
        words = await problem(untrusted, step="connect")
    assert f"the certificate of 127.0.0.1:{port} is not trusted" in words


def _self_signed(directory: Path) -> Path:
    pem = directory / "server.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -days 2"
    files = ["-keyout", str(pem), "-out", str(directory / "cert.pem")]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (directory / "cert.pem").read_text())
    return pem


async def test_somebody_else_who_speaks_http(script: ScriptedStore) -> None:
    page = replies(
        400, {"x-cos-request-id": ""}, b"<html>HTTP request sent to an HTTPS port</html>"
    )
    script.will(page, page)
    words = dict(await findings(account(script.endpoint)))["bucket"]
    assert "does not answer as the store would: is cos_endpoint right, and does it speak" in words


async def test_a_connection_that_breaks(script: ScriptedStore) -> None:
    script.will(resets(), resets())
    words = await problem(account(script.endpoint), step="connect")
    assert "does not answer as the store would" in words


async def test_a_store_that_is_out_of_order(store: Emulator) -> None:
    store.faults.add(Fault(operation="PutObject", status=503, code="SlowDown"))
    assert "overloaded or out of order" in await problem(at(store), step="write")


# When it ends early


@pytest.mark.parametrize("operation", ["PutObject", "GetObject"])
async def test_the_probe_goes_when_somebody_interrupts(store: Emulator, operation: str) -> None:
    fault = Fault(operation=operation, hold=asyncio.Event(), after_commit=True)
    store.faults.add(fault)
    examined = asyncio.create_task(findings(at(store)))
    await store.requests.wait_for(operation)
    if operation == "PutObject":
        while not await store.object_names(BUCKET.name):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
    examined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await examined
    assert await store.object_names(BUCKET.name) == []


# The command


async def test_the_command_says_each_step_and_what_came_of_it(
    store: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "vsftpd.conf"
    accounts = []
    for number, key in enumerate((BUCKET.secret_id, "AKIDmistyped")):
        (tmp_path / f"user{number}").mkdir()
        accounts.append(
            f"""\
[COS_ACCOUNT_{number}]
cos_secretid = {key}
cos_secretkey = {SECRET}
cos_bucket = {BUCKET.name}
cos_endpoint = 127.0.0.1:{store.port}
cos_protocol = http
home_dir = {tmp_path}/user{number}
ftp_login_user_name = user{number}
ftp_login_user_password = {SECRET}
authority = R
"""
        )
    config.write_text(accounts[0])
    config.chmod(0o600)
    command = ["check", "--online", "--config", str(config)]
    assert await asyncio.to_thread(main, command) == 0
    good = [f"[COS_ACCOUNT_0] user0: {step}: good" for step in ALL_STEPS[:4]]
    out, err = capsys.readouterr()
    assert out.splitlines() == [*good, f"{config}: good, 1 account(s)"]
    assert err == ""
    config.write_text("".join(accounts))
    store.faults.clock_offset_s = 0
    assert await asyncio.to_thread(main, command) == 1
    out, err = capsys.readouterr()
    assert set(good) < set(out.splitlines())
    assert "[COS_ACCOUNT_1] user1: sign: the store does not know cos_secretid" in out
    assert err == "cos-ftp-server: error: 1 of 2 account(s) will not work\n"
