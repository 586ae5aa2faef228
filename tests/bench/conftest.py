"""The null store in this process, and clients for it."""

import logging
from collections.abc import AsyncIterator

import pytest

from bench.store.api import Api
from bench.store.server import NullStore
from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from tests.emulator.support import BUCKET, Sdk, make_sdk


@pytest.fixture
def null_store() -> NullStore:
    return NullStore(Api(BUCKET))


@pytest.fixture
async def ports(null_store: NullStore) -> AsyncIterator[tuple[int, int]]:
    """The ports for HTTP and for raw bytes."""
    http, raw = await null_store.listen("127.0.0.1")
    async with http, raw:
        yield http.sockets[0].getsockname()[1], raw.sockets[0].getsockname()[1]
        null_store.cut()


@pytest.fixture
async def client(ports: tuple[int, int]) -> AsyncIterator[CosClient]:
    address = BucketAddress(BUCKET, endpoint=f"127.0.0.1:{ports[0]}", scheme="http")
    async with create_transport() as transport:
        yield CosClient(transport, address, StaticCredentials(Credentials("AKID", "key")))


@pytest.fixture
def sdk(ports: tuple[int, int]) -> Sdk:
    logging.getLogger("qcloud_cos").setLevel(logging.CRITICAL)  # it logs each expected error
    return make_sdk(ports[0])
