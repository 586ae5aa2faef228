"""SIGHUP: what counts from when on, and what a bad file changes."""

import asyncio
import gc
import os
import signal
import weakref
from pathlib import Path

import pytest

from cos_ftp_server.accounts import hash_password
from cos_ftp_server.emulator import Fault
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient, until
from tests.doubles.server_process import ServerProcess, serving
from tests.gateway.conftest import MIB, Config, Start, World, account_for


async def reload(server: ServerProcess, config: Config, expected: str = "reloaded: ") -> str:
    """Let the server read the file again, and return the line that ends it."""
    known = len(server.log)
    config.write()
    server.send(signal.SIGHUP)
    return await server.logged(expected, after=known)


async def login(client: RawClient, user: str, password: str) -> int:
    await client.expect(f"USER {user}", 331)
    return (await client.command(f"PASS {password}")).code


async def test_accounts_come_change_and_go(config: Config) -> None:
    account = config.sections["COS_ACCOUNT_0"]
    config.sections["COS_ACCOUNT_1"] = account | {
        "ftp_login_user_name": "other",
        "home_dir": config.path.parent / "store",
    }
    async with serving(config.write()) as server:
        async with RawClient(server.address) as old, RawClient(server.address) as gone:
            await old.login()
            await gone.reply()
            assert await login(gone, "other", PASSWORD) == 230

            account["ftp_login_user_password"] = hash_password("new")
            account["authority"] = "R"
            added = account | {"ftp_login_user_name": "third", "authority": "W"}
            del config.sections["COS_ACCOUNT_1"]
            config.sections["COS_ACCOUNT_2"] = added | {"home_dir": config.path.parent / "log"}
            line = await reload(server, config)
            assert line.endswith("reloaded: 2 accounts, 2 of them new or changed; removed: 'other'")

            # Who was there goes on as before, but for those whose account is gone.
            assert (await old.store("file", b"content")).code == 226
            assert (await gone.reply()).text == "421 This account exists no longer."
            assert await gone.at_eof()
        async with RawClient(server.address) as client:  # the listener is the same
            await client.reply()
            assert await login(client, USER, PASSWORD) == 530
            assert await login(client, "other", PASSWORD) == 530
            assert await login(client, USER, "new") == 230
            await client.expect("TYPE I", 200)
            assert (await client.fetch("RETR file"))[0] == b"content"
            assert (await client.store("file", b"")).code == 550
        async with RawClient(server.address) as client:
            await client.reply()
            assert await login(client, "third", "new") == 230
            assert (await client.store("another", b"")).code == 226
        assert await server.stop() == 0


async def test_a_removed_account_may_finish_its_transfer(config: Config) -> None:
    account = config.sections["COS_ACCOUNT_0"]
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        _, writer = await client.open_data()
        await client.expect("STOR file", 150)
        writer.write(b"one")
        account["ftp_login_user_name"] = "renamed"
        await reload(server, config)
        writer.write(b"two")
        writer.write_eof()
        assert "6 bytes" in (await client.reply()).text
        assert (await client.reply()).code == 421
        assert await client.at_eof()


async def test_changed_keys_are_used_and_bad_ones_are_told(config: Config) -> None:
    account = config.sections["COS_ACCOUNT_0"]
    account["cos_secretkey"], right = "n0tthek3y", account["cos_secretkey"]
    async with serving(config.write()) as server:
        async with RawClient(server.address) as client:
            await client.login()
            assert (await client.fetch("LIST"))[1].code == 550
            line = await server.logged("user='user' LIST failed: ")
            assert "code=SignatureDoesNotMatch request_id=" in line
        account["cos_secretkey"] = right
        await reload(server, config)
        async with RawClient(server.address) as client:
            await client.login()
            await client.expect("MKD d", 257)
        assert await server.stop() == 0
        assert "n0tthek3y" not in "".join(server.log)


async def test_the_log_level_changes(config: Config) -> None:
    async with serving(config.write()) as server:
        config.sections["OPTIONAL"]["log_level"] = "DEBUG"
        await reload(server, config)
        async with RawClient(server.address) as client:
            await client.login()
            await server.logged("DEBUG", "<- PASS ***")
        assert await server.stop() == 0
    assert "<- PASS ***" in (config.logs / "cos-ftp-server.log").read_text()


async def test_what_needs_a_restart_is_named(config: Config) -> None:
    async with serving(config.write()) as server:
        config.sections["NETWORK"]["passive_port"] = "30000,31000"
        config.sections["OPTIONAL"]["max_login_users"] = 5
        config.sections["FILE_OPTION"] = {"single_file_max_size": 1}
        for _ in range(2):  # it is as true the second time
            known = len(server.log)
            await reload(server, config)
            named = [line.split(" ")[3:5] for line in server.log[known:] if "restart" in line]
            assert [" ".join(words).strip() for words in named] == [
                "[NETWORK] passive_port",
                "[FILE_OPTION] single_file_max_size",
                "[OPTIONAL] max_login_users",
            ]
        async with RawClient(server.address) as client:
            await client.login()
            assert (await client.store("file", b"content")).code == 226


@pytest.mark.parametrize("kind", ["values", "missing", "unreadable"])
async def test_a_broken_file_changes_nothing_and_says_why(config: Config, kind: str) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        account = config.sections["COS_ACCOUNT_0"]
        account["ftp_login_user_password"] = "changed"
        account["authority"] = "X"
        config.sections["NETWORK"]["passive_port"] = "2,1"
        config.write()
        if kind == "missing":
            config.path.unlink()
        elif kind == "unreadable":
            config.path.unlink()
            config.path.mkdir()
        server.send(signal.SIGHUP)
        await server.logged("was not loaded, everything stays as it was")
        if kind == "values":
            await server.logged("ERROR", f"{config.path}:", "[COS_ACCOUNT_0] authority: 'X' is")
            await server.logged("ERROR", f"{config.path}:", "[NETWORK] passive_port: '2,1' is")
        else:
            await server.logged("ERROR", "cannot be read")
        await client.expect("NOOP", 200)
        async with RawClient(server.address) as another:
            await another.login()
        assert await server.stop() == 0


async def test_a_slow_file_holds_nobody_up(config: Config) -> None:
    async with serving(config.write()) as server, RawClient(server.address) as client:
        await client.login()
        content = config.path.read_text()
        config.path.unlink()
        os.mkfifo(config.path)  # whoever opens it waits for somebody who writes
        server.send(signal.SIGHUP)
        await client.expect("NOOP", 200)
        async with RawClient(server.address) as another:
            await another.login()
        await asyncio.to_thread(config.path.write_text, content)
        await server.logged("reloaded: 1 accounts, 0 of them new or changed; removed: none")


async def test_signals_that_pile_up_are_served(config: Config) -> None:
    async with serving(config.write()) as server:
        config.sections["COS_ACCOUNT_0"]["ftp_login_user_password"] = "last"
        config.write()
        for _ in range(20):
            server.send(signal.SIGHUP)
        await server.logged("reloaded: ")
        async with RawClient(server.address) as client:
            await client.reply()
            assert await login(client, USER, "last") == 230
        assert await server.stop() == 0


# Inside the process


def changed(world: World, home: Path, **keys: object) -> None:
    account = account_for(world.emulator.port, home, **keys)
    world.gateway.reload(world.settings.model_copy(update={"accounts": (account,)}))


async def test_an_account_that_has_not_changed_keeps_its_file_system(
    start: Start, tmp_path: Path
) -> None:
    world = await start()
    (before,) = world.gateway._logins.values()
    changed(world, tmp_path)
    (after,) = world.gateway._logins.values()
    assert after is before


async def test_what_an_old_account_had_goes_with_its_last_session(
    start: Start, tmp_path: Path
) -> None:
    world = await start()
    file_system = weakref.ref(next(iter(world.gateway._logins.values())).account.file_system)

    def is_released() -> bool:
        gc.collect()
        return file_system() is None

    async with world.client() as session:
        await session.login()
        changed(world, tmp_path, cos_secretid="AKIDother")
        assert not is_released()
        await session.expect("MKD d", 257)  # with the keys that it began with
    await until(is_released)


async def test_a_login_under_way_does_not_outlive_its_account(start: Start, tmp_path: Path) -> None:
    world = await start(account={"ftp_login_user_password": hash_password(PASSWORD)})
    async with world.client() as client:
        await client.reply()
        await client.expect(f"USER {USER}", 331)
        client.send(f"PASS {PASSWORD}")
        changed(world, tmp_path, ftp_login_user_name="renamed")
        assert (await client.reply()).code == 530


async def test_reload_in_the_middle_of_transfers(start: Start, tmp_path: Path) -> None:
    world = await start()
    hold = asyncio.Event()
    world.emulator.faults.add(Fault(operation="CompleteMultipartUpload", hold=hold))
    async with world.client() as client:
        await client.login()
        storing = asyncio.create_task(client.store("large", bytes(3 * MIB)))
        await world.emulator.requests.wait_for("CompleteMultipartUpload")
        changed(world, tmp_path, cos_secretid="AKIDother", authority="R")
        hold.set()
        assert (await storing).code == 226
    assert await world.keys() == ["large"]
