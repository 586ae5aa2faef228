"""What broke off is known to the next process, whose clients cannot tell it from the last one."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cos_ftp_server.emulator import Emulator
from tests.doubles.ftp_client import RawClient
from tests.doubles.server_process import ServerProcess, serving
from tests.gateway.conftest import BUCKET, MIB, Config
from tests.gateway.test_sweep import begin_upload

OLD = b"old content"


@pytest.fixture
async def old_file(emulator: Emulator) -> None:
    await emulator.load(BUCKET.name, [("file", OLD)])


@asynccontextmanager
async def logged_in(server: ServerProcess, client_name: str = "") -> AsyncIterator[RawClient]:
    async with RawClient(server.address) as client:
        await client.login()
        if client_name:
            await client.expect(f"CLNT {client_name}", 200)
        yield client


async def break_off(client: RawClient, name: str) -> None:
    """Upload, and abort it while it goes on."""
    _, writer = await client.open_data()
    await client.expect(f"STOR {name}", 150)
    writer.write(b"half")
    await writer.drain()
    while "4 bytes" not in (await client.command("STAT")).text:
        pass
    await client.expect("ABOR", 426)
    await client.reply()


async def check_that_nobody_resumes(server: ServerProcess) -> None:
    async with logged_in(server) as client:
        await client.expect("SIZE file", 554)
        assert (await client.store("file", b"rest", "APPE")).code == 550
        await client.expect("REST 5", 350)
        assert (await client.store("file", b"rest")).code == 550
    async with logged_in(server, "lftp/4.9.2") as client:
        await client.expect("SIZE file", 550)
        assert (await client.store("file", b"rest")).code == 550


@pytest.mark.usefixtures("old_file")
@pytest.mark.parametrize("is_killed", [True, False])
async def test_an_upload_that_broke_off_with_the_server(
    config: Config, emulator: Emulator, is_killed: bool
) -> None:
    config.sections["OPTIONAL"]["stop_timeout"] = 0
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await begin_upload(client, emulator)
        if is_killed:
            await server.kill()
        else:
            assert await server.stop() == 0
    for _ in range(2):  # also when nothing but the memory of it is left
        async with serving(config.path) as server:
            await check_that_nobody_resumes(server)
            assert await server.stop() == 0
    assert await emulator.object_bytes(BUCKET.name, "file") == OLD


@pytest.mark.usefixtures("old_file")
async def test_an_upload_that_broke_off_earlier(config: Config, emulator: Emulator) -> None:
    async with serving(config.write()) as server:
        async with logged_in(server) as client:
            await break_off(client, "file")
        assert await server.stop() == 0
    async with serving(config.path) as server:
        await check_that_nobody_resumes(server)
        async with logged_in(server) as client:
            assert (await client.store("file", b"new")).code == 226
        assert await server.stop() == 0
    async with serving(config.path) as server, logged_in(server) as client:
        assert (await client.expect("SIZE file", 213)).text == "213 3"
        assert (await client.store("file", b"er", "APPE")).code == 226
    assert await emulator.object_bytes(BUCKET.name, "file") == b"newer"


@pytest.mark.usefixtures("old_file")
async def test_an_upload_killed_and_made_up_for_is_over(config: Config, emulator: Emulator) -> None:
    """Though the record of it stays, since the store does not let it be aborted."""
    config.sections["OPTIONAL"]["stop_timeout"] = 0
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await begin_upload(client, emulator)
        await server.kill()
    kept = shutil.copytree(config.logs / "uploads", config.logs / "kept")
    async with serving(config.path) as server, logged_in(server) as client:
        assert (await client.store("file", bytes(MIB))).code == 226
    shutil.copytree(kept, config.logs / "uploads", dirs_exist_ok=True)
    async with serving(config.path) as server, logged_in(server) as client:
        await client.expect("SIZE file", 213)


@pytest.mark.usefixtures("old_file")
async def test_a_memory_that_cannot_be_read_stops_nothing(config: Config) -> None:
    (config.logs / "uploads" / "broken-off").mkdir(parents=True)
    async with serving(config.write()) as server, logged_in(server) as client:
        await server.logged("WARNING", "uploads that broke off earlier are not known")
        await break_off(client, "file")
        await server.logged("WARNING", "cannot be written", "what broke off is forgotten")
        await client.expect("SIZE file", 554)
        assert await server.stop() == 0


async def test_who_may_read_the_memory(config: Config) -> None:
    async with serving(config.write()) as server:
        async with logged_in(server) as client:
            await break_off(client, "file")
        assert await server.stop() == 0
    assert (config.logs / "uploads" / "broken-off").stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("old_file")
async def test_any_small_upload_may_have_been_killed(config: Config) -> None:
    """lftp would go on with it; others are not told that it does not go on."""
    async with serving(config.write()) as server:
        async with logged_in(server) as client:
            assert (await client.store("other", b"")).code == 226
        await server.kill()
    async with serving(config.path) as server:
        async with logged_in(server, "lftp/4.9.2") as client:
            await client.expect("SIZE file", 550)
            assert (await client.store("file", b"rest")).code == 550
        async with logged_in(server, "lftp/4.9.2") as client:
            await client.expect("PWD", 257)  # it is a new one
            await client.expect("SIZE file", 213)
        async with logged_in(server) as client:
            await client.expect("SIZE file", 213)
        assert await server.stop() == 0
    async with serving(config.path) as server, logged_in(server, "lftp/4.9.2") as client:
        await client.expect("SIZE file", 550)
