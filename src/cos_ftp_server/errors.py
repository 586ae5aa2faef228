"""The errors that cross layers; the root of every exception this package raises itself.

Owns the vocabulary of failures. It must not know FTP reply codes (`server` maps kinds to
replies) nor COS error codes (`cos` maps them to kinds).
"""

import enum
from dataclasses import dataclass

__all__ = ["ConfigError", "ConfigProblem", "ErrorKind", "GatewayError", "StorageError"]


class ErrorKind(enum.Enum):
    """What went wrong in storage, as far as a file-system user can tell."""

    # What `cos` reports.
    NOT_FOUND = "not found"
    NO_BUCKET = "no such bucket"
    NO_UPLOAD = "no such multipart upload"
    DENIED = "access denied"
    ARCHIVED = "archived object, restore it first"
    BLOCKED = "download refused by the store"
    CHANGED = "object changed meanwhile"
    CONFLICT = "concurrent write"
    BAD_RANGE = "offset beyond the end"
    BAD_NAME = "name not allowed"
    BAD_REQUEST = "request refused by the store"
    TOO_LARGE = "too large"
    INTEGRITY = "checksum or size mismatch"
    DAMAGED = "damaged on the way from the store"
    UNAVAILABLE = "store not available"
    # What `vfs` adds.
    EXISTS = "already exists"
    IS_DIRECTORY = "is a directory"
    NOT_DIRECTORY = "is not a directory"
    NOT_EMPTY = "directory not empty"
    NOT_RESUMABLE = "the last upload broke off, and nothing of it was kept"


class GatewayError(Exception):
    """Base of all errors raised on purpose by this package."""


class StorageError(GatewayError):
    """A storage operation failed.

    `temporary` says whether the same request may succeed later (FTP 4xx) or not (5xx).
    `code` and `request_id` are COS's own and, like `detail`, meant for the log: they never reach
    an FTP client. `aftermath` does: it says in our own words what is where now, if that is not
    as it was before. None of the fields ever holds a credential.
    """

    def __init__(
        self,
        kind: ErrorKind,
        *,
        operation: str,
        key: str = "",
        temporary: bool = False,
        status: int = 0,
        code: str = "",
        request_id: str = "",
        detail: str = "",
        aftermath: str = "",
    ) -> None:
        super().__init__(kind, operation, key)
        self.kind = kind
        self.operation = operation
        self.key = key
        self.temporary = temporary
        self.status = status
        self.code = code
        self.request_id = request_id
        self.detail = detail
        self.aftermath = aftermath

    def __str__(self) -> str:
        parts = [f"{self.operation} {self.key!r}: {self.kind.value}"]
        if self.status:
            parts.append(f"status={self.status}")
        if self.code:
            parts.append(f"code={self.code}")
        if self.request_id:
            parts.append(f"request_id={self.request_id}")
        if self.detail:
            parts[-1] += ":" * (len(parts) == 1)
            parts.append(self.detail)
        if self.aftermath:
            parts.append(self.aftermath)
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One mistake in a configuration file; `line` is 1-based, 0 when no line is to blame.

    A warning alone does not make the file unusable.
    """

    section: str
    key: str
    message: str
    line: int = 0
    is_warning: bool = False

    def located(self, source: str) -> str:
        """Return the mistake in one line, in front of it where in `source` it is."""
        where = source + (f":{self.line}" if self.line else "")
        name = f"[{self.section}] {self.key}".strip() if self.section else self.key
        return f"{where}: {name}: {self.message}" if name else f"{where}: {self.message}"


class ConfigError(GatewayError):
    """The configuration cannot be used; carries every problem found, never only the first."""

    def __init__(self, source: str, problems: tuple[ConfigProblem, ...]) -> None:
        super().__init__(source, problems)
        self.source = source
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(problem.located(self.source) for problem in self.problems)
