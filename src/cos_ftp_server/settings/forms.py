"""How single values are written in the configuration file: text → value, or words on what is wrong.

Owns the notation of values, and where a value may be kept instead (`env:`, `file:`). It must not
know which key a value belongs to.
"""

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import argon2
from argon2.exceptions import InvalidHashError
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "BOOLEAN",
    "BUCKET",
    "CREDENTIAL",
    "DIRECTORY",
    "ENDPOINT",
    "LISTEN_ADDRESSES",
    "MASQUERADE",
    "PASSWORD",
    "PATH",
    "PORT_RANGE",
    "PREFIX",
    "REGION",
    "TOKEN",
    "USER_NAME",
    "Form",
    "choice",
    "whole",
]


@dataclass(frozen=True, slots=True)
class Form:
    """One notation. As metadata of a pydantic field it reads the strings that the field is given.

    `expected` completes "right would be …". `parse` raises ValueError with what is wrong about
    the value, without repeating it. A `secret` value is never shown.
    """

    expected: str
    parse: Callable[[str], object]
    secret: bool = False

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def _read(self, value: object) -> object:
        return self.parse(value) if isinstance(value, str) else value


_LARGEST_SECRET = 64 * 1024
"""Bytes read of a file that holds one value: far more than any key, token or password has."""


def kept_elsewhere(form: Form) -> Form:
    """Return the form of a secret that may also be named by `env:NAME` or `file:PATH`."""

    def parse(text: str) -> object:
        return form.parse(_fetch(text))

    return Form(f"{form.expected}, or env:NAME, or file:PATH", parse, secret=True)


def _fetch(text: str) -> str:
    """Return what `text` names, or `text` itself."""
    kind, colon, place = text.partition(":")
    if colon and kind == "env":
        if place not in os.environ:
            raise ValueError(f"names the environment variable {place!r}, which is not set")
        return os.environ[place]
    if colon and kind == "file":
        return _read_secret(place)
    return text


def _read_secret(path: str) -> str:
    """Return a file's content without the one line end that editors put there."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST_SECRET).decode()
    except OSError as error:
        raise ValueError(f"names the file {path!r}, which cannot be read: {error.strerror}") from (
            error
        )
    except ValueError:  # not UTF-8, or a NUL in the path; the cause would show the content
        raise ValueError(f"names the file {path!r}, which is not a text file in UTF-8") from None
    return content.removesuffix("\n").removesuffix("\r")


def whole(low: int, high: int | None = None, *, unit: str = "") -> Form:
    """Return the form of a whole number from `low` to `high` inclusive."""
    bounds = f"from {low} to {high}" if high is not None else f"of at least {low}"
    expected = f"a whole number {f'of {unit} ' if unit else ''}{bounds}"

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,20}", text):
            raise ValueError("is not a whole number")
        number = int(text)
        if number < low or (high is not None and number > high):
            raise ValueError("is out of range")
        return number

    return Form(expected, parse)


def choice(*values: str, **aliases: str) -> Form:
    """Return the form of one word out of `values`, in any case; `aliases` are understood too."""
    words = {value.casefold(): value for value in values} | aliases

    def parse(text: str) -> str:
        if text.casefold() not in words:
            raise ValueError("is not known")
        return words[text.casefold()]

    return Form(" or ".join(values), parse)


# The words of the standard library's configparser.getboolean, which older files were read with.
_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


def _parse_boolean(text: str) -> bool:
    if text.casefold() not in _BOOLEANS:
        raise ValueError("is neither true nor false")
    return _BOOLEANS[text.casefold()]


_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = rf"{_LABEL}(\.{_LABEL})*"  # labels of 1 to 63 characters: RFC 1035, 2.3.4

# What the example file shows where an operator's own value belongs.
_PLACEHOLDER = re.compile(r"(AKID)?[xX]{3,}|.*\{.*|[a-z]+-[xX]{3,}(\..*)?")


def _matching(pattern: str, reason: str) -> Callable[[str], str]:
    """Return a parser of text that matches all of `pattern` and is no placeholder."""
    compiled = re.compile(pattern)

    def parse(text: str) -> str:
        if not text:
            raise ValueError("is empty")
        if _PLACEHOLDER.fullmatch(text):
            raise ValueError("is a placeholder that has not been filled in")
        if not compiled.fullmatch(text):
            raise ValueError(reason)
        return text

    return parse


_parse_endpoint_host = _matching(rf"{_HOST_NAME}(:[0-9]{{1,5}})?", "is not a host")
_parse_region_name = _matching("[a-z0-9-]+", "is no region name")


def _parse_endpoint(text: str) -> str | None:
    if not text:
        return None
    port = _parse_endpoint_host(text).rpartition(":")[2]
    if port.isdecimal() and not 1 <= int(port) <= 65535:
        raise ValueError("has a port that is not within 1 to 65535")
    return text


def _parse_region(text: str) -> str | None:
    """Return the region; None if it was left empty or as in the example file."""
    return _parse_region_name(text) if text and not _PLACEHOLDER.fullmatch(text) else None


def _parse_text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def _parse_password(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    if text.startswith("$argon2"):
        try:
            kind = argon2.extract_parameters(text).type
        except InvalidHashError:
            raise ValueError("is a damaged hash") from None
        if kind is not argon2.Type.ID:
            raise ValueError("is a hash of another kind than argon2id")
    return text


def _parse_directory(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return "/" + os.path.abspath(text).lstrip("/")  # relative to where the server is started


def _parse_prefix(text: str) -> str:
    """Return "" or a key prefix that ends with "/" and begins with none."""
    inner = text.strip("/")
    if not inner:
        return ""
    parts = inner.split("/")
    if ".." in parts or "." in parts:
        raise ValueError("has '.' or '..' in it")
    if "" in parts:
        raise ValueError("has an empty name in it")
    if inner.startswith("\\") or any(c < " " or c == "\x7f" for c in inner):
        raise ValueError("has characters that object keys must not have")
    if len(inner.encode()) >= _LONGEST_PREFIX:
        raise ValueError(f"is longer than {_LONGEST_PREFIX} bytes")
    return f"{inner}/"


_LONGEST_PREFIX = 600
"""Bytes. COS: an object key has at most 850; the rest is for what users store."""

_IPV4_LOOKALIKE = re.compile(r"(.*\.)?[0-9]+")


def _parse_masquerade(text: str) -> str | None:
    """Return an IPv4 address or a host name, None for "not set" (empty, or XXX.XXX.XXX.XXX)."""
    if not text or re.fullmatch(r"[xX]{1,3}(\.[xX]{1,3}){3}", text):
        return None
    if ":" in text:
        raise ValueError("is no IPv4 address, and PASV replies carry IPv4 only (RFC 959, 4.1.2)")
    if _IPV4_LOOKALIKE.fullmatch(text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise ValueError("is no valid IPv4 address") from None
    if not re.fullmatch(_HOST_NAME, text):
        raise ValueError("is neither an IPv4 address nor a host name")
    return text


def _parse_listen_addresses(text: str) -> tuple[str, ...]:
    addresses = []
    for item in text.split(","):
        if not item.strip():
            raise ValueError("has no IP address" if not text.strip() else "has an empty item")
        try:
            addresses.append(str(ipaddress.ip_address(item.strip())))
        except ValueError:
            raise ValueError(f"has {item.strip()!r}, which is no IP address") from None
    return tuple(dict.fromkeys(addresses))


def _parse_port_range(text: str) -> tuple[int, int]:
    """Return (first, last), both included. A lone first port goes up to 65535."""
    match = re.fullmatch(r"([0-9]{1,5})(?:\s*,\s*([0-9]{1,5}))?", text)
    if not match:
        raise ValueError("is not a range of ports")
    first, last = int(match[1]), int(match[2] or 65535)
    if not 1 <= first <= last <= 65535:
        raise ValueError("is not a rising range within 1 to 65535")
    return first, last


BOOLEAN = Form("true or false", _parse_boolean)
BUCKET = Form(
    "the full name of a bucket, NAME-APPID, such as example-1250000000",
    _matching(
        r"[a-z0-9]([a-z0-9-]*[a-z0-9])?-[0-9]+",
        "is not lower-case letters, digits and hyphens with the APPID after the last hyphen",
    ),
)
CREDENTIAL = kept_elsewhere(
    Form(
        "an API key as the COS console shows it",
        _matching("[!-~]+", "has characters that no API key has"),
    )
)
DIRECTORY = Form("a directory that exists, such as /home/user0", _parse_directory)
ENDPOINT = Form(
    "a host name with an optional :PORT and nothing else, such as cos.example.com",
    _parse_endpoint,
)
LISTEN_ADDRESSES = Form(
    "IP addresses of this machine, with commas between them, such as 0.0.0.0, ::",
    _parse_listen_addresses,
)
MASQUERADE = Form("the IPv4 address or the host name that clients reach", _parse_masquerade)
PASSWORD = kept_elsewhere(
    Form("the password itself, or what 'cos-ftp-server hash-password' prints", _parse_password)
)
PATH = Form("the path of a directory", _parse_text)
PORT_RANGE = Form("FIRST,LAST such as 60000,65535", _parse_port_range)
PREFIX = Form("a directory of the bucket, such as cameras/yard", _parse_prefix)
REGION = Form("the name of a COS region, such as ap-guangzhou", _parse_region)
TOKEN = kept_elsewhere(
    Form(
        "the token that belongs to temporary keys",
        _matching("[!-~]+", "has characters that no token has"),
    )
)
USER_NAME = Form("a name that is not empty", _parse_text)
