"""What one account may see and do, and with which keys, as FTP clients find out."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cos_ftp_server.app import Gateway
from cos_ftp_server.buckets import open_bucket
from cos_ftp_server.cos.credentials import RoleCredentials
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig, Fault
from cos_ftp_server.settings import AccountSettings
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient
from tests.doubles.scripted_store import ScriptedStore, replies, scripted_store
from tests.gateway.conftest import BUCKET, MIB, Start, World, account_for, settings_for

ROLE_KEYS = EmulatorBucket(BUCKET.name, "AKIDrole", "secret-of-the-role", "token-of-the-role")
NEW_ROLE_KEYS = EmulatorBucket(BUCKET.name, "AKIDrole2", "secret-2-of-the-role", "token-2")


class Site:
    """A gateway with as many accounts as a test wants, each with a directory of its own."""

    def __init__(self, emulator: Emulator, home: Path) -> None:
        self.emulator = emulator
        self._home = home
        self._gateways: list[Gateway] = []

    def account(self, user: str, **keys: Any) -> AccountSettings:
        keys = {"section": f"COS_ACCOUNT_{user}", "ftp_login_user_name": user} | keys
        return account_for(self.emulator.port, self._home / user, **keys)

    async def start(self, *accounts: AccountSettings, metadata_url: str = "") -> Gateway:
        gateway = Gateway(settings_for(*accounts), metadata_url)
        self._gateways.append(gateway)
        await gateway.start()
        return gateway

    async def aclose(self) -> None:
        for gateway in self._gateways:
            await gateway.aclose()


@pytest.fixture
async def site(tmp_path: Path, no_leaks: None) -> AsyncIterator[Site]:
    buckets = (BUCKET, ROLE_KEYS, NEW_ROLE_KEYS)
    async with Emulator(EmulatorConfig(directory=tmp_path / "s", buckets=buckets)) as emulator:
        running = Site(emulator, tmp_path)
        yield running
        emulator.faults.clear()
        await running.aclose()


def client_of(gateway: Gateway) -> RawClient:
    return RawClient(("127.0.0.1", int(gateway.url.rpartition(":")[2].rstrip("/"))))


async def log_in(client: RawClient, user: str) -> None:
    assert (await client.reply()).code == 220
    await client.expect(f"USER {user}", 331)
    await client.expect(f"PASS {PASSWORD}", 230)
    await client.expect("TYPE I", 200)


# cos_prefix


async def test_accounts_share_a_bucket_and_cannot_leave_their_part_of_it(site: Site) -> None:
    gateway = await site.start(
        site.account("yard", cos_prefix="cameras/yard/"),
        site.account("gate", cos_prefix="cameras/gate/"),
        site.account("guard"),
    )
    async with client_of(gateway) as yard, client_of(gateway) as gate, client_of(gateway) as guard:
        for client, user in ((yard, "yard"), (gate, "gate"), (guard, "guard")):
            await log_in(client, user)
        assert (await yard.store("/../../f", b"of the yard")).code == 226
        await yard.expect("MKD d", 257)
        assert (await yard.fetch("NLST /"))[0] == b"d\r\nf\r\n"
        assert (await gate.fetch("NLST /"))[0] == b""
        for argument in ("../yard/f", "/cameras/yard/f", "/../yard/f"):
            await gate.expect(f"SIZE {argument}", 550)
            await gate.expect(f"RNFR {argument}", 550)
            await gate.expect(f"DELE {argument}", 550)
        await gate.expect("CWD ..", 250)
        assert '"/"' in (await gate.expect("PWD", 257)).text
        assert (await guard.fetch("NLST /cameras/yard"))[0] == b"d\r\nf\r\n"
        await yard.expect("RNFR f", 350)
        await yard.expect("RNTO ../../gate/g", 250)
    assert await site.emulator.object_names(BUCKET.name) == [
        "cameras/yard/d/",
        "cameras/yard/gate/g",
    ]


# overwrite_enable


async def test_no_file_is_replaced_without_overwrite_enable(start: Start) -> None:
    world = await start(account={"overwrite_enable": False})
    async with world.client() as client:
        await client.login()
        assert (await client.store("f", b"old")).code == 226
        refused = await client.store("f", b"new")
        assert (refused.code, refused.text) == (550, "550 It exists already.")
        assert (await client.store("g", bytes(3 * MIB))).code == 226
        await client.expect("RNFR g", 350)
        await client.expect("RNTO f", 550)
        assert (await client.fetch("RETR f"))[0] == b"old"
        await client.expect("RNFR g", 350)
        await client.expect("RNTO h", 250)
        await client.expect("DELE f", 250)
        assert (await client.store("f", b"new")).code == 226
    assert await world.keys() == ["f", "h"]


# storage_class, server_side_encryption, content_type_enable


async def test_what_files_are_stored_with(start: Start) -> None:
    world = await start(
        account={"storage_class": "STANDARD_IA", "server_side_encryption": "AES256"}
    )
    async with world.client() as client:
        await client.login()
        assert (await client.store("a.jpg.tmp", b"x")).code == 226
        assert (await client.store("large.mp4", bytes(3 * MIB))).code == 226
        await client.expect("RNFR a.jpg.tmp", 350)
        await client.expect("RNTO a.jpg", 250)
    for key, content_type in (("a.jpg", "image/jpeg"), ("large.mp4", "video/mp4")):
        options = await stored_options(world, key)
        assert options == {
            "Content-Type": content_type,
            "x-cos-storage-class": "STANDARD_IA",
            "x-cos-server-side-encryption": "AES256",
        }


async def stored_options(world: World, key: str) -> dict[str, str]:
    async with create_transport() as transport:
        account = world.settings.accounts[0]
        client = open_bucket(transport, account, RoleCredentials(transport))
        options = (await client.head_object(key)).options
    return {
        "Content-Type": options.content_type,
        "x-cos-storage-class": options.storage_class,
        "x-cos-server-side-encryption": options.server_side_encryption,
    }


# Keys


@pytest.fixture
async def metadata(no_leaks: None) -> AsyncIterator[ScriptedStore]:
    async with scripted_store() as service:
        yield service


def give(service: ScriptedStore, keys: EmulatorBucket, life_s: float) -> None:
    document = {
        "TmpSecretId": keys.secret_id,
        "TmpSecretKey": keys.secret_key,
        "Token": keys.token,
        "ExpiredTime": time.time() + life_s,
        "Code": "Success",
    }
    service.will(replies(200, body=b"role"), replies(200, body=json.dumps(document).encode()))


BY_ROLE: dict[str, Any] = {
    "cos_credential": "cvm_role",
    "cos_secretid": None,
    "cos_secretkey": None,
}


async def test_keys_of_a_role_are_used_and_renewed(site: Site, metadata: ScriptedStore) -> None:
    give(metadata, ROLE_KEYS, life_s=3)
    give(metadata, NEW_ROLE_KEYS, life_s=7200)
    gateway = await site.start(
        site.account("a", **BY_ROLE),
        site.account("b", **BY_ROLE),
        metadata_url=f"http://{metadata.endpoint}/",
    )
    async with client_of(gateway) as client:
        await log_in(client, "a")
        assert (await client.store("f", b"first keys")).code == 226
        while len(metadata.requests) < 4:  # noqa: ASYNC110 - it renews when it is time to
            await asyncio.sleep(0.05)
        assert (await client.store("g", b"second keys")).code == 226
    assert len(metadata.requests) == 4  # one service for both accounts


async def test_temporary_keys_of_an_accounts_own(site: Site) -> None:
    gateway = await site.start(
        site.account(
            "a",
            cos_secretid=ROLE_KEYS.secret_id,
            cos_secretkey=SecretStr(ROLE_KEYS.secret_key),
            cos_token=SecretStr(ROLE_KEYS.token),
        )
    )
    async with client_of(gateway) as client:
        await log_in(client, "a")
        assert (await client.store("f", b"x")).code == 226


async def test_a_role_without_keys_is_a_store_that_is_not_available(
    site: Site, metadata: ScriptedStore, caplog: pytest.LogCaptureFixture
) -> None:
    metadata.will(*[replies(404)] * 100)
    gateway = await site.start(
        site.account("a", **BY_ROLE), metadata_url=f"http://{metadata.endpoint}/"
    )
    await logged(caplog, "there are no keys of this machine's role")
    async with client_of(gateway) as client:
        await log_in(client, "a")
        reply = await client.command("SIZE f")
    assert reply.code == 451
    assert "try again later" in reply.text


# A store that cannot be reached at the start


async def logged(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    async with asyncio.timeout(20):
        while not all(word in caplog.text for word in words):  # noqa: ASYNC110 - a log tells nobody
            await asyncio.sleep(0.01)


async def test_a_store_that_is_down_delays_nothing_and_is_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.emulator.faults.add(Fault(operation="HeadBucket", hold=asyncio.Event()))
    slow = site.account("slow")
    down = site.account("down", cos_endpoint="127.0.0.1:1")
    wrong = site.account("wrong", cos_secretid="AKIDmistyped")
    gateway = await site.start(slow, down, wrong)
    async with client_of(gateway) as client:
        await log_in(client, "slow")
    await logged(caplog, "[COS_ACCOUNT_down]", "[COS_ACCOUNT_wrong]")
    records = [record for record in caplog.records if record.name == "cos_ftp_server.storage"]
    assert [record.levelno for record in records] == [logging.WARNING] * 2
    messages = sorted(record.message for record in records)
    assert messages[0].startswith("[COS_ACCOUNT_down] user='down': nobody answers at 127.0.0.1:1:")
    assert messages[1].startswith("[COS_ACCOUNT_wrong] user='wrong': the store does not know cos_s")


async def test_accounts_that_work_cause_no_warning(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    world = await start()
    await world.emulator.requests.wait_for("HeadBucket", ended=True)
    async with world.client() as client:
        await client.login()
        await client.expect(f"USER {USER}", 331)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
