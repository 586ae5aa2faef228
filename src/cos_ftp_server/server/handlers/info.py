"""FEAT, OPTS, SYST, HELP, NOOP, SITE, CLNT (RFC 959, RFC 2389)."""

from collections.abc import Mapping

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.features import (
    Option,
    check_utf8_option,
    feature_lines,
    help_reply,
    parse_opts,
)
from cos_ftp_server.protocol.listing import parse_mlst_facts
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.exchange import Exchange

__all__ = [
    "handle_clnt",
    "handle_feat",
    "handle_help",
    "handle_noop",
    "handle_opts",
    "handle_site",
    "handle_syst",
]

_SITE: Mapping[str, Reply] = {
    "HELP": replies.help_text(
        "SITE commands:", "CHMOD mode path: accepted, changes nothing", "End"
    ),
    # lftp mirror and others send it after every file, and count a refusal as an error.
    "CHMOD": replies.COMMAND_OK,
}


async def handle_feat(exchange: Exchange, argument: str) -> Reply:
    """List the extensions."""
    return replies.features(feature_lines(exchange.session.facts))


async def handle_opts(exchange: Exchange, argument: str) -> Reply:
    """Set an option of another command."""
    option, value = parse_opts(argument)
    if option is Option.UTF8:
        check_utf8_option(value)
        return replies.UTF8_ON
    exchange.session.facts = parse_mlst_facts(value)
    return replies.mlst_options(exchange.session.facts)


async def handle_syst(exchange: Exchange, argument: str) -> Reply:
    """Name the system, from which clients choose the parser for LIST."""
    return replies.SYSTEM_TYPE


async def handle_help(exchange: Exchange, argument: str) -> Reply:
    """Explain."""
    return help_reply(argument)


async def handle_noop(exchange: Exchange, argument: str) -> Reply:
    """Do nothing."""
    return replies.COMMAND_OK


async def handle_site(exchange: Exchange, argument: str) -> Reply:
    """Do something particular to this server."""
    verb = argument.strip(" ").partition(" ")[0].upper()
    return _SITE.get(verb, replies.BAD_PARAMETER)


async def handle_clnt(exchange: Exchange, argument: str) -> Reply:
    """Note the name of the client's program."""
    exchange.session.client = argument
    return replies.COMMAND_OK
