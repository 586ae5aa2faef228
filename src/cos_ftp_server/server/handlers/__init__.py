"""What each command does: one function per canonical verb, grouped by family.

A handler gets the exchange and the argument; it returns its one final reply or raises an error that
`outcome` knows. It never writes to a socket and never spells a reply code.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.exchange import Exchange
from cos_ftp_server.server.handlers import auth, connection, dirs, files, info, listing

__all__ = ["HANDLERS", "OVERTAKING", "Handler"]

Handler = Callable[[Exchange, str], Awaitable[Reply]]

HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        "ABOR": files.handle_abor,
        "ACCT": auth.handle_acct,
        "ALLO": files.handle_allo,
        "CDUP": dirs.handle_cdup,
        "CLNT": info.handle_clnt,
        "CWD": dirs.handle_cwd,
        "DELE": files.handle_dele,
        "EPRT": connection.handle_eprt,
        "EPSV": connection.handle_epsv,
        "FEAT": info.handle_feat,
        "HELP": info.handle_help,
        "LIST": listing.handle_list,
        "MDTM": files.handle_mdtm,
        "MKD": dirs.handle_mkd,
        "MLSD": listing.handle_mlsd,
        "MLST": listing.handle_mlst,
        "MODE": connection.handle_mode,
        "NLST": listing.handle_nlst,
        "NOOP": info.handle_noop,
        "OPTS": info.handle_opts,
        "PASS": auth.handle_pass,
        "PASV": connection.handle_pasv,
        "PORT": connection.handle_port,
        "PWD": dirs.handle_pwd,
        "QUIT": auth.handle_quit,
        "REIN": auth.handle_rein,
        "REST": files.handle_rest,
        "APPE": files.handle_appe,
        "RETR": files.handle_retr,
        "RMD": dirs.handle_rmd,
        "RNFR": files.handle_rnfr,
        "RNTO": files.handle_rnto,
        "SITE": info.handle_site,
        "SIZE": files.handle_size,
        "STAT": listing.handle_stat,
        "STOR": files.handle_stor,
        "STOU": files.handle_stou,
        "STRU": connection.handle_stru,
        "SYST": info.handle_syst,
        "TYPE": connection.handle_type,
        "USER": auth.handle_user,
    }
)
"""By `CommandSpec.canonical`."""

OVERTAKING = frozenset({"ABOR"})
"""Verbs that are served during a transfer even when commands before them have to wait for its end.
The others would break the order of replies for a client that sends ahead."""
