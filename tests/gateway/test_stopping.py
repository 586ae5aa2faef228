"""How the server ends: gently, at once, and whatever it was started by."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cos_ftp_server.emulator import Fault
from tests.doubles.ftp_client import RawClient, until
from tests.doubles.server_process import ServerProcess, serving
from tests.gateway.conftest import BUCKET, MIB, Config, Start

STOP_SIGNALS = [signal.SIGTERM, signal.SIGINT]
pytestmark = pytest.mark.timeout(60)


async def begin_upload(client: RawClient, size: int) -> asyncio.StreamWriter:
    """Begin an upload of more than `size` bytes, and return when so much has been taken."""
    _, writer = await client.open_data()
    await client.expect("STOR file", 150)
    writer.write(bytes(size))
    await writer.drain()
    while f": {size} bytes" not in (await client.expect("STAT", 211)).text:
        pass
    return writer


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_a_signal_lets_transfers_finish(config: Config, number: signal.Signals) -> None:
    async with (
        serving(config.write()) as server,
        RawClient(server.address) as busy,
        RawClient(server.address) as idle,
        RawClient(server.address) as stranger,
    ):
        await busy.login()
        await idle.login()
        await stranger.reply()
        writer = await begin_upload(busy, 100)
        server.send(number)
        for client in (idle, stranger):
            assert (await client.reply()).text == "421 Server is shutting down."
            assert await client.at_eof()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*server.address)
        busy.send("NOOP", "RETR file")  # what comes now is not begun any more
        writer.write(b"rest")
        writer.write_eof()
        assert "104 bytes" in (await busy.reply()).text
        assert (await busy.reply()).text == "421 Server is shutting down."
        assert await busy.at_eof()
        assert await server.end() == 0


async def test_a_transfer_may_be_aborted_while_the_server_waits_for_it(
    config: Config, start: Start
) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await begin_upload(client, 2 * MIB)
        server.send(signal.SIGTERM)
        await server.logged("stopping")
        client.send("ABOR")
        assert [(await client.reply()).code for _ in range(3)] == [426, 226, 421]
        assert await server.end() == 0
    assert await (await start()).keys() == []


async def test_what_takes_longer_than_stop_timeout_is_aborted(config: Config, start: Start) -> None:
    config.sections["OPTIONAL"]["stop_timeout"] = 1
    world = await start()
    await world.emulator.load(BUCKET.name, [("file", b"as it was")])
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await begin_upload(client, 5 * MIB)
        server.send(signal.SIGTERM)
        assert (await client.reply()).code == 421
        assert await server.end() == 0
        assert "transfer verb=STOR path='/file' bytes=5242880" in "".join(server.log)
    assert await world.keys() == ["file"]
    assert await world.emulator.object_bytes(BUCKET.name, "file") == b"as it was"


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_a_second_signal_stops_now(
    config: Config, start: Start, number: signal.Signals
) -> None:
    config.sections["OPTIONAL"]["stop_timeout"] = 3600
    world = await start()
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await begin_upload(client, 5 * MIB)
        server.send(number)
        await server.logged("stopping; a second signal stops at once")
        server.send(number)
        assert (await client.reply()).code == 421
        assert await server.end() == 0
    assert await world.keys() == []


async def test_signals_in_quick_succession(config: Config) -> None:
    async with serving(config.write()) as server:
        server.send(signal.SIGTERM)
        server.send(signal.SIGINT)
        assert await server.end() == 0


async def test_now_does_not_wait_for_a_store_that_hangs(config: Config, start: Start) -> None:
    world = await start()
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await begin_upload(client, 2 * MIB)
        world.emulator.faults.add(Fault(hold=asyncio.Event()))
        server.send(signal.SIGTERM)
        await server.logged("stopping")
        server.send(signal.SIGTERM)
        assert await server.end() == 0


async def test_what_could_not_be_aborted_is_named(config: Config, start: Start) -> None:
    world = await start()
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        await begin_upload(client, 2 * MIB)
        await world.emulator.requests.wait_for("UploadPart", ended=True)
        world.emulator.faults.add(Fault(operation="AbortMultipartUpload", hold=asyncio.Event()))
        server.send(signal.SIGTERM)
        await server.logged("stopping")
        server.send(signal.SIGTERM)
        assert await server.end() == 0
        ((key, upload_id),) = await world.emulator.open_uploads(BUCKET.name)
        await server.logged("session=1", f"left behind: key={key!r} UploadId={upload_id}")


async def test_a_commit_that_is_under_way_is_waited_for(config: Config, start: Start) -> None:
    world = await start()
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="PutObject", hold=hold))
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        storing = asyncio.create_task(client.store("file", b"content"))
        await world.emulator.requests.wait_for("PutObject")
        server.send(signal.SIGTERM)
        await server.logged("stopping")
        hold.set()
        assert (await storing).code == 226
        assert (await client.reply()).code == 421
        assert await server.end() == 0
    assert await world.keys() == ["file"]


# By what it was started


async def alive(server: ServerProcess) -> None:
    async with RawClient(server.address) as client:
        await client.login()


async def test_under_nohup_a_hangup_means_nothing(config: Config) -> None:
    async with serving(config.write(), wrapper=["nohup"]) as server:
        server.send(signal.SIGHUP)
        await alive(server)
        assert await server.stop() == 0
        assert not [line for line in server.log if "reloaded" in line]


async def test_a_terminal_that_goes_away(config: Config) -> None:
    # What screen and ssh do: the process leads a session whose terminal is closed.
    master, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            "import fcntl, os, sys, termios; "
            "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])",
        ),
        *(sys.executable, "-m", "cos_ftp_server", "serve", "--config", str(config.write())),
        stdin=terminal,
        stdout=asyncio.subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    )
    try:
        os.close(terminal)
        assert process.stdout
        port = int((await process.stdout.readline()).decode().rpartition(":")[2].rstrip("/\n"))
        os.close(master)
        async with RawClient(("127.0.0.1", port)) as client:
            await client.login()
            assert (await client.store("file", b"content")).code == 226
            log_file = config.logs / "cos-ftp-server.log"
            lost = "the console cannot be written, its lines are lost: Input/output error"
            await until(lambda: log_file.exists() and lost in log_file.read_text())
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    log = log_file.read_text()
    assert "reloaded: 1 accounts, 0 of them new or changed" in log
    assert log.endswith("stopped\n")


def may_make_namespaces() -> bool:
    command = ["unshare", "--pid", "--fork", "--kill-child", "true"]
    found = shutil.which(command[0])
    return bool(found) and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_make_namespaces(), reason="no PID namespaces here")
async def test_as_the_first_process_of_a_container(config: Config) -> None:
    # The kernel drops signals to PID 1 that it has no handler for.
    wrapper = ["unshare", "--pid", "--fork", "--kill-child"]
    async with serving(config.write(), wrapper=wrapper) as server:
        (first,) = children(server.pid)
        await alive(server)
        os.kill(first, signal.SIGHUP)
        await server.logged("reloaded: ")
        os.kill(first, signal.SIGTERM)
        assert await server.end() == 0
        await server.logged("stopped")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class ServiceManager:
    """systemd's end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.env = os.environ | {"NOTIFY_SOCKET": address}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)

    async def told(self) -> dict[str, str]:
        message = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
        return dict(line.split("=", 1) for line in message.decode().splitlines())

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("is_abstract", [True, False])
async def test_systemd_is_told_each_phase(config: Config, is_abstract: bool) -> None:
    path = config.path.parent / "notify"
    manager = ServiceManager(f"@{path}" if is_abstract else str(path))
    try:
        async with serving(config.write(), env=manager.env) as server:
            assert await manager.told() == {"READY": "1"}
            server.send(signal.SIGHUP)
            reloading = await manager.told()
            assert reloading["RELOADING"] == "1"
            assert int(reloading["MONOTONIC_USEC"]) > 0
            assert await manager.told() == {"READY": "1"}
            config.path.write_text("broken")
            server.send(signal.SIGHUP)
            assert (await manager.told())["RELOADING"] == "1"
            assert await manager.told() == {"READY": "1"}
            server.send(signal.SIGTERM)
            assert await manager.told() == {"STOPPING": "1"}
            assert await server.end() == 0
    finally:
        manager.close()


async def test_a_manager_that_is_gone_stops_nothing(config: Config) -> None:
    env = os.environ | {"NOTIFY_SOCKET": str(config.path.parent / "nowhere")}
    async with serving(config.write(), env=env) as server:
        await server.logged("systemd was not told 'READY'")
        assert await server.stop() == 0
