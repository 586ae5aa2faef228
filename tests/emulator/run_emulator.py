"""Serves a store from a process of its own: `python run_emulator.py DIRECTORY` prints the port."""

import asyncio
import sys
from pathlib import Path

import uvloop

from cos_ftp_server.emulator import Emulator

from .support import make_config


async def main() -> None:
    async with Emulator(make_config(Path(sys.argv[1]))) as emulator:
        print(emulator.port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
