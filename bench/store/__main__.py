"""`python -m bench.store BUCKET`: says `ready PORT RAW_PORT`, and runs until it is told to stop."""

import asyncio
import contextlib
import signal
import sys

import uvloop

from bench.store.api import Api
from bench.store.server import NullStore


async def _serve(bucket: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = NullStore(Api(bucket))
    http, raw = await store.listen("127.0.0.1")
    ports = [server.sockets[0].getsockname()[1] for server in (http, raw)]
    print("ready", *ports, flush=True)
    await stop.wait()
    http.close()
    raw.close()
    store.cut()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(sys.argv[1]))
