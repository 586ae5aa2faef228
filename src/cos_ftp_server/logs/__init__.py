"""Log lines: whose they are, how they are written, and where they go.

Nothing here ever waits for a disk or a terminal, or fails because one does.
"""

from cos_ftp_server.logs.session import SessionLogger, Transfer
from cos_ftp_server.logs.setup import FILE_NAME, XFERLOG_NAME, LogFiles, Logs, logging_to

__all__ = [
    "FILE_NAME",
    "XFERLOG_NAME",
    "LogFiles",
    "Logs",
    "SessionLogger",
    "Transfer",
    "logging_to",
]
