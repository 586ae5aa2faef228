"""What the end-to-end tests run on: the store, the gateway as users start it, and test data.

The store runs on a thread of the test's process, so that tests can look into it and make it
misbehave; the gateway is a process of its own, started by its command.
"""

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvloop

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.transport import create_transport
from cos_ftp_server.cos.types import Credentials, StaticCredentials
from cos_ftp_server.emulator import (
    Emulator,
    EmulatorBucket,
    EmulatorConfig,
    Fault,
    RequestRecord,
    Rule,
)

__all__ = [
    "DEADLINE_S",
    "FIRST_PART",
    "MIB",
    "Gateway",
    "Service",
    "Site",
    "Store",
    "StoreKeys",
    "Tenant",
    "digest",
    "random_bytes",
    "wait_until",
    "write_random",
]

MIB = 1024**2
FIRST_PART = MIB
"""The gateway's `min_part_size`, as small as it may be, so that boundaries are cheap to cross."""

DEADLINE_S = 30.0
"""For whatever a test waits for; reached only by something that hangs."""

_T = TypeVar("_T")


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Return once `condition` is true: for facts of other processes, which send no events."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.01)


def random_bytes(size: int, seed: int = 0) -> bytes:
    """Return bytes that repeat nowhere, so that parts in a wrong place show."""
    return random.Random(f"{size} {seed}").randbytes(size)


def write_random(path: Path, size: int) -> Path:
    """Write a file of random bytes with little memory."""
    generator = random.Random(size)
    with path.open("wb") as file:
        for start in range(0, size, MIB):
            file.write(generator.randbytes(min(MIB, size - start)))
    return path


def digest(path: Path) -> str:
    """Return the checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@dataclass(frozen=True, slots=True)
class StoreKeys:
    """What the keys of a bucket are in these tests."""

    bucket: str
    secret_id: str = "AKIDe2e"
    secret_key: str = "e2e-secret-key"


class Store:
    """An embedded store on a thread of its own; every method may be called from the test."""

    def __init__(self, directory: Path, keys: Sequence[StoreKeys], *, port: int = 0) -> None:
        buckets = tuple(EmulatorBucket(k.bucket, k.secret_id, k.secret_key) for k in keys)
        self._keys = {k.bucket: k for k in keys}
        config = EmulatorConfig(directory=directory, buckets=buckets, port=port)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store", daemon=True)
        self._thread.start()
        self._emulator = self._run(_start_emulator(config))
        self.port = self._emulator.port

    def close(self) -> None:
        """Stop; requests that a fault holds are cut."""
        self._run(self._emulator.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of the objects below `prefix`, in order."""
        names = self._run(self._emulator.object_names(bucket))
        return [name for name in names if name.startswith(prefix)]

    def content(self, bucket: str, key: str) -> bytes:
        """Return an object's bytes. Raises KeyError."""
        return self._run(self._emulator.object_bytes(bucket, key))

    def open_uploads(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the keys of multipart uploads in progress."""
        uploads = self._run(self._emulator.open_uploads(bucket))
        return [key for key, _ in uploads if key.startswith(prefix)]

    def abort_uploads(self, bucket: str, prefix: str) -> None:
        """End multipart uploads, as a lifecycle rule of the bucket does."""
        self._run(self._abort_uploads(bucket, prefix))

    async def _abort_uploads(self, bucket: str, prefix: str) -> None:
        keys = self._keys[bucket]
        address = BucketAddress(bucket=bucket, endpoint=f"127.0.0.1:{self.port}", scheme="http")
        credentials = StaticCredentials(Credentials(keys.secret_id, keys.secret_key))
        async with create_transport() as transport:
            client = CosClient(transport, address, credentials)
            for key, upload_id in await self._emulator.open_uploads(bucket):
                if key.startswith(prefix):
                    await client.abort_multipart(key, upload_id)

    def load(self, bucket: str, **objects: bytes) -> None:
        """Put objects there past HTTP."""
        self._run(self._emulator.load(bucket, objects.items()))

    def requests(self, operation: str, key: str) -> list[RequestRecord]:
        """Return the requests of one operation on one key so far, oldest first."""

        async def select() -> list[RequestRecord]:
            return [replace(record) for record in self._emulator.requests.select(operation, key)]

        return self._run(select())

    def wait_for_request(self, operation: str, key: str, *, count: int = 1) -> None:
        """Return once so many such requests have begun."""

        async def wait() -> None:
            async with asyncio.timeout(DEADLINE_S):
                await self._emulator.requests.wait_for(operation, key, count=count)

        self._run(wait())

    @contextmanager
    def fault(self, key: str, fault: Fault) -> Iterator[Rule]:
        """Let `fault` strike requests of keys that begin with `key`, within this context."""

        async def add() -> Rule:
            aimed = replace(fault, key=lambda asked: asked.startswith(key))
            return self._emulator.faults.add(aimed)

        async def remove(rule: Rule) -> None:
            self._emulator.faults.remove(rule)

        rule = self._run(add())
        try:
            yield rule
        finally:
            self._run(remove(rule))

    @contextmanager
    def holding(self, key: str, operation: str = "*") -> Iterator[Callable[[], None]]:
        """Keep requests of keys that begin with `key` waiting; yield what lets them go."""
        gate = asyncio.Event()

        def release() -> None:
            self._loop.call_soon_threadsafe(gate.set)

        with self.fault(key, Fault(operation=operation, hold=gate)):
            try:
                yield release
            finally:
                release()

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * DEADLINE_S)


async def _start_emulator(config: EmulatorConfig) -> Emulator:
    emulator = Emulator(config)
    await emulator.start()
    return emulator


class Service:
    """A `cos-ftp-server` command that says `ready`; ended by its process id."""

    def __init__(self, arguments: Sequence[str | Path], stderr: Path) -> None:
        self._stderr = stderr
        with stderr.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cos_ftp_server", *arguments],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise AssertionError(f"{line!r} instead of ready; stderr: {self.errors}")
        self.url = urlsplit(line.split()[1])

    @property
    def errors(self) -> str:
        """What it has written to stderr."""
        return self._stderr.read_text(errors="replace")

    def wait_for_line(self, *words: str) -> str:
        """Return the first line of stderr that has all `words`."""
        found: list[str] = []

        def look() -> bool:
            for line in self.errors.splitlines(keepends=True):
                if line.endswith("\n") and all(word in line for word in words):
                    found.append(line)
            return bool(found)

        wait_until(look, f"no line with {words} in stderr")
        return found[0]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it the hard way, if it has not ended."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()

    def stop(self) -> None:
        """Stop it as an operator does, and hold it to a clean end."""
        self.signal(signal.SIGTERM)
        self.end()

    def end(self) -> None:
        """Hold it to a clean end, having told it to stop."""
        try:
            code = self._process.wait(DEADLINE_S)
        finally:
            self.kill()
        assert "Traceback" not in self.errors, self.errors
        assert code == 0, self.errors


@dataclass(frozen=True, slots=True)
class Site:
    """Where and as whom a client logs in."""

    host: str
    port: int
    user: str
    password: str

    @property
    def host_in_url(self) -> str:
        """The host as it is written in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class Tenant:
    """An FTP user and the bucket behind it."""

    user: str
    password: str
    keys: StoreKeys


class Gateway(Service):
    """`cos-ftp-server serve` with a configuration of its own."""

    def __init__(
        self,
        directory: Path,
        store_port: int,
        tenants: Sequence[Tenant],
        *,
        host: str = "127.0.0.1",
        stop_timeout: int = 30,
        interrupted_upload: str = "discard",
    ) -> None:
        directory.mkdir()
        config = directory / "vsftpd.conf"
        config.write_text(
            "".join(
                _account(number, directory, store_port, tenant)
                for number, tenant in enumerate(tenants)
            )
            + f"""
[NETWORK]
listen_address = {host}
listen_port = 0
[OPTIONAL]
min_part_size = {FIRST_PART}
buffer_memory = {64 * MIB}
stop_timeout = {stop_timeout}
interrupted_upload = {interrupted_upload}
log_level = DEBUG
log_dir = {directory / "log"}
"""
        )
        config.chmod(0o600)
        super().__init__(["serve", "--config", config], directory / "stderr")
        self._tenants = {tenant.user: tenant for tenant in tenants}

    def end(self) -> None:
        """Hold it to a clean end, and to a log without secrets."""
        super().end()
        for tenant in self._tenants.values():
            assert tenant.password not in self.errors
            assert tenant.keys.secret_key not in self.errors

    def site(self, user: str) -> Site:
        """Return where and how `user` logs in."""
        tenant = self._tenants[user]
        assert self.url.hostname
        assert self.url.port
        return Site(self.url.hostname, self.url.port, user, tenant.password)


def _account(number: int, directory: Path, store_port: int, tenant: Tenant) -> str:
    home = directory / f"home{number}"
    home.mkdir()
    return f"""
[COS_ACCOUNT_{number}]
cos_secretid = {tenant.keys.secret_id}
cos_secretkey = {tenant.keys.secret_key}
cos_bucket = {tenant.keys.bucket}
cos_endpoint = 127.0.0.1:{store_port}
cos_protocol = http
home_dir = {home}
ftp_login_user_name = {tenant.user}
ftp_login_user_password = {tenant.password}
authority = RW
delete_enable = true
"""
