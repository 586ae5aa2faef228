"""A running store, and clients for it."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cos_ftp_server.emulator import Emulator

from .support import RawClient, Sdk, make_config, make_sdk


@pytest.fixture(autouse=True)
def quiet_sdk() -> None:
    logging.getLogger("qcloud_cos").setLevel(logging.CRITICAL)  # it logs each expected error


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    async with Emulator(make_config(tmp_path / "store")) as running:
        yield running


@pytest.fixture
def sdk(emulator: Emulator) -> Sdk:
    return make_sdk(emulator.port)


@pytest.fixture
def raw(emulator: Emulator) -> RawClient:
    return RawClient(emulator.port)
