"""`python -m bench.load ACCOUNT ORDER`, both in JSON: one piece of work, step by step.

It says `ready` when it has warmed up, begins when it reads a line, answers with the outcome in
JSON when it is done, and hangs up at the end of its input.
"""

import asyncio
import contextlib
import json
import sys

import uvloop

from bench.load.session import Account
from bench.load.tasks import Order, Runner


async def _main(account: Account, order: Order) -> None:
    loop = asyncio.get_running_loop()
    runner = Runner(account, order)
    await runner.prepare()
    print("ready", flush=True)
    if await loop.run_in_executor(None, sys.stdin.readline):
        outcome = await runner.run()
        print(json.dumps(outcome.to_json()), flush=True)
        await loop.run_in_executor(None, sys.stdin.read)
    runner.close()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_main(Account(**json.loads(sys.argv[1])), Order(**json.loads(sys.argv[2]))))
