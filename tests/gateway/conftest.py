"""The whole gateway in this process, in front of an embedded store whose requests are counted."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cos_ftp_server.app import Gateway
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig
from cos_ftp_server.settings import (
    AccountSettings,
    FileOptionSettings,
    NetworkSettings,
    OptionalSettings,
    Settings,
)
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient, until
from tests.doubles.server_process import write_config

BUCKET = EmulatorBucket("bucket-1250000000", "AKIDtest", "secret")
MIB = 1024**2


def account_for(store_port: int, home: Path, **keys: Any) -> AccountSettings:
    """An account of BUCKET; `keys` are those that differ."""
    values: dict[str, Any] = {
        "section": "COS_ACCOUNT_0",
        "cos_secretid": BUCKET.secret_id,
        "cos_secretkey": SecretStr(BUCKET.secret_key),
        "cos_bucket": BUCKET.name,
        "cos_endpoint": f"127.0.0.1:{store_port}",
        "cos_protocol": "http",
        "home_dir": home,
        "ftp_login_user_name": USER,
        "ftp_login_user_password": SecretStr(PASSWORD),
        "authority": "RW",
    }
    return AccountSettings(**values | keys)


def settings_for(
    *accounts: AccountSettings,
    network: Mapping[str, Any] | None = None,
    file_option: Mapping[str, Any] | None = None,
    optional: Mapping[str, Any] | None = None,
) -> Settings:
    """Settings that limit nothing and listen on loopback, but for what is given."""
    listen = {"listen_address": ("127.0.0.1",), "listen_port": 0, "passive_port": (20000, 59999)}
    tuning: dict[str, Any] = {
        "min_part_size": MIB,
        "max_connection_num": 0,
        "max_login_users": 0,
        "log_dir": accounts[0].home_dir / "log",
    }
    return Settings(
        accounts=accounts,
        network=NetworkSettings(**{**listen, **(network or {})}),
        file_option=FileOptionSettings(**(file_option or {})),
        optional=OptionalSettings(**{**tuning, **(optional or {})}),
    )


@dataclass(frozen=True)
class World:
    emulator: Emulator
    gateway: Gateway
    settings: Settings

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.gateway.url.removeprefix("ftp://").rstrip("/").rpartition(":")
        return host, int(port)

    def client(self) -> RawClient:
        return RawClient(self.address)

    async def keys(self) -> list[str]:
        """What is in the bucket, which must hold nothing half-finished."""
        assert await self.emulator.open_uploads(BUCKET.name) == []
        return await self.emulator.object_names(BUCKET.name)


@pytest.fixture
async def emulator(tmp_path: Path, no_leaks: None) -> AsyncIterator[Emulator]:
    config = EmulatorConfig(directory=tmp_path / "store", buckets=(BUCKET,))
    async with Emulator(config) as started:
        yield started


def has_looks(gateway: Gateway) -> bool:
    """Whether it still looks at the store, which it does once it serves: requests of its own."""
    return gateway._storage is not None and bool(gateway._storage._looks)


Start = Callable[..., Awaitable[World]]


@pytest.fixture
async def start(emulator: Emulator, tmp_path: Path) -> AsyncIterator[Start]:
    """Start a gateway: `await start(account={...}, network={...}, …)`, keys that differ."""
    gateways: list[Gateway] = []

    async def start_one(account: Mapping[str, Any] | None = None, **sections: Any) -> World:
        settings = settings_for(account_for(emulator.port, tmp_path, **(account or {})), **sections)
        world = World(emulator, Gateway(settings), settings)
        gateways.append(world.gateway)
        await world.gateway.start()
        await until(lambda: not has_looks(world.gateway))
        return world

    yield start_one
    emulator.faults.clear()
    for gateway in gateways:
        await gateway.aclose()


@pytest.fixture
async def world(start: Start) -> World:
    return await start()


@dataclass
class Config:
    """A configuration file in front of the embedded store: change `sections`, and `write`."""

    path: Path
    sections: dict[str, dict[str, object]]
    logs: Path

    def write(self) -> Path:
        write_config(self.path, self.sections)
        return self.path


@pytest.fixture
def config(emulator: Emulator, tmp_path: Path) -> Config:
    account = {
        "cos_secretid": BUCKET.secret_id,
        "cos_secretkey": BUCKET.secret_key,
        "cos_bucket": BUCKET.name,
        "cos_endpoint": f"127.0.0.1:{emulator.port}",
        "cos_protocol": "http",
        "home_dir": tmp_path,
        "ftp_login_user_name": USER,
        "ftp_login_user_password": PASSWORD,
        "authority": "RW",
    }
    network = {
        "listen_address": "127.0.0.1",
        "listen_port": 0,
        "passive_port": "20000,59999",
    }
    logs = tmp_path / "log"
    optional = {"log_dir": logs, "min_part_size": MIB, "config_check_enable": "false"}
    sections = {"COS_ACCOUNT_0": account, "NETWORK": network, "OPTIONAL": optional}
    return Config(tmp_path / "vsftpd.conf", sections, logs)
