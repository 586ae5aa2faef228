"""Every reply this server gives: its code, its words, and how it is put on the wire.

The only module with reply codes in it. It must not know when a reply is due.
RFC 959 section 4.2 gives the meaning of the digits and the multi-line form.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cos_ftp_server.protocol.text import escape_controls, format_time

# The default replies are read as `replies.NAME`; `__all__` names the type alone so that no
# list repeats the table below.
__all__ = ["Reply"]

_EOL = b"\r\n"


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of one line or more.

    The text may hold anything, file names of strangers included: `encode` makes it safe.
    """

    code: int
    lines: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.lines:
            raise ValueError("a reply has at least one line")

    @classmethod
    def of(cls, code: int, *lines: str) -> "Reply":
        """Return the reply with these lines."""
        return cls(code, lines)

    @property
    def text(self) -> str:
        """The first line."""
        return self.lines[0]

    @property
    def is_positive(self) -> bool:
        """Whether nothing failed (1yz, 2yz, 3yz)."""
        return self.code < 400

    def encode(self) -> bytes:
        """Return the bytes to send, the last CRLF included.

        Lines between the first and the last begin with a space, so that none can be taken for
        the end of the reply. Control characters and lone surrogates become "?".
        """
        if len(self.lines) == 1:
            return _encode_line(f"{self.code} {self.lines[0]}")
        encoded = [_encode_line(f"{self.code}-{self.text}")]
        encoded += (
            _encode_line(line if line.startswith(" ") else f" {line}") for line in self.lines[1:-1]
        )
        encoded.append(_encode_line(f"{self.code} {self.lines[-1]}"))
        return b"".join(encoded)

    def encode_continuation(self) -> bytes:
        """Return the first line in the form that says "not finished yet" (`226-text`).

        Sent every few seconds while a reply is held up, it keeps impatient clients waiting; the
        reply that ends the series must have the same code.
        """
        return _encode_line(f"{self.code}-{self.text}")


def _encode_line(line: str) -> bytes:
    return escape_controls(line).encode(errors="replace") + _EOL


# 1yz: more to come.
OPENING_DATA = Reply.of(150, "Opening data connection.")  # RFC 959 section 5.4

# 2yz: done.
COMMAND_OK = Reply.of(200, "OK.")  # RFC 959 section 4.2.2
TYPE_ASCII = Reply.of(200, "Type set to ASCII.")  # RFC 959 section 5.4
TYPE_BINARY = Reply.of(200, "Type set to binary.")  # RFC 959 section 5.4
ACTIVE_ACCEPTED = Reply.of(200, "Active data connection set up.")  # RFC 959 section 5.4
EPSV_ALL_ACCEPTED = Reply.of(200, "EPSV ALL accepted.")  # RFC 2428 section 4
UTF8_ON = Reply.of(200, "UTF-8 is always on.")  # RFC 2389 section 4, RFC 2640 section 2.2
SUPERFLUOUS = Reply.of(202, "Not needed here.")  # RFC 959 section 5.4 (ACCT)
NO_ALLOCATION = Reply.of(202, "No storage to allocate.")  # RFC 959 section 5.4
SIZE_NOTED = Reply.of(202, "No storage to allocate; fewer bytes will be an error.")  # RFC 959 5.4
SYSTEM_TYPE = Reply.of(215, "UNIX Type: L8")  # RFC 959 section 5.4, RFC 943 system names
SERVICE_READY = Reply.of(220, "COS FTP Server ready.")  # RFC 959 section 5.4
LOGGED_OUT = Reply.of(220, "Logged out; ready for a new user.")  # RFC 959 section 5.4 (REIN)
GOODBYE = Reply.of(221, "Goodbye.")  # RFC 959 section 5.4
NOTHING_TO_ABORT = Reply.of(225, "No transfer to abort.")  # RFC 959 section 5.4 (ABOR)
TRANSFER_COMPLETE = Reply.of(226, "Transfer complete.")  # RFC 959 section 5.4
STILL_STORING = Reply.of(150, "Data received, waiting for the store.")  # RFC 959 section 4.2
STORING = Reply.of(226, "Data received, waiting for the store.")  # RFC 959 section 4.2
ABORT_DONE = Reply.of(226, "Abort successful.")  # RFC 959 section 5.4 (ABOR)
LOGGED_IN = Reply.of(230, "Logged in.")  # RFC 959 section 5.4
DIRECTORY_CHANGED = Reply.of(250, "Directory changed.")  # RFC 959 section 5.4 (CWD)
FILE_DELETED = Reply.of(250, "File deleted.")  # RFC 959 section 5.4 (DELE)
DIRECTORY_REMOVED = Reply.of(250, "Directory removed.")  # RFC 959 section 5.4 (RMD)
RENAMING = Reply.of(250, "Renaming, this takes a while.")  # RFC 959 section 4.2
RENAMED = Reply.of(250, "Renamed.")  # RFC 959 section 5.4 (RNTO)

# 3yz: the next command decides.
NEED_PASSWORD = Reply.of(331, "Password required.")  # RFC 959 section 5.4
RENAME_PENDING = Reply.of(350, "Send RNTO with the new name.")  # RFC 959 section 5.4

# 4yz: not now.
TIMEOUT = Reply.of(421, "Timeout.")  # RFC 959 section 5.4
SHUTTING_DOWN = Reply.of(421, "Server is shutting down.")  # RFC 959 section 5.4
ACCOUNT_REMOVED = Reply.of(421, "This account exists no longer.")  # RFC 959 section 5.4
TOO_MANY_CONNECTIONS = Reply.of(421, "Too many connections, try again later.")  # RFC 959 5.4
TOO_MANY_USERS = Reply.of(421, "Too many users, try again later.")  # RFC 959 section 5.4
TOO_MANY_SESSIONS = Reply.of(421, "Too many sessions of this user.")  # RFC 959 section 5.4
TOO_MANY_FAILURES = Reply.of(421, "Too many failed logins.")  # RFC 959 section 5.4, RFC 2577 5
TOO_MANY_ERRORS = Reply.of(421, "Too many errors.")  # RFC 959 section 5.4
NO_DATA_CONNECTION = Reply.of(425, "Cannot open data connection.")  # RFC 959 section 5.4
USE_PASSIVE_FIRST = Reply.of(425, "Use PASV, EPSV, PORT or EPRT first.")  # RFC 959 section 5.4
NO_PASSIVE_PORT = Reply.of(425, "No port free for a data connection.")  # RFC 959 section 4.2.2
PASV_NEEDS_IPV4 = Reply.of(425, "PASV needs IPv4, use EPSV.")  # RFC 2428 section 1
ABORTED = Reply.of(426, "Transfer aborted.")  # RFC 959 section 5.4
CONTROL_CONNECTION_LOST = Reply.of(426, "Control connection lost, transfer aborted.")  # RFC 959 5.4
DATA_CONNECTION_LOST = Reply.of(426, "Data connection lost, transfer aborted.")  # RFC 959 5.4
DATA_TIMEOUT = Reply.of(426, "Data connection timed out, transfer aborted.")  # RFC 959 5.4
SIZE_DIFFERS = Reply.of(426, "Fewer bytes came than announced.")  # RFC 959 section 5.4
TRANSFER_IN_PROGRESS = Reply.of(450, "Wait for the transfer to end.")  # RFC 959 section 4.2.2
LOCAL_ERROR = Reply.of(451, "Internal error.")  # RFC 959 section 5.4
CHANGED_MEANWHILE = Reply.of(451, "The file was changed during the transfer.")  # RFC 959 5.4
STORE_UNAVAILABLE = Reply.of(451, "Store not available, try again later.")  # RFC 959 5.4

# 5yz: no.
UNKNOWN_COMMAND = Reply.of(500, "Unknown command.")  # RFC 959 section 5.4
LINE_TOO_LONG = Reply.of(500, "Command line too long.")  # RFC 959 section 5.4
SYNTAX_ERROR = Reply.of(501, "Syntax error in argument.")  # RFC 959 section 5.4
ARGUMENT_REQUIRED = Reply.of(501, "Argument required.")  # RFC 959 section 5.4
NO_ARGUMENT_ALLOWED = Reply.of(501, "No argument allowed.")  # RFC 959 section 5.4
NOT_UTF8 = Reply.of(501, "Not valid UTF-8.")  # RFC 2640 section 2.2
CONTROL_CHARACTER = Reply.of(501, "Control character in command.")  # RFC 959 section 5.3.2
BAD_PORT_ARGUMENT = Reply.of(501, "Not a valid address and port.")  # RFC 959 section 5.3.2
UNKNOWN_OPTION = Reply.of(501, "Unknown option.")  # RFC 2389 section 4
UTF8_STAYS_ON = Reply.of(501, "UTF-8 cannot be switched off.")  # RFC 2389 section 4
NOT_A_DIRECTORY_TO_LIST = Reply.of(501, "Not a directory, use MLST.")  # RFC 3659 section 7
REST_NEEDS_BINARY = Reply.of(501, "REST needs TYPE I.")  # RFC 3659 section 5
NOT_IMPLEMENTED = Reply.of(502, "Command not implemented.")  # RFC 959 section 5.4
USER_FIRST = Reply.of(503, "Send USER first.")  # RFC 959 section 5.4 (PASS)
ALREADY_LOGGED_IN = Reply.of(503, "Already logged in.")  # RFC 959 section 5.4 (PASS)
RNFR_FIRST = Reply.of(503, "Send RNFR first.")  # RFC 959 section 5.4 (RNTO)
EPSV_ONLY = Reply.of(503, "Only EPSV is allowed after EPSV ALL.")  # RFC 2428 section 4
REST_IS_LOST = Reply.of(503, "Send REST right before STOR.")  # RFC 3659 section 5.3
NO_REST_BEFORE_APPE = Reply.of(503, "APPE goes to the end; REST is for STOR.")  # RFC 959 4.1.3
NOTHING_TO_RESUME = Reply.of(504, "A new file has nothing to resume.")  # RFC 959 section 5.4
BAD_PARAMETER = Reply.of(504, "Parameter not supported.")  # RFC 959 section 5.4
FOREIGN_ADDRESS = Reply.of(504, "Only your own address, port 1024 up.")  # RFC 2577 section 3
UNKNOWN_NETWORK = Reply.of(522, "Network protocol not supported, use (1,2)")  # RFC 2428 section 2
NOT_LOGGED_IN = Reply.of(530, "Please login with USER and PASS.")  # RFC 959 section 5.4
LOGIN_INCORRECT = Reply.of(530, "Login incorrect.")  # RFC 959 section 5.4
FILE_UNAVAILABLE = Reply.of(550, "File not available.")  # RFC 959 section 5.4
NO_RETRY = Reply.of(550, "An upload of this file broke off or goes on: begin anew.")  # RFC 959 5.4
PERMISSION_DENIED = Reply.of(550, "Permission denied.")  # RFC 959 section 5.4
FILE_TOO_LARGE = Reply.of(552, "File too large.")  # RFC 959 section 5.4
NAME_NOT_ALLOWED = Reply.of(553, "File name not allowed.")  # RFC 959 section 5.4
# Not 550, from which curl concludes that there is no file to download; nor a 4xx, after which lftp
# tries again.
NO_SIZE = Reply.of(554, "The last upload broke off: send the whole file.")  # RFC 1123 4.1.3.4
BAD_OFFSET = Reply.of(554, "Restart offset beyond the end of the file.")  # RFC 1123 4.1.3.4


def service_ready(banner: str) -> Reply:
    """The greeting; every line of `banner` becomes one of the reply (RFC 959 section 5.4)."""
    return Reply(SERVICE_READY.code, tuple(banner.splitlines()) or SERVICE_READY.lines)


def opening_data(size: int | None = None) -> Reply:
    """The preliminary reply of a transfer; `size` only for RETR in TYPE I: the bytes to be sent.

    Clients look for the first "(N bytes" in it, hence no file name, which could forge one.
    """
    if size is None:
        return OPENING_DATA
    return Reply.of(OPENING_DATA.code, f"Opening BINARY mode data connection ({size} bytes).")


def opening_unique(name: str) -> Reply:
    """The preliminary reply of STOU, in the form that RFC 1123 section 4.1.2.9 prescribes."""
    return Reply.of(OPENING_DATA.code, f"FILE: {name}")


def transfer_complete(
    size: int, crc64: int | None, seconds: float, unique_name: str | None = None
) -> Reply:
    """The receipt of an upload: what the store has acknowledged, and how long it all took.

    `size` is that of the whole file. `crc64` is printed as COS prints it in
    `x-cos-hash-crc64ecma`. `unique_name`, for STOU, is given in the words that Net::FTP looks for.
    """
    crc = "unknown" if crc64 is None else crc64
    unique = "" if unique_name is None else f" (unique file name:{unique_name})"
    return Reply.of(
        TRANSFER_COMPLETE.code,
        f"Transfer complete: {size} bytes, CRC64 {crc}, {seconds:.3f} seconds{unique}.",
    )


def interrupted(reason: Reply, size: int) -> Reply:
    """What is said of an upload that broke off for `reason`, and was kept as it was by then."""
    return aborted(f"{reason.text} {size} bytes are stored.")


def listing_cut(limit: int) -> Reply:
    """The end of a listing that stopped after `limit` entries."""
    return Reply.of(TRANSFER_COMPLETE.code, _cut(limit))


def _cut(limit: int) -> str:
    return f"Listing cut: only the first {limit} entries were sent."


def passive(host: str, port: int) -> Reply:
    """The address to connect to, IPv4 only; clients parse it (RFC 1123 section 4.1.2.6)."""
    numbers = f"{host.replace('.', ',')},{port >> 8},{port & 0xFF}"
    return Reply.of(227, f"Entering Passive Mode ({numbers}).")


def extended_passive(port: int) -> Reply:
    """The port to connect to, at the address of the control connection (RFC 2428 section 3)."""
    return Reply.of(229, f"Entering Extended Passive Mode (|||{port}|)")


def features(lines: Iterable[str]) -> Reply:
    """The answer to FEAT (RFC 2389 section 3.2)."""
    return Reply.of(211, "Features:", *lines, "End")


def status(lines: Iterable[str]) -> Reply:
    """The answer to STAT without an argument (RFC 959 section 5.4)."""
    return Reply.of(211, "Status:", *lines, "End")


def path_status(lines: Iterable[str], *, is_directory: bool, cut_at: int | None = None) -> Reply:
    """The answer to STAT with a path: listing lines, all or `cut_at` (RFC 959 section 5.4)."""
    end = "End" if cut_at is None else _cut(cut_at)
    return Reply.of(212 if is_directory else 213, "Status:", *lines, end)


def help_text(*lines: str) -> Reply:
    """The answer to HELP (RFC 959 section 5.4)."""
    return Reply.of(214, *lines)


def file_size(size: int) -> Reply:
    """The answer to SIZE, bytes in decimal and nothing else (RFC 3659 section 4)."""
    return Reply.of(213, str(size))


def modification_time(moment: datetime) -> Reply:
    """The answer to MDTM; `moment` is in UTC (RFC 3659 section 3)."""
    return Reply.of(213, format_time(moment))


def facts(line: str) -> Reply:
    """The answer to MLST: one line of facts and a path (RFC 3659 section 7.2)."""
    return Reply.of(250, "Listing:", line, "End")


def mlst_options(names: Iterable[str]) -> Reply:
    """The answer to OPTS MLST: the facts that are now on (RFC 3659 section 7.9)."""
    selected = "".join(f"{name};" for name in names)
    return Reply.of(COMMAND_OK.code, f"MLST OPTS {selected}".rstrip())


def working_directory(path: str) -> Reply:
    """The answer to PWD; quotes within the path are doubled (RFC 959 appendix II)."""
    return Reply.of(257, f'"{_double_quotes(path)}" is the current directory.')


def path_created(path: str) -> Reply:
    """The answer to MKD; `path` is absolute (RFC 959 appendix II)."""
    return Reply.of(257, f'"{_double_quotes(path)}" created.')


def _double_quotes(path: str) -> str:
    return path.replace('"', '""')


def rest_accepted(offset: int) -> Reply:
    """The answer to REST (RFC 3659 section 5)."""
    return Reply.of(350, f"Restarting at {offset}.")


def closing(text: str) -> Reply:
    """The last words before the server closes the connection (RFC 959 section 5.4)."""
    return Reply.of(TIMEOUT.code, text)


def aborted(text: str) -> Reply:
    """A transfer that broke off, and why (RFC 959 section 5.4)."""
    return Reply.of(ABORTED.code, text)


def file_busy(text: str) -> Reply:
    """A file that cannot be had at the moment, and why (RFC 959 section 5.4)."""
    return Reply.of(TRANSFER_IN_PROGRESS.code, text)


def local_error(text: str) -> Reply:
    """A failure that may pass, and why (RFC 959 section 5.4)."""
    return Reply.of(LOCAL_ERROR.code, text)


def file_unavailable(text: str) -> Reply:
    """A path that cannot be had, and why (RFC 959 section 5.4)."""
    return Reply.of(FILE_UNAVAILABLE.code, text)


def for_good(reply: Reply) -> Reply:
    """The same in the words of `reply`, to a client that must not repeat it by itself."""
    return file_unavailable(reply.text) if reply.code < 500 else reply


def preceded(reply: Reply, text: str) -> Reply:
    """A reply of one line with a sentence more in front (RFC 959 section 4.2)."""
    return Reply.of(reply.code, f"{text} {reply.text}")
