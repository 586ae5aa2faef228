"""The whole gateway in this process, in front of an embedded store whose requests are counted."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from cos_ftp_server.app import Gateway
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig
from cos_ftp_server.settings import (
    AccountSettings,
    NetworkSettings,
    OptionalSettings,
    Settings,
)
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient

BUCKET = EmulatorBucket("bucket-1250000000", "AKIDtest", "secret")
MIB = 1024**2


def settings_for(store_port: int, home: Path) -> Settings:
    account = AccountSettings(
        section="COS_ACCOUNT_0",
        cos_secretid=BUCKET.secret_id,
        cos_secretkey=SecretStr(BUCKET.secret_key),
        cos_bucket=BUCKET.name,
        cos_endpoint=f"127.0.0.1:{store_port}",
        cos_protocol="http",
        home_dir=home,
        ftp_login_user_name=USER,
        ftp_login_user_password=SecretStr(PASSWORD),
        authority="RW",
    )
    return Settings(
        accounts=(account,),
        network=NetworkSettings(
            listen_address=("127.0.0.1",), listen_port=0, passive_port=(20000, 59999)
        ),
        optional=OptionalSettings(min_part_size=MIB, max_connection_num=0, max_login_users=0),
    )


@dataclass
class World:
    emulator: Emulator
    gateway: Gateway

    def client(self) -> RawClient:
        port = int(self.gateway.url.rpartition(":")[2].rstrip("/"))
        return RawClient(("127.0.0.1", port))


@pytest.fixture
async def world(tmp_path: Path, no_leaks: None) -> AsyncIterator[World]:
    config = EmulatorConfig(directory=tmp_path / "store", buckets=(BUCKET,))
    async with Emulator(config) as emulator:
        gateway = Gateway(settings_for(emulator.port, tmp_path))
        await gateway.start()
        try:
            yield World(emulator, gateway)
        finally:
            emulator.faults.clear()
            await gateway.aclose()
