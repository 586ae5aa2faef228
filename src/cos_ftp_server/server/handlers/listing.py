"""LIST, NLST, MLSD, MLST, STAT (RFC 959 section 4.1.3, RFC 3659 section 7)."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import COMMANDS
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.listing import (
    compile_glob,
    format_mlsx,
    format_name,
    format_unix,
    parse_list_argument,
)
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.session import Session
from cos_ftp_server.server.transfer import send_listing
from cos_ftp_server.vfs.base import FileInfo

__all__ = ["handle_list", "handle_mlsd", "handle_mlst", "handle_nlst", "handle_stat"]

_MAX_STAT_ENTRIES = 1000
"""Lines of STAT, whose reply is made in memory: what one request to the store lists."""

_Pages = AsyncGenerator[Sequence[FileInfo], None]


async def handle_list(exchange: Exchange, argument: str) -> Reply:
    """List a directory, a file or a pattern as `ls -l` does."""
    now = datetime.now(UTC)
    pages = _entries(exchange, argument)
    return await send_listing(exchange, pages, lambda entry: format_unix(entry, now))


async def handle_nlst(exchange: Exchange, argument: str) -> Reply:
    """List names. Those of a file or pattern come with the directory that was asked for, so that
    they can be used as they are: clients implement mget so.
    """
    pages = _entries(exchange, argument, keeps_directory=True)
    return await send_listing(exchange, pages, format_name)


async def handle_mlsd(exchange: Exchange, argument: str) -> Reply:
    """List the facts of a directory's entries."""
    session = exchange.session
    path = session.resolve(argument)
    exchange.path = path
    facts, permissions = session.facts, session.account.permissions
    pages = session.file_system.list_directory(path)
    try:
        return await send_listing(
            exchange, pages, lambda entry: format_mlsx(entry, facts, permissions)
        )
    except StorageError as error:
        if error.kind is ErrorKind.NOT_DIRECTORY:
            raise ProtocolError(replies.NOT_A_DIRECTORY_TO_LIST) from error
        raise


async def handle_mlst(exchange: Exchange, argument: str) -> Reply:
    """Show the facts of one file or directory."""
    session = exchange.session
    path = session.resolve(argument)
    info = await session.file_system.stat(path)
    return replies.facts(format_mlsx(info, session.facts, session.account.permissions, path=path))


async def handle_stat(exchange: Exchange, argument: str) -> Reply:
    """Tell how the session is doing, or list a path on the control connection.

    A path is for "between transfers" (RFC 959 section 4.1.3): while one runs, nothing may wait for
    the store, or ABOR would not be seen.
    """
    session = exchange.session
    if not argument or session.transfer is not None:
        return replies.status(_session_lines(exchange))
    if COMMANDS["LIST"].permission not in session.account.permissions:
        return replies.PERMISSION_DENIED
    path = session.resolve(parse_list_argument(argument).path)
    info = await session.file_system.stat(path)
    now = datetime.now(UTC)
    if not info.is_directory:
        return replies.path_status([format_unix(info, now)], is_directory=False)
    limit = min(_MAX_STAT_ENTRIES, exchange.services.config.max_list_entries)
    lines: list[str] = []
    async with aclosing(session.file_system.list_directory(path)) as pages:
        async for page in pages:
            room = limit - len(lines)
            lines += (format_unix(entry, now) for entry in page[:room])
            if len(page) > room:
                return replies.path_status(lines, is_directory=True, cut_at=limit)
    return replies.path_status(lines, is_directory=True)


def _session_lines(exchange: Exchange) -> list[str]:
    session = exchange.session
    lines = [
        f"Connected from {session.peer[0]}",
        f"Logged in as {session.account.name}" if session.is_logged_in else "Not logged in",
        f"TYPE: {session.transfer_type.name}, MODE: stream, STRU: file",
    ]
    transfer = session.transfer
    if transfer is not None:
        lines.append(f"{transfer.command.verb} in progress: {transfer.moved} bytes")
    return lines


async def _entries(exchange: Exchange, argument: str, *, keeps_directory: bool = False) -> _Pages:
    """Yield what an argument of LIST or NLST means. Raises before the first page if nothing."""
    session = exchange.session
    parsed = parse_list_argument(argument)
    exchange.path = session.resolve(parsed.path)
    try:
        async with aclosing(_read(session, parsed.path, keeps_directory)) as pages:
            async for page in pages:
                yield page
        return
    except StorageError as error:
        if error.kind is not ErrorKind.NOT_FOUND or not parsed.options:
            raise
    # What looked like options may be the beginning of a name.
    async with aclosing(_read(session, parsed.literal, keeps_directory)) as pages:
        async for page in pages:
            yield page


async def _read(session: Session, typed: str, keeps_directory: bool) -> _Pages:
    """Yield the entries of the directory, the file or what the pattern `typed` matches."""
    directory, slash, last = typed.rpartition("/")
    prefix = directory + slash if keeps_directory else ""
    matches = compile_glob(last)
    pages = session.file_system.list_directory(
        session.resolve(typed if matches is None else directory + slash)
    )
    is_empty = True
    try:
        async with aclosing(pages):
            async for page in pages:
                found = page if matches is None else _select(page, last, matches, prefix)
                if found:
                    is_empty = False
                    yield found
    except StorageError as error:
        if error.kind is not ErrorKind.NOT_DIRECTORY or matches is not None:
            raise
        info = await session.file_system.stat_file(session.resolve(typed))
        yield [info._replace(name=prefix + info.name)]
        return
    if is_empty and matches is not None:
        raise ProtocolError(replies.file_unavailable("Nothing matches."))


def _select(
    page: Sequence[FileInfo], pattern: str, matches: Callable[[str], bool], prefix: str
) -> list[FileInfo]:
    """Return what `pattern` matches as a glob, or is called exactly so."""
    return [
        entry._replace(name=prefix + entry.name)
        for entry in page
        if entry.name == pattern or matches(entry.name)
    ]
