"""The limits of the configuration, seen by clients."""

import os
import re
import secrets
import socket
from contextlib import AsyncExitStack, ExitStack
from unittest.mock import ANY

import pytest

from cos_ftp_server.protocol.commands import COMMANDS
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import RawClient, Reply, reset
from tests.gateway.conftest import BUCKET, MIB, Start, World

# Connections and logins


async def test_max_connection_num(start: Start) -> None:
    world = await start(optional={"max_connection_num": 2})
    async with world.client() as first, world.client() as second:
        await first.reply()
        await second.reply()
        async with world.client() as third:
            assert (await third.reply()) == Reply(421, ANY)
            assert await third.at_eof()
        await second.expect("QUIT", 221)
        assert await second.at_eof()
        async with world.client() as fourth:
            assert (await fourth.reply()).code == 220


async def connected(world: World, stack: AsyncExitStack, count: int) -> list[RawClient]:
    return [await stack.enter_async_context(world.client()) for _ in range(count)]


async def test_max_connection_num_of_0_is_no_limit(start: Start) -> None:
    world = await start(optional={"max_connection_num": 0})
    async with AsyncExitStack() as stack:
        for client in await connected(world, stack, 600):  # more than the default
            assert (await client.reply()).code == 220


async def try_login(client: RawClient, user: str = USER) -> Reply:
    assert (await client.reply()).code == 220
    await client.expect(f"USER {user}", 331)
    return await client.command(f"PASS {PASSWORD}")


async def test_100_users_may_be_logged_in(start: Start) -> None:
    world = await start(optional={"max_login_users": 100})
    async with AsyncExitStack() as stack:
        clients = await connected(world, stack, 101)
        for client in clients[:100]:
            assert (await try_login(client)).code == 230
        refused = await try_login(clients[100])
        assert refused == Reply(421, ("421 Too many users, try again later.",))
        assert await clients[100].at_eof()
        await clients[0].expect("QUIT", 221)
        assert await clients[0].at_eof()
        (late,) = await connected(world, stack, 1)
        assert (await try_login(late)).code == 230


async def test_max_sessions_of_one_user(start: Start) -> None:
    world = await start(account={"max_sessions": 1})
    async with world.client() as first, world.client() as second:
        assert (await try_login(first)).code == 230
        refused = await try_login(second)
        assert refused == Reply(421, ("421 Too many sessions of this user.",))
        assert await second.at_eof()
        await first.expect("STAT", 211)  # nothing has happened to the one that is in
        await first.expect("REIN", 220)
        async with world.client() as third:
            assert (await try_login(third)).code == 230


# Listings


@pytest.mark.parametrize("command", ["LIST", "NLST", "MLSD", "LIST *", "STAT /"])
@pytest.mark.parametrize(("entries", "is_cut"), [(4, True), (3, False)])
async def test_max_list_file(start: Start, command: str, entries: int, is_cut: bool) -> None:
    world = await start(optional={"max_list_file": 3})
    names = [(f"file{number}", b"") for number in range(entries)]
    await world.emulator.load(BUCKET.name, names)
    async with world.client() as client:
        await client.login()
        if command.startswith("STAT"):
            reply = await client.expect(command, 212)
            shown = list(reply.lines[1:-1])
        else:
            content, reply = await client.fetch(command)
            shown = content.decode().splitlines()
    assert len(shown) == 3
    assert ("Listing cut: only the first 3 entries were sent." in reply.text) is is_cut


# Sizes


async def upload(client: RawClient, command: str, content: bytes) -> Reply:
    """Upload, and go on sending for as long as the server takes it."""
    _, writer = await client.open_data()
    reply = await client.command(command)
    if reply.code != 150:
        return reply
    try:
        for start in range(0, len(content), 65536):
            writer.write(content[start : start + 65536])
            await writer.drain()
        writer.write_eof()
    except OSError:
        pass  # it has had enough
    return await client.reply()


@pytest.mark.parametrize("kind", ["I", "A"])
@pytest.mark.parametrize("limit", [1000, 5 * MIB // 2], ids=["one part", "many parts"])
async def test_single_file_max_size(start: Start, limit: int, kind: str) -> None:
    world = await start(file_option={"single_file_max_size": limit})
    async with world.client() as client:
        await client.login()
        await client.expect(f"TYPE {kind}", 200)
        assert (await upload(client, "STOR old", b"x" * limit)).code == 226
        for name in ("new", "old"):
            reply = await upload(client, f"STOR {name}", b"x" * (limit + 1))
            assert reply == Reply(552, ("552 File too large.",))
            assert (await upload(client, f"STOR {name}", b"x" * (limit * 4 + MIB))).code == 552
            await client.expect("NOOP", 200)
        assert await world.keys() == ["old"]
        await client.expect("TYPE I", 200)
        content, reply = await client.fetch("RETR old")
        assert (len(content), reply.code) == (limit, 226)


async def test_a_file_that_is_announced_as_too_large_is_refused_at_once(start: Start) -> None:
    world = await start(file_option={"single_file_max_size": 1000})
    async with world.client() as client:
        await client.login()
        await client.expect("ALLO 1001", 202)
        assert (await upload(client, "STOR new", b"")).code == 552
        await client.expect("ALLO 1000", 202)
        assert (await upload(client, "STOR new", bytes(1000))).code == 226
        assert await world.keys() == ["new"]


# Passive ports


def free_ports(host: str, count: int) -> tuple[int, int]:
    """Return a range of ports of `host` that nobody uses."""
    while True:
        low = 20000 + secrets.randbelow(10000)
        if are_free(host, (low, low + count - 1)):
            return low, low + count - 1


def are_free(host: str, ports: tuple[int, int]) -> bool:
    for port in range(ports[0], ports[1] + 1):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind((host, port))
            except OSError:
                return False
    return True


@pytest.fixture
def own_host() -> str:
    """A loopback address that no other test process uses."""
    return f"127.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF}.{1 + secrets.randbelow(250)}"


async def test_passive_ports_are_a_range_and_never_leak(start: Start, own_host: str) -> None:
    ports = free_ports(own_host, 8)
    world = await start(network={"listen_address": (own_host,), "passive_port": ports})
    used = set()
    async with world.client() as client:
        await client.login()
        await client.store("file", b"content")
        for number in range(1000):
            command = "PASV" if number % 2 else "EPSV"
            reply = await client.expect(command, 227, 229)
            used.add(told_port(reply))
            if number % 10 == 0:  # some are connected to, and then used or not
                await client.open_data(told_port(reply))
                await client.expect(
                    ("RETR none", "ABOR", "TYPE I")[number // 10 % 3], 550, 225, 200
                )
        await client.expect("ABOR", 225)
        assert are_free(own_host, ports)
    assert used == set(range(ports[0], ports[1] + 1))


def told_port(reply: Reply) -> int:
    numbers = re.findall(r"\d+", reply.text)
    return int(numbers[-1]) if reply.code == 229 else int(numbers[-2]) * 256 + int(numbers[-1])


async def test_the_last_free_port_is_found(start: Start, own_host: str) -> None:
    low, high = ports = free_ports(own_host, 300)
    world = await start(network={"listen_address": (own_host,), "passive_port": ports})
    with ExitStack() as taken:
        for port in range(low, high):
            taken.enter_context(socket.create_server((own_host, port)))
        async with world.client() as client, world.client() as other:
            await client.login()
            await other.login()
            assert told_port(await client.expect("PASV", 227)) == high
            assert (
                await other.expect("PASV", 425)
            ).text == "425 No port free for a data connection."
            await other.expect("EPSV", 425)


@pytest.mark.parametrize("end", ["QUIT", "reset", "reset in a transfer"])
async def test_sessions_that_end_give_their_port_back(
    start: Start, own_host: str, end: str
) -> None:
    ports = free_ports(own_host, 2)
    world = await start(network={"listen_address": (own_host,), "passive_port": ports})
    for _ in range(5):
        async with world.client() as client, world.client() as other, world.client() as third:
            for one in (client, other, third):
                await one.login()
            assert {await client.passive_port(), await other.passive_port()} == set(ports)
            await third.expect("PASV", 425)
            await third.expect("EPSV", 425)
            if end == "QUIT":
                client.send("QUIT")
            else:
                if end == "reset in a transfer":
                    await client.expect("STOR file", 150)
                reset(client.writer)
            while (await third.command("EPSV")).code == 425:
                pass  # until the server has noticed
    assert await world.keys() == []


# Authority

_FREE = {
    *("ABOR", "ACCT", "ALLO", "CDUP", "CLNT", "CWD", "EPRT", "EPSV", "FEAT", "HELP", "MODE"),
    *("NOOP", "OPTS", "PASV", "PORT", "PWD", "REIN", "REST", "SITE", "STAT", "STRU", "SYST"),
    *("TYPE", "USER", "PASS", "QUIT", "XCUP", "XCWD", "XPWD"),
}
_READING = {"LIST", "MDTM", "MLSD", "MLST", "NLST", "RETR", "SIZE"}
_WRITING = {"APPE", "MKD", "RNFR", "RNTO", "STOR", "STOU", "XMKD"}
_DELETING = {"DELE", "RMD", "XRMD"}


def test_every_command_is_free_or_reads_or_writes_or_deletes() -> None:
    known = {verb for verb, row in COMMANDS.items() if row.implemented}
    assert known == _FREE | _READING | _WRITING | _DELETING


@pytest.mark.parametrize(
    ("authority", "delete_enable", "allowed"),
    [
        ("R", True, _READING),
        ("R", False, _READING),
        ("W", True, _WRITING | _DELETING),
        ("W", False, _WRITING),
        ("RW", True, _READING | _WRITING | _DELETING),
        ("RW", False, _READING | _WRITING),
    ],
)
async def test_authority(
    start: Start, authority: str, delete_enable: bool, allowed: set[str]
) -> None:
    world = await start(account={"authority": authority, "delete_enable": delete_enable})
    denied = Reply(550, ("550 Permission denied.",))
    async with world.client() as client:
        await client.login()
        for verb in sorted(_READING | _WRITING | _DELETING):
            argument = "" if verb in {"LIST", "NLST", "MLSD", "MLST", "STOU"} else " nothing"
            reply = await client.command(verb + argument)
            assert (reply == denied) is (verb not in allowed), (verb, reply)
        listing = await client.command("STAT /")
        assert (listing == denied) is (authority == "W")
        assert (await client.command("STAT")).code == 211


async def test_who_may_not_delete_may_rename(start: Start) -> None:
    world = await start(account={"delete_enable": False})
    async with world.client() as client:
        await client.login()
        await client.store("a", b"content")
        await client.expect("RNFR a", 350)
        await client.expect("RNTO b", 250)
        for line in ("DELE b", "RMD b"):
            await client.expect(line, 550)
    assert await world.keys() == ["b"]
