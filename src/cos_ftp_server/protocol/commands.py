"""The command table, and how a line becomes a command.

One row says all there is to know of a verb before it runs: HELP, FEAT and the server's checks
are made from the rows. It must not know how a command is carried out.
"""

import enum
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType

from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.text import escape_controls, has_controls

__all__ = [
    "COMMANDS",
    "Argument",
    "Command",
    "CommandSpec",
    "Permission",
    "loggable",
    "parse_command",
]


class Permission(enum.Flag):
    """What an account may do. Changing directory and asking where one is needs none of them."""

    NONE = 0
    READ = enum.auto()
    WRITE = enum.auto()
    DELETE = enum.auto()


class Argument(enum.Enum):
    """Whether a verb takes an argument; anything else is answered 501."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A row of the command table.

    `help`: the argument's syntax and what it is for. `rfc`: where it is specified.
    `permission`: all of these flags are needed.
    `opens_data`: a data connection must be on its way (PASV, EPSV, PORT or EPRT came before).
    `during_transfer`: answered at once while a transfer runs; the others wait for its end.
    `keeps_restart`, `keeps_rename`: a pending REST or RNFR is still pending after this command;
    all others drop it.
    `secret`: the argument must not be logged.
    `implemented`: if not, the verb is known and answered 502.
    `alias_of`: the verb of which this is another name, "" for none.
    """

    verb: str
    help: str
    rfc: str
    argument: Argument = Argument.NONE
    permission: Permission = Permission.NONE
    _: KW_ONLY
    needs_login: bool = True
    opens_data: bool = False
    during_transfer: bool = False
    keeps_restart: bool = False
    keeps_rename: bool = False
    secret: bool = False
    implemented: bool = True
    alias_of: str = ""

    @property
    def canonical(self) -> str:
        """The verb whose behaviour this is: its own, but PWD for XPWD."""
        return self.alias_of or self.verb

    @property
    def is_upload(self) -> bool:
        """Whether data comes from the client."""
        return self.opens_data and Permission.WRITE in self.permission


_OPT = Argument.OPTIONAL
_REQ = Argument.REQUIRED
_READ = Permission.READ
_WRITE = Permission.WRITE
_DELETE = Permission.WRITE | Permission.DELETE

_959 = "RFC 959 section 4.1"
_3659 = "RFC 3659 section "
_PETERSON = "draft-peterson-streamlined-ftp-command-extensions"
_COMMON = "common extension"

_ACCESS = (
    CommandSpec("USER", "name: begin to log in", _959, _REQ, needs_login=False),
    # An empty password is a password.
    CommandSpec("PASS", "password: log in", _959, _OPT, needs_login=False, secret=True),
    CommandSpec("ACCT", "account: not needed here", _959, _REQ, needs_login=False, secret=True),
    CommandSpec("REIN", "log out, keep the connection", _959, needs_login=False),
    CommandSpec("QUIT", "log out and close", _959, needs_login=False, during_transfer=True),
)

_DIRECTORIES = (
    CommandSpec("CWD", "[path]: change the working directory", _959, _OPT),
    CommandSpec("CDUP", "change to the parent directory", _959),
    CommandSpec("PWD", "print the working directory", _959),
    CommandSpec("MKD", "path: make a directory", _959, _REQ, _WRITE),
    CommandSpec("RMD", "path: remove an empty directory", _959, _REQ, _DELETE),
)

_DATA_CONNECTION = (
    CommandSpec("PASV", "let the server wait for the data connection", _959, keeps_restart=True),
    CommandSpec(
        "EPSV",
        "[1|2|ALL]: let the server wait, on IPv4 or IPv6",
        "RFC 2428 section 3",
        _OPT,
        keeps_restart=True,
    ),
    CommandSpec(
        "PORT", "h1,h2,h3,h4,p1,p2: let the server connect", _959, _REQ, keeps_restart=True
    ),
    CommandSpec(
        "EPRT",
        "|1 or 2|address|port|: let the server connect, IPv4 or IPv6",
        "RFC 2428 section 2",
        _REQ,
        keeps_restart=True,
    ),
    CommandSpec("TYPE", "A|I|L 8: ASCII or binary", _959, _REQ),
    CommandSpec("MODE", "S: stream", _959, _REQ),
    CommandSpec("STRU", "F: file", _959, _REQ),
)

_LISTINGS = (
    CommandSpec("LIST", "[-options] [path]: list as ls -l", _959, _OPT, _READ, opens_data=True),
    CommandSpec("NLST", "[-options] [path]: list names", _959, _OPT, _READ, opens_data=True),
    CommandSpec(
        "MLSD", "[path]: list facts of a directory", _3659 + "7", _OPT, _READ, opens_data=True
    ),
    CommandSpec("MLST", "[path]: show facts of one path", _3659 + "7", _OPT, _READ),
    # Between transfers, with a path, it lists, and then needs a login and READ as LIST does.
    CommandSpec(
        "STAT",
        "[path]: show the session's state, or list a path",
        _959,
        _OPT,
        needs_login=False,
        during_transfer=True,
    ),
    CommandSpec("SIZE", "path: show a file's size in bytes", _3659 + "4", _REQ, _READ),
    CommandSpec("MDTM", "path: show a file's modification time", _3659 + "3", _REQ, _READ),
)

_FILES = (
    CommandSpec("RETR", "path: receive a file", _959, _REQ, _READ, opens_data=True),
    CommandSpec("STOR", "path: send a file", _959, _REQ, _WRITE, opens_data=True),
    CommandSpec("APPE", "path: append to a file", _959, _REQ, _WRITE, opens_data=True),
    CommandSpec(
        "STOU", "[path]: send a file under a new name", _959, _OPT, _WRITE, opens_data=True
    ),
    CommandSpec(
        "REST", "offset: start the next transfer there", _3659 + "5", _REQ, keeps_restart=True
    ),
    CommandSpec("ALLO", "bytes [R bytes]: announce the size of a file", _959, _REQ),
    CommandSpec("DELE", "path: delete a file", _959, _REQ, _DELETE),
    CommandSpec("RNFR", "path: choose what to rename", _959, _REQ, _WRITE, keeps_rename=True),
    CommandSpec("RNTO", "path: rename what RNFR chose to this", _959, _REQ, _WRITE),
    CommandSpec("ABOR", "abort the transfer", _959, needs_login=False, during_transfer=True),
)

_INFORMATION = (
    CommandSpec("FEAT", "list the extensions", "RFC 2389 section 3", needs_login=False),
    CommandSpec("OPTS", "UTF8 ON | MLST facts", "RFC 2389 section 4", _REQ, needs_login=False),
    CommandSpec("SYST", "name the system", _959, needs_login=False),
    CommandSpec("HELP", "[command]: explain", _959, _OPT, needs_login=False, during_transfer=True),
    CommandSpec("NOOP", "do nothing", _959, needs_login=False, during_transfer=True),
    CommandSpec("SITE", "HELP: list the SITE commands", _959, _REQ),
    CommandSpec("CLNT", "name: name your program", _COMMON, _REQ, needs_login=False),
)


def _without(verb: str, help: str, rfc: str, *, secret: bool = False) -> CommandSpec:
    """Return the row of a verb that is known and answered 502."""
    return CommandSpec(verb, help, rfc, _OPT, needs_login=False, secret=secret, implemented=False)


_NOT_IMPLEMENTED = (
    _without("SMNT", "path: mount", _959),
    _without("LPRT", "address: long PORT", "RFC 1639"),
    _without("LPSV", "long PASV", "RFC 1639"),
    _without("AUTH", "mechanism: secure the connection", "RFC 2228 section 3"),
    _without("ADAT", "data: authentication data", "RFC 2228 section 3", secret=True),
    _without("PBSZ", "size: protection buffer size", "RFC 2228 section 3"),
    _without("PROT", "level: protect data connections", "RFC 2228 section 3"),
    _without("CCC", "clear the command channel", "RFC 2228 section 3"),
    _without("MIC", "command: integrity protected", "RFC 2228 section 3", secret=True),
    _without("CONF", "command: confidential", "RFC 2228 section 3", secret=True),
    _without("ENC", "command: encrypted", "RFC 2228 section 3", secret=True),
    _without("LANG", "[language]: language of the replies", "RFC 2640 section 4.1"),
    _without("HOST", "name: choose a virtual host", "RFC 7151 section 3"),
    _without("MFMT", "time path: set a modification time", "draft-somers-ftp-mfxx"),
    _without("MFCT", "time path: set a creation time", "draft-somers-ftp-mfxx"),
    _without("MFF", "facts path: set facts", "draft-somers-ftp-mfxx"),
    _without("HASH", "path: checksum", "draft-bryan-ftpext-hash"),
    _without("RANG", "first last: range of HASH", "draft-bryan-ftp-range"),
    _without("XCRC", "path: CRC-32", _COMMON),
    _without("XMD5", "path: MD5", _COMMON),
    _without("XSHA1", "path: SHA-1", _COMMON),
    _without("XSHA256", "path: SHA-256", _COMMON),
    _without("XSHA512", "path: SHA-512", _COMMON),
    _without("AVBL", "[path]: space available", _PETERSON),
    _without("DSIZ", "[path]: size of a directory", _PETERSON),
    _without("COMB", "target parts: combine files", _PETERSON),
    _without("CSID", "facts: name your program", _PETERSON),
    _without("CPSV", "PASV for a transfer between servers", _COMMON),
    _without("SSCN", "ON|OFF: TLS between servers", _COMMON),
    _without("PRET", "command: announce a transfer", _COMMON),
)

_X_FORMS = {"XCWD": "CWD", "XCUP": "CDUP", "XPWD": "PWD", "XMKD": "MKD", "XRMD": "RMD"}
"""RFC 775 and RFC 1123 section 4.1.3.1: old names, still sent by Windows' ftp.exe."""


def _table() -> Mapping[str, CommandSpec]:
    groups = (_ACCESS, _DIRECTORIES, _DATA_CONNECTION, _LISTINGS, _FILES, _INFORMATION)
    rows = {row.verb: row for group in (*groups, _NOT_IMPLEMENTED) for row in group}
    for alias, verb in _X_FORMS.items():
        rows[alias] = replace(
            rows[verb], verb=alias, alias_of=verb, rfc="RFC 775, RFC 1123 section 4.1.3.1"
        )
    return MappingProxyType(rows)


COMMANDS: Mapping[str, CommandSpec] = _table()
"""Every verb known here, upper case, with its row."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that may run, as far as its line tells.

    `argument` is all that follows the first space: further spaces, in front or behind, belong
    to it, for they are significant in names; but it is "" for a verb that takes none.
    """

    spec: CommandSpec
    argument: str

    @property
    def verb(self) -> str:
        """The verb as it was sent, in upper case."""
        return self.spec.verb

    @property
    def loggable(self) -> str:
        """The whole command as a log may show it."""
        return _masked(self.spec, self.argument)

    def __repr__(self) -> str:
        return f"Command(verb={self.verb!r}, loggable={self.loggable!r})"


def parse_command(line: bytes) -> Command:
    """Return the command in a line that has lost its line end.

    Raises ProtocolError: 500 unknown verb, 501 not UTF-8, a control character, an argument
    missing or not allowed, 502 known but not implemented.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise ProtocolError(replies.NOT_UTF8) from None
    if has_controls(text):
        raise ProtocolError(replies.CONTROL_CHARACTER)
    spec, argument = _split(text)
    if spec is None:
        raise ProtocolError(replies.UNKNOWN_COMMAND)
    if not spec.implemented:
        raise ProtocolError(replies.NOT_IMPLEMENTED)
    if spec.argument is Argument.REQUIRED and not argument:
        raise ProtocolError(replies.ARGUMENT_REQUIRED)
    if spec.argument is Argument.NONE:
        if argument.strip(" "):
            raise ProtocolError(replies.NO_ARGUMENT_ALLOWED)
        argument = ""
    return Command(spec, argument)


def loggable(line: bytes) -> str:
    """Return what a log may show of any line, one that is no valid command included.

    Of an unknown verb the argument is hidden too: a password sent without its PASS, or with a
    typing error in it, looks like that.
    """
    spec, argument = _split(line.decode(errors="backslashreplace"))
    return "(unknown)" if spec is None else _masked(spec, argument)


def _split(text: str) -> tuple[CommandSpec | None, str]:
    verb, _, argument = text.partition(" ")
    # Upper-casing non-ASCII letters can make ASCII ones: "paß" would be PASS.
    return (COMMANDS.get(verb.upper()) if verb.isascii() else None), argument


def _masked(spec: CommandSpec, argument: str) -> str:
    if not argument:
        return spec.verb
    return f"{spec.verb} ***" if spec.secret else f"{spec.verb} {escape_controls(argument)}"
