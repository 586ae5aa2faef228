"""CWD, CDUP, PWD, MKD, RMD (RFC 959 section 4.1)."""

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.paths import parent_of

__all__ = ["handle_cdup", "handle_cwd", "handle_mkd", "handle_pwd", "handle_rmd"]


async def handle_cwd(exchange: Exchange, argument: str) -> Reply:
    """Change the working directory; to the root without an argument."""
    return await _change(exchange, exchange.session.resolve(argument or "/"))


async def handle_cdup(exchange: Exchange, argument: str) -> Reply:
    """Change to the parent directory; the root is its own."""
    return await _change(exchange, parent_of(exchange.session.working_directory))


async def _change(exchange: Exchange, path: VirtualPath) -> Reply:
    await exchange.session.file_system.check_directory(path)
    exchange.session.working_directory = path
    return replies.DIRECTORY_CHANGED


async def handle_pwd(exchange: Exchange, argument: str) -> Reply:
    """Print the working directory."""
    session = exchange.session
    session.has_asked_directory = True
    return replies.working_directory(session.working_directory)


async def handle_mkd(exchange: Exchange, argument: str) -> Reply:
    """Make a directory."""
    session = exchange.session
    path = session.resolve(argument)
    await session.file_system.make_directory(path)
    session.log.info("made directory path=%r", path)
    return replies.path_created(path)


async def handle_rmd(exchange: Exchange, argument: str) -> Reply:
    """Remove an empty directory."""
    session = exchange.session
    path = session.resolve(argument)
    await session.file_system.remove_directory(path)
    session.log.info("removed directory path=%r", path)
    return replies.DIRECTORY_REMOVED
