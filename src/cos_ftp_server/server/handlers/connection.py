"""PASV, EPSV, PORT, EPRT, TYPE, MODE, STRU: how data will flow (RFC 959, RFC 2428)."""

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.address import (
    HostPort,
    check_active_target,
    parse_eprt,
    parse_epsv_argument,
    parse_port,
)
from cos_ftp_server.protocol.features import (
    TransferType,
    check_mode,
    check_structure,
    parse_type,
)
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.protocol.states import DataSetupEvent
from cos_ftp_server.server.active import ActiveTarget
from cos_ftp_server.server.data import NoDataConnectionError
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.passive import PassiveListener

__all__ = [
    "handle_eprt",
    "handle_epsv",
    "handle_mode",
    "handle_pasv",
    "handle_port",
    "handle_stru",
    "handle_type",
]


async def handle_pasv(exchange: Exchange, argument: str) -> Reply:
    """Listen, and tell an IPv4 address and port."""
    session = exchange.session
    session.data_setup.fire(DataSetupEvent.OTHER)
    host = session.local[0]
    if ":" in host:
        return replies.PASV_NEEDS_IPV4
    public_address = exchange.services.public_address
    try:
        if public_address is not None:
            host = await public_address.get()
        listener = await _listen(exchange)
    except (OSError, NoDataConnectionError) as error:
        session.log.warning("PASV failed: %s", error)
        return replies.NO_PASSIVE_PORT
    return replies.passive(host, listener.port)


async def handle_epsv(exchange: Exchange, argument: str) -> Reply:
    """Listen, and tell the port alone; after EPSV ALL no other command may set up data."""
    session = exchange.session
    network = parse_epsv_argument(argument)
    if network == "ALL":
        session.data_setup.fire(DataSetupEvent.EPSV_ALL)
        return replies.EPSV_ALL_ACCEPTED
    session.data_setup.fire(DataSetupEvent.EPSV)
    own_network = 2 if ":" in session.local[0] else 1
    if network not in (None, own_network):
        return replies.UNKNOWN_NETWORK
    try:
        listener = await _listen(exchange)
    except NoDataConnectionError as error:
        session.log.warning("EPSV failed: %s", error)
        return replies.NO_PASSIVE_PORT
    return replies.extended_passive(listener.port)


async def _listen(exchange: Exchange) -> PassiveListener:
    session, config = exchange.session, exchange.services.config
    session.drop_endpoint()
    listener = await PassiveListener.open(
        session.local,
        session.peer[0],
        ports=config.passive_ports,
        stall_seconds=config.data_stall_timeout_seconds,
    )
    session.replace_endpoint(listener)
    return listener


async def handle_port(exchange: Exchange, argument: str) -> Reply:
    """Remember where to connect to, an IPv4 address."""
    exchange.session.data_setup.fire(DataSetupEvent.OTHER)
    return _aim(exchange, parse_port(argument))


async def handle_eprt(exchange: Exchange, argument: str) -> Reply:
    """Remember where to connect to, an IPv4 or IPv6 address."""
    exchange.session.data_setup.fire(DataSetupEvent.OTHER)
    return _aim(exchange, parse_eprt(argument))


def _aim(exchange: Exchange, target: HostPort) -> Reply:
    session = exchange.session
    check_active_target(target, session.peer[0])
    session.replace_endpoint(
        ActiveTarget(
            session.peer[0],
            target.port,
            local_host=session.local[0],
            stall_seconds=exchange.services.config.data_stall_timeout_seconds,
        )
    )
    return replies.ACTIVE_ACCEPTED


async def handle_type(exchange: Exchange, argument: str) -> Reply:
    """Choose ASCII or binary."""
    chosen = parse_type(argument)
    exchange.session.transfer_type = chosen
    return replies.TYPE_ASCII if chosen is TransferType.ASCII else replies.TYPE_BINARY


async def handle_mode(exchange: Exchange, argument: str) -> Reply:
    """Accept stream mode, the only one."""
    check_mode(argument)
    return replies.COMMAND_OK


async def handle_stru(exchange: Exchange, argument: str) -> Reply:
    """Accept file structure, the only one."""
    check_structure(argument)
    return replies.COMMAND_OK
