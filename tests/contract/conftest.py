"""The product as its manual has it: `conf/vsftpd.conf` beside `ftp_server.py`, started with Python.

Unlike the end-to-end tests, every test here may have a server with a configuration of its own.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.doubles.server_process import write_config
from tests.e2e.conftest import (  # noqa: F401 -- fixtures that tests here ask for by name
    ALICE,
    new_client,
    store,
    worker_directory,
)
from tests.e2e.harness import DEADLINE_S, Site, Store, Tenant, wait_until
from tests.e2e.wire import Wire

CHECKOUT = Path(__file__).parents[2]

Keys = Mapping[str, object]

_numbers = itertools.count()


class Server:
    """A server process that has said it is ready; ended by its process id."""

    def __init__(self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> None:
        self._errors = cwd / f"stderr{next(_numbers)}"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.kill()
            raise AssertionError(f"{line!r} instead of ready; stderr: {self.errors}")
        self._url = urlsplit(line.split()[1])

    @property
    def errors(self) -> str:
        """What it has written to stderr."""
        return self._errors.read_text(errors="replace")

    def site(self, tenant: Tenant = ALICE) -> Site:
        """Where and how `tenant` logs in."""
        assert self._url.port
        return Site("127.0.0.1", self._url.port, tenant.user, tenant.password)

    @contextmanager
    def session(self, tenant: Tenant = ALICE) -> Iterator[Wire]:
        """A control connection, logged in."""
        with Wire(self.site(tenant)) as wire:
            wire.log_in()
            yield wire

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Return the exit code, having told it to stop."""
        return self.process.wait(DEADLINE_S)

    def wait_until_stopping(self) -> None:
        """Return once it serves no new clients."""
        site = self.site()

        def is_closed() -> bool:
            try:
                with Wire(site) as wire:
                    return wire.greeting.code == 421
            except (EOFError, ConnectionError):
                return True

        wait_until(is_closed, "still serving new clients")

    def kill(self) -> None:
        """End it the hard way, if it has not ended."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout
        self.process.stdout.close()


@dataclass(frozen=True)
class Installation:
    """`ftp_server.py` and `conf` in a directory of the test's own, and an empty TMPDIR."""

    directory: Path
    store_port: int

    @property
    def config(self) -> Path:
        return self.directory / "conf" / "vsftpd.conf"

    @property
    def temporary(self) -> Path:
        return self.directory / "tmp"

    def home(self, tenant: Tenant = ALICE) -> Path:
        return self.directory / f"home-{tenant.user}"

    def account(self, tenant: Tenant = ALICE, /, **changes: object) -> Keys:
        """A section of one account; a change to None leaves the key out."""
        self.home(tenant).mkdir(exist_ok=True)
        keys = {
            "cos_secretid": tenant.keys.secret_id,
            "cos_secretkey": tenant.keys.secret_key,
            "cos_bucket": tenant.keys.bucket,
            "cos_endpoint": f"127.0.0.1:{self.store_port}",
            "cos_protocol": "http",
            "home_dir": self.home(tenant),
            "ftp_login_user_name": tenant.user,
            "ftp_login_user_password": tenant.password,
            "authority": "RW",
        } | changes
        return {key: value for key, value in keys.items() if value is not None}

    def configure(self, *accounts: Keys, **sections: Keys) -> None:
        """Write conf/vsftpd.conf with these accounts (one, if none is given) and sections."""
        named = {f"COS_ACCOUNT_{n}": keys for n, keys in enumerate(accounts or (self.account(),))}
        network = {
            "listen_address": "127.0.0.1",
            "listen_port": 0,
            "passive_port": "20000,59999",
        } | dict(sections.pop("network", {}))
        others = {name.upper(): keys for name, keys in sections.items()}
        write_config(self.config, {**named, "NETWORK": network, **others})

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "TMPDIR": str(self.temporary)}

    @contextmanager
    def running(self, *wrapper: str, script: str = "ftp_server.py") -> Iterator[Server]:
        """`python ftp_server.py`, as an argument of `wrapper`."""
        server = Server([*wrapper, sys.executable, script], self.directory, self.environment)
        try:
            yield server
            assert "Traceback" not in server.errors, server.errors
        finally:
            server.kill()

    @contextmanager
    def serving(self, *accounts: Keys, **sections: Keys) -> Iterator[Server]:
        """A server with this configuration."""
        self.configure(*accounts, **sections)
        with self.running() as server:
            yield server

    def refused(self, *accounts: Keys, **sections: Keys) -> str:
        """Return what a server with this configuration says instead of starting."""
        self.configure(*accounts, **sections)
        return self.refused_as_it_is()

    def refused_as_it_is(self) -> str:
        done = subprocess.run(
            [sys.executable, "ftp_server.py"],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert (done.returncode, done.stdout) == (1, ""), done
        assert "Traceback" not in done.stderr
        return done.stderr

    def log(self) -> str:
        """Everything in the files of log_dir."""
        files = (path for path in (self.directory / "log").iterdir() if path.is_file())
        return "".join(path.read_text() for path in sorted(files))


@pytest.fixture
def installation(tmp_path: Path, store: Store) -> Installation:  # noqa: F811 -- the fixture
    shutil.copy(CHECKOUT / "ftp_server.py", tmp_path)
    (tmp_path / "conf").mkdir()
    shutil.copy(CHECKOUT / "conf" / "vsftpd.conf.example", tmp_path / "conf")
    (tmp_path / "tmp").mkdir()
    return Installation(tmp_path, store.port)


@pytest.fixture
def name() -> str:
    """A directory name that no other test in this bucket has."""
    return f"contract{next(_numbers):04d}"
