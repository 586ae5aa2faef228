"""A client and the scripted store that it talks to."""

from collections.abc import AsyncIterator

import pytest

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Timeouts, create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from tests.doubles.scripted_store import ScriptedStore, scripted_store

BUCKET = "photos-1250000000"


async def at_once(delay: float) -> None:
    """Stand in for sleeping between tries."""


@pytest.fixture
async def store(no_leaks: None) -> AsyncIterator[ScriptedStore]:
    async with scripted_store() as running:
        yield running


@pytest.fixture
async def client(store: ScriptedStore) -> AsyncIterator[CosClient]:
    timeouts = Timeouts(connect_s=5, idle_s=0.2, total_s=5, slow_idle_s=0.4, slow_total_s=5)
    async with create_transport(timeouts) as transport:
        yield CosClient(
            transport,
            BucketAddress(BUCKET, endpoint=store.endpoint, scheme="http"),
            StaticCredentials(Credentials("AKID", "hidden-key", "hidden-token")),
            retry=RetryPolicy(max_tries=3, sleep=at_once),
        )
