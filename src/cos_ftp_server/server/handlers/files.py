"""RETR, STOR, APPE, STOU, REST, ALLO, DELE, RNFR, RNTO, SIZE, MDTM, ABOR (RFC 959, RFC 3659)."""

import secrets

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.protocol.features import TransferType, parse_allo, parse_rest
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.session import Session
from cos_ftp_server.server.transfer import download, upload
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.paths import name_of

__all__ = [
    "handle_abor",
    "handle_allo",
    "handle_appe",
    "handle_dele",
    "handle_mdtm",
    "handle_rest",
    "handle_retr",
    "handle_rnfr",
    "handle_rnto",
    "handle_size",
    "handle_stor",
    "handle_stou",
]

_UNIQUE_BYTES = 8
"""Random bytes in a STOU name: unique without asking the store, and safe against a race."""


async def handle_retr(exchange: Exchange, argument: str) -> Reply:
    """Send a file."""
    return await download(exchange, exchange.session.resolve(argument))


async def handle_stor(exchange: Exchange, argument: str) -> Reply:
    """Receive a file, which replaces one of that name when all of it is stored.

    After REST it begins with that many bytes of the old one, as clients expect that resume an
    upload (RFC 3659 section 5.4); what was behind them is gone. A REST that another command has
    made void is refused, since the client would send only the end of the file. So is what lftp
    does by itself after an upload that broke off.
    """
    session = exchange.session
    exchange.path = path = session.resolve(argument)
    if exchange.restart_is_lost:
        return replies.REST_IS_LOST
    if path == session.sized and _may_repeat_upload(session, path):
        return replies.NO_RETRY
    return await upload(exchange, path, replies.OPENING_DATA, offset=exchange.restart_offset)


async def handle_appe(exchange: Exchange, argument: str) -> Reply:
    """Receive what comes behind the end of a file, which is created if there is none."""
    exchange.path = path = exchange.session.resolve(argument)
    if exchange.restart_offset:
        return replies.NO_REST_BEFORE_APPE
    return await upload(exchange, path, replies.OPENING_DATA, offset=None)


async def handle_stou(exchange: Exchange, argument: str) -> Reply:
    """Receive a file under a name that nothing else has (RFC 1123 section 4.1.2.9)."""
    if exchange.restart_offset:
        return replies.NOTHING_TO_RESUME
    base = argument or "file"
    path = exchange.session.resolve(f"{base}.{secrets.token_hex(_UNIQUE_BYTES)}")
    name = name_of(path)
    return await upload(exchange, path, replies.opening_unique(name), unique_name=name)


async def handle_rest(exchange: Exchange, argument: str) -> Reply:
    """Remember where the next transfer starts; offsets count stored bytes, so only in TYPE I."""
    session = exchange.session
    offset = parse_rest(argument)
    if offset and session.transfer_type is TransferType.ASCII:
        return replies.REST_NEEDS_BINARY
    session.restart_offset = offset
    session.restart_is_lost = False
    return replies.rest_accepted(offset)


async def handle_allo(exchange: Exchange, argument: str) -> Reply:
    """Remember how many bytes the next upload must at least have.

    TYPE A changes their number on the way, so then it is only noted as RFC 959 demands.
    """
    exchange.session.announced_size = parse_allo(argument)
    return replies.SIZE_NOTED if exchange.is_binary else replies.NO_ALLOCATION


async def handle_dele(exchange: Exchange, argument: str) -> Reply:
    """Delete a file."""
    session = exchange.session
    path = session.resolve(argument)
    await session.file_system.delete_file(path)
    session.log.info("deleted path=%r", path)
    return replies.FILE_DELETED


async def handle_rnfr(exchange: Exchange, argument: str) -> Reply:
    """Choose what RNTO renames."""
    session = exchange.session
    path = session.resolve(argument)
    session.pending_rename = await session.file_system.prepare_rename(path)
    return replies.RENAME_PENDING


async def handle_rnto(exchange: Exchange, argument: str) -> Reply:
    """Rename a file or a whole directory."""
    session = exchange.session
    rename = session.pending_rename
    if rename is None:
        return replies.RNFR_FIRST
    target = session.resolve(argument)
    with exchange.keep_alive(replies.RENAMING):
        await rename.to(target)
    session.log.info("renamed path=%r to=%r", rename.source, target)
    return replies.RENAMED


async def handle_size(exchange: Exchange, argument: str) -> Reply:
    """Tell a file's size as stored, which is what TYPE I transfers, also while TYPE A is set.

    Not so to lftp about an upload that broke off: it would take that much for sent, or all of it.
    Nor to others who may store, while the file is not what was sent last: whoever resumes would
    take it for complete if it is no smaller, without any further question.
    """
    session = exchange.session
    path = session.sized = session.resolve(argument)
    if _may_repeat_upload(session, path):
        return replies.NO_RETRY
    info = await session.file_system.stat_file(path)
    if _may_store(session) and session.file_system.has_broken_off(path):
        return replies.NO_SIZE
    return replies.file_size(info.size)


def _may_repeat_upload(session: Session, path: VirtualPath) -> bool:
    may_be_repeating = session.may_be_repeating and _may_store(session)
    return may_be_repeating and session.file_system.is_interrupted(path)


def _may_store(session: Session) -> bool:
    return Permission.WRITE in session.account.permissions


async def handle_mdtm(exchange: Exchange, argument: str) -> Reply:
    """Tell when a file was last modified."""
    info = await exchange.session.file_system.stat_file(exchange.session.resolve(argument))
    if info.modified is None:
        return replies.file_unavailable("The modification time is not known.")
    return replies.modification_time(info.modified)


async def handle_abor(exchange: Exchange, argument: str) -> Reply:
    """Abort the running transfer, which gets its own reply first, or one that was only prepared."""
    session = exchange.session
    was_running = await session.abort_transfer()
    session.drop_endpoint()
    return replies.ABORT_DONE if was_running else replies.NOTHING_TO_ABORT
