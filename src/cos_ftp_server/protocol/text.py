"""How names and times are written on an FTP connection, be it in a reply or in a listing."""

from datetime import date, datetime
from functools import lru_cache

__all__ = ["TWO_DIGITS", "escape_controls", "format_time", "has_controls"]

_CONTROLS = {code: "?" for code in (*range(0x20), 0x7F)}
TWO_DIGITS = tuple(f"{number:02d}" for number in range(60))
"""The fields of a date and a time; looking one up costs a third of formatting it."""


def escape_controls(text: str) -> str:
    """Return `text` with every ASCII control character replaced by "?".

    A name in a bucket may hold CR, LF or NUL; printed raw it could forge a reply or a
    listing line.
    """
    # Nearly every name is printable, and asking costs a tenth of translating.
    return text if text.isprintable() else text.translate(_CONTROLS)


def has_controls(text: str) -> bool:
    """Return whether `text` holds an ASCII control character."""
    return not text.isprintable() and any(ord(character) in _CONTROLS for character in text)


def format_time(moment: datetime) -> str:
    """Return `moment`, which is in UTC, as YYYYMMDDHHMMSS (RFC 3659 section 2.3)."""
    two = TWO_DIGITS
    day = _format_day(moment.toordinal())
    return f"{day}{two[moment.hour]}{two[moment.minute]}{two[moment.second]}"


@lru_cache(maxsize=4096)  # files come in days; saves half of the time
def _format_day(ordinal: int) -> str:
    day = date.fromordinal(ordinal)
    return f"{day.year:04d}{day.month:02d}{day.day:02d}"
