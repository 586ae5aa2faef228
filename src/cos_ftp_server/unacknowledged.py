"""How much of what was written to a connection the other side's system does not have yet.

An event loop knows only what it still holds itself, and hears that a socket takes more when about a
third of the kernel's buffer is free: over a slow line that can be a minute without any news.
"""

import asyncio
import fcntl
import sys
import termios

__all__ = ["unacknowledged_bytes"]


def unacknowledged_bytes(transport: asyncio.WriteTransport) -> int:
    """Return the bytes that the event loop has, and those that the kernel has.

    A system call: meant for a look now and then, not for every write.
    """
    held = transport.get_write_buffer_size()
    if transport.is_closing():  # the descriptor may be another file's already
        return held
    queued = fcntl.ioctl(transport.get_extra_info("socket"), termios.TIOCOUTQ, bytes(4))
    return held + int.from_bytes(queued, sys.byteorder)
