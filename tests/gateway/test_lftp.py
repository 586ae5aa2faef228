"""lftp, which repeats what breaks off: that must not end in a part that counts as the whole."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cos_ftp_server.server import exchange
from tests.doubles.accounts import PASSWORD, USER
from tests.doubles.ftp_client import reset
from tests.gateway.conftest import Start, World

CONTENT = bytes(range(256)) * 2400
"""More than lftp has sent when it begins again: it repeats what is left in its buffer."""


class Relay:
    """Stands between a client and the control port of a gateway on the same host."""

    def __init__(self, gateway: tuple[str, int]) -> None:
        self.port = 0
        self._gateway = gateway
        self._ends: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._relay, "127.0.0.1")
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Reset all connections."""
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*self._gateway)
        self._ends += (writer, back)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while some := await reader.read(65536):
            writer.write(some)
    except OSError:
        pass
    writer.close()


@pytest.mark.parametrize("is_known_free", [True, False])
async def test_a_lost_control_connection_at_the_end(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_known_free: bool
) -> None:
    """Whether or not the new file was stored already when its client turned out to be gone."""
    if is_known_free:
        async with world.client() as client:
            await client.login()
            await client.store("a", b"behind which nothing is")
    monkeypatch.setattr(exchange, "_LEAST_GRACE_SECONDS", 5.0)  # for the connection to be lost
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    relay = Relay(world.address)
    async with relay.serving():
        script = (
            f"set net:reconnect-interval-base 1; open -u {USER},{PASSWORD} -p {relay.port} "
            f"127.0.0.1; put {source} -o f"
        )
        lftp = await asyncio.create_subprocess_exec(
            *("lftp", "--norc", "-c", script), env={**os.environ, "HOME": str(tmp_path)}
        )
        if is_known_free:
            await world.emulator.requests.wait_for("PutObject", "f", ended=True)
        else:
            await world.emulator.requests.wait_for("ListObjects", ended=True)
        relay.cut()
        try:
            async with asyncio.timeout(60):
                assert await lftp.wait() == 1
        finally:
            if lftp.returncode is None:
                lftp.kill()
    assert "f" not in await world.keys()


async def test_it_does_not_repeat_an_upload_of_which_a_part_is_kept(start: Start) -> None:
    """At each break it may go on with the wrong bytes, up to the right size."""
    world = await start(optional={"interrupted_upload": "keep"})
    async with world.client() as client:
        await client.login()
        await client.expect("CLNT lftp/4.9.2", 200)
        _, data = await client.open_data()
        await client.expect("STOR f", 150)
        data.write(CONTENT)
        await data.drain()
        while f"{len(CONTENT)} bytes" not in (await client.command("STAT")).text:
            pass
        reset(data)
        assert (await client.reply()).text.endswith(f"{len(CONTENT)} bytes are stored.")
    async with world.client() as client:
        await client.login()
        await client.expect("SIZE f", 213)
        await client.expect("CLNT lftp/4.9.2", 200)
        await client.expect("SIZE f", 550)  # it has connected again by itself
        await client.expect("STOR f", 550)
        await client.expect("PWD", 257)
        await client.expect("SIZE f", 213)  # it is another one
