"""The processes of a measurement: started one by one, known by their ids, ended with certainty.

Each system under test is one process, in the best configuration that it honestly has; what that
is stands here and nowhere else.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load.session import Account
from bench.load.tasks import Order
from bench.store.server import CONTROL_PATH

__all__ = ["SYSTEMS", "Load", "Store", "SystemUnderTest", "running_load", "running_store"]

BUCKET = "bench-1250000000"
USER, PASSWORD = "bench", "bench-password"
_KEY_ID, _KEY = "AKIDbench", "bench-secret-key"
_START_S = 30.0
_STOP_S = 10.0
_ROOT = Path(__file__).parents[1]


class ProcessError(Exception):
    """A process did not do what it should; its last words are in the message."""


@contextmanager
def _process(
    command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process in this context. It is no part of the terminal's group: Ctrl+C ends us, and
    we end it."""
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'src'}", **(environment or {})},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _read_line(process: "subprocess.Popen[bytes]", log: Path, limit_s: float) -> str:
    """Return the next line; there is none besides it before we ask for more."""
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], limit_s)[0]:
        words = log.read_text(errors="replace")[-2000:]
        raise ProcessError(f"{process.args!r} has said nothing for {limit_s:.0f} s: {words}")
    line = process.stdout.readline().decode()
    if not line:
        words = log.read_text(errors="replace")[-2000:]
        raise ProcessError(f"{process.args!r} has ended: {words}")
    return line


def _ready(process: "subprocess.Popen[bytes]", log: Path, limit_s: float = _START_S) -> list[str]:
    line = _read_line(process, log, limit_s)
    if not line.startswith("ready"):
        raise ProcessError(f"{line!r} instead of ready from {process.args!r}")
    return line.split()[1:]


@dataclass(frozen=True, slots=True)
class Store:
    """The null store, running."""

    port: int
    raw_port: int

    def set(self, **values: float) -> dict[str, int]:
        """Set `latency_ms` and `rate`, do `warm` or `forget`; return the counts of requests."""
        query = "&".join(f"{name}={value}" for name, value in values.items())
        url = f"http://127.0.0.1:{self.port}{CONTROL_PATH}?{query}"
        with urllib.request.urlopen(url, timeout=60) as answer:
            counts: dict[str, int] = json.load(answer)
        return counts


@contextmanager
def running_store(directory: Path) -> Iterator[Store]:
    """Run the null store."""
    log = directory / "store.log"
    with _process([sys.executable, "-m", "bench.store", BUCKET], log) as process:
        port, raw_port = _ready(process, log)
        yield Store(int(port), int(raw_port))


class Load:
    """Clients that are ready to begin."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, limit_s: float) -> None:
        self._process = process
        self._log = log
        self._limit_s = limit_s

    def run(self) -> dict[str, Any]:
        """Let them do their work, and return what they tell."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()
        line = _read_line(self._process, self._log, self._limit_s)
        outcome: dict[str, Any] = json.loads(line)
        return outcome


@contextmanager
def running_load(directory: Path, account: Account, order: Order) -> Iterator[Load]:
    """Run the clients of one piece of work; within this context they stay connected."""
    log = directory / "load.log"
    arguments = [json.dumps(asdict(value)) for value in (account, order)]
    with _process([sys.executable, "-m", "bench.load", *arguments], log) as process:
        limit_s = order.limit_s + _START_S  # they keep the order's limit themselves
        _ready(process, log, limit_s)
        yield Load(process, log, limit_s)


@dataclass(frozen=True, slots=True)
class SystemUnderTest:
    """One of the systems, running."""

    pid: int
    account: Account


@contextmanager
def _gateway(directory: Path, store: Store) -> Iterator[SystemUnderTest]:
    """Run this gateway as users start it. Only limits are raised that the works would reach."""
    (directory / "home").mkdir(exist_ok=True)
    sections: dict[str, dict[str, object]] = {
        "COS_ACCOUNT_0": {
            "cos_secretid": _KEY_ID,
            "cos_secretkey": _KEY,
            "cos_bucket": BUCKET,
            "cos_endpoint": f"127.0.0.1:{store.port}",
            "cos_protocol": "http",
            "home_dir": directory / "home",
            "ftp_login_user_name": USER,
            "ftp_login_user_password": PASSWORD,
            "authority": "RW",
        },
        "NETWORK": {"listen_address": "127.0.0.1", "listen_port": 0},
        "OPTIONAL": {
            "buffer_memory": 256 * 1024**2,
            "max_connection_num": 0,
            "max_login_users": 0,
            "max_list_file": 1_000_000,
            "config_check_enable": "false",
            "log_dir": directory / "gateway-log",
        },
    }
    lines = []
    for name, keys in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())]
    config = directory / "gateway.conf"
    config.write_text("\n".join(lines))
    config.chmod(0o600)
    command = [sys.executable, "-m", "cos_ftp_server", "serve", "--config", str(config)]
    log = directory / "gateway.log"
    with _process(command, log) as process:
        (url,) = _ready(process, log)
        port = int(url.rstrip("/").rpartition(":")[2])
        yield SystemUnderTest(process.pid, Account(port, USER, PASSWORD))


@contextmanager
def _stock(directory: Path, store: Store) -> Iterator[SystemUnderTest]:
    """Run the gateway that the common libraries make."""
    program = _ROOT / "bench" / "peers" / "stock_gateway.py"
    log = directory / "stock.log"
    arguments = [str(store.port), BUCKET, _KEY_ID, _KEY, USER, PASSWORD]
    with _process([sys.executable, program, *arguments], log) as process:
        (port,) = _ready(process, log)
        yield SystemUnderTest(process.pid, Account(int(port), USER, PASSWORD))


@contextmanager
def _rclone(directory: Path, store: Store) -> Iterator[SystemUnderTest]:
    """Run `rclone serve ftp` on an S3 remote."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ACCESS_KEY_ID": _KEY_ID,
        "SECRET_ACCESS_KEY": _KEY,
        "ENDPOINT": f"http://127.0.0.1:{store.port}",
        "REGION": "us-east-1",
        "FORCE_PATH_STYLE": "true",
        "NO_CHECK_BUCKET": "true",
        "NO_HEAD": "true",
        "DISABLE_CHECKSUM": "true",
        "USE_MULTIPART_ETAG": "false",
        "USE_UNSIGNED_PAYLOAD": "true",
    }
    environment = {f"RCLONE_CONFIG_BENCH_{key}": value for key, value in remote.items()}
    environment["RCLONE_CONFIG"] = str(directory / "rclone.conf")
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "ftp", f"bench:{BUCKET}"]
    command += ["--addr", f"127.0.0.1:{port}", "--user", USER, "--pass", PASSWORD]
    command += ["--vfs-cache-mode", "off", "--no-modtime", "--no-checksum"]
    log = directory / "rclone.log"
    with _process(command, log, environment) as process:
        _await_port(port, process, log)
        yield SystemUnderTest(process.pid, Account(port, USER, PASSWORD))


def _await_port(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_S
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None or time.monotonic() > end:
            raise ProcessError(f"rclone does not listen: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


@contextmanager
def _floor(directory: Path, store: Store) -> Iterator[SystemUnderTest]:
    """Run the bare relay."""
    log = directory / "floor.log"
    command = [sys.executable, "-m", "bench.floor", str(store.raw_port)]
    with _process(command, log) as process:
        (port,) = _ready(process, log)
        yield SystemUnderTest(process.pid, Account(int(port)))


SYSTEMS = {"gateway": _gateway, "stock": _stock, "rclone": _rclone, "floor": _floor}
"""How each system is started, by the name that tables have for it."""
