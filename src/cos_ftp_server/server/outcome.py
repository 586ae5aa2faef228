"""The only table from what went wrong to what the client is told.

It must not know commands. The words are ours: keys, codes and request ids of the store stay in the
log.
"""

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.errors import ProtocolError
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server.data import DataConnectionError, NoDataConnectionError

__all__ = ["is_client_mistake", "reply_to"]

_WORDS = {
    ErrorKind.NOT_FOUND: "No such file or directory.",
    ErrorKind.NO_BUCKET: "Storage is not available.",
    ErrorKind.NO_UPLOAD: "The upload was ended by somebody else.",
    ErrorKind.DENIED: "Permission denied.",
    ErrorKind.ARCHIVED: "The file is archived and must be restored first.",
    ErrorKind.BLOCKED: "The store refuses to hand out this file.",
    ErrorKind.CHANGED: "The file was changed meanwhile.",
    ErrorKind.CONFLICT: "Somebody else is changing this file.",
    ErrorKind.BAD_REQUEST: "The store refused the request.",
    ErrorKind.INTEGRITY: "The stored data did not match and was not kept.",
    ErrorKind.DAMAGED: "What came of it is not right: get the whole file.",
    ErrorKind.UNAVAILABLE: "Storage is not available.",
    ErrorKind.EXISTS: "It exists already.",
    ErrorKind.IS_DIRECTORY: "Is a directory.",
    ErrorKind.NOT_DIRECTORY: "Not a directory.",
    ErrorKind.NOT_EMPTY: "Directory not empty.",
    ErrorKind.NOT_RESUMABLE: "Nothing was kept of the last upload: send the whole file.",
    ErrorKind.BAD_RANGE: "Restart offset beyond the end of the file.",
    ErrorKind.BAD_NAME: "File name not allowed.",
    ErrorKind.TOO_LARGE: "File too large.",
}

# What somebody else is doing to the file may be over soon, whatever the store calls it.
_BUSY = {kind: replies.file_busy(_WORDS[kind]) for kind in (ErrorKind.CHANGED, ErrorKind.CONFLICT)}

_PERMANENT = (
    {kind: replies.file_unavailable(words) for kind, words in _WORDS.items()}
    | _BUSY
    | {
        ErrorKind.BAD_RANGE: replies.BAD_OFFSET,
        ErrorKind.BAD_NAME: replies.NAME_NOT_ALLOWED,
        ErrorKind.TOO_LARGE: replies.FILE_TOO_LARGE,
    }
)

_TEMPORARY = (
    {kind: replies.local_error(words) for kind, words in _WORDS.items()}
    | _BUSY
    | {
        ErrorKind.UNAVAILABLE: replies.STORE_UNAVAILABLE,
    }
)

_CLIENT_MISTAKES = {
    ErrorKind.NOT_FOUND,
    ErrorKind.EXISTS,
    ErrorKind.IS_DIRECTORY,
    ErrorKind.NOT_DIRECTORY,
    ErrorKind.NOT_EMPTY,
    ErrorKind.BAD_NAME,
    ErrorKind.BAD_RANGE,
}


def reply_to(error: BaseException) -> Reply | None:
    """Return what to answer to an expected error, None if nobody expected it."""
    match error:
        case ProtocolError():
            return error.reply
        case StorageError():
            reply = (_TEMPORARY if error.temporary else _PERMANENT)[error.kind]
            return replies.preceded(reply, error.aftermath) if error.aftermath else reply
        case DataConnectionError():
            return replies.DATA_TIMEOUT if error.timed_out else replies.DATA_CONNECTION_LOST
        case NoDataConnectionError():
            return replies.NO_DATA_CONNECTION
        case _:
            return None


def is_client_mistake(error: Exception) -> bool:
    """Whether an operator need not hear of it: clients probe for names all the time."""
    if isinstance(error, StorageError):
        if error.kind is ErrorKind.DENIED:
            return not error.status  # the store was not asked: it is about the root
        return error.kind in _CLIENT_MISTAKES and not error.temporary
    return isinstance(error, ProtocolError)
