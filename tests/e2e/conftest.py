"""Fixtures of the end-to-end tests: each worker has its store and gateways, each test its place."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pytest

from tests.e2e.clients import CLIENTS, Client
from tests.e2e.harness import Gateway, Site, Store, StoreKeys, Tenant
from tests.e2e.wire import Wire

ALICE = Tenant("alice", "alice-pw", StoreKeys("alice-1250000000"))
BOB = Tenant("bob", "bob-pw", StoreKeys("bob-1250000000"))
TENANTS = (ALICE, BOB)

_numbers = itertools.count()


class NewClient(Protocol):
    """Makes the driver of a client by its name in `CLIENTS`."""

    def __call__(
        self, name: str, site: Site, *, active: bool = False, options: Sequence[str] = ()
    ) -> Client: ...


@pytest.fixture(scope="session")
def worker_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("e2e")


@pytest.fixture(scope="session")
def store(worker_directory: Path) -> Iterator[Store]:
    """The store behind the gateways; tests keep to keys of their own."""
    store = Store(worker_directory / "store", [tenant.keys for tenant in TENANTS])
    yield store
    store.close()


@pytest.fixture(scope="session")
def gateway(worker_directory: Path, store: Store) -> Iterator[Gateway]:
    gateway = Gateway(worker_directory / "gateway", store.port, TENANTS)
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def gateway6(worker_directory: Path, store: Store) -> Iterator[Gateway]:
    """A gateway that listens at ::1."""
    gateway = Gateway(worker_directory / "gateway6", store.port, TENANTS, host="::1")
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def keeping_gateway(worker_directory: Path, store: Store) -> Iterator[Gateway]:
    """A gateway that keeps what has arrived of an upload that breaks off."""
    directory = worker_directory / "keeping"
    gateway = Gateway(directory, store.port, TENANTS, interrupted_upload="keep")
    yield gateway
    gateway.stop()


@pytest.fixture
def alice(gateway: Gateway) -> Site:
    return gateway.site("alice")


@dataclass(frozen=True)
class Place:
    """A directory of one test in alice's bucket."""

    store: Store
    name: str
    bucket: str = field(default=ALICE.keys.bucket)

    @property
    def path(self) -> str:
        """The directory, absolute."""
        return f"/{self.name}"

    def key(self, name: str) -> str:
        """The object key of `name` in this directory."""
        return f"{self.name}/{name}"

    def content(self, name: str) -> bytes:
        return self.store.content(self.bucket, self.key(name))

    def names(self) -> list[str]:
        """All object keys below the directory, relative to it; its own marker is not among them."""
        keys = self.store.keys(self.bucket, f"{self.name}/")
        return [key.removeprefix(f"{self.name}/") for key in keys if key != f"{self.name}/"]

    def put(self, name: str, content: bytes) -> None:
        """Store an object past the gateway."""
        self.store.load(self.bucket, **{self.key(name): content})

    def open_uploads(self) -> list[str]:
        return self.store.open_uploads(self.bucket, f"{self.name}/")

    def abort_uploads(self) -> None:
        """End multipart uploads that nobody but the store knows."""
        self.store.abort_uploads(self.bucket, f"{self.name}/")


@pytest.fixture
def place(store: Store) -> Iterator[Place]:
    """An empty directory; a test that leaves a multipart upload open in it has failed."""
    name = f"test{next(_numbers):04d}"
    store.load(ALICE.keys.bucket, **{f"{name}/": b""})
    place = Place(store, name)
    yield place
    assert place.open_uploads() == []


@pytest.fixture
def wire(alice: Site) -> Iterator[Wire]:
    """A control connection, logged in."""
    with Wire(alice) as wire:
        wire.log_in()
        yield wire


@pytest.fixture
def new_client(tmp_path: Path) -> NewClient:
    """Make a client that keeps its settings and history away from the user's."""

    def make(name: str, site: Site, *, active: bool = False, options: Sequence[str] = ()) -> Client:
        home = tmp_path / f"home{next(_numbers)}"
        home.mkdir()
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8"}
        return CLIENTS[name](site, environment, active=active, options=options)

    return make
