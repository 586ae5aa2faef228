"""The reference of all settings, made of their declarations: `python -m` this module prints it.

Owns the page's words between the tables. It must not know what a single key means.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cos_ftp_server.settings.model import AccountSettings, Section, Settings

__all__ = ["reference"]

_INTRODUCTION = """\
# Settings

The keys of `conf/vsftpd.conf`. This page is made from their declarations (`make docs`).

The file is INI in UTF-8: `[SECTION]`, then lines of `key = value`. A comment begins with `#` or
`;` at the start of a line or after white space, so that a password may contain both but no
white space before them. Sections may come in any order. Section names and keys may be written
in upper or lower case, and so may `true` and `false`, `yes` and `no`, `on` and `off`.

`cos-ftp-server check` tells everything that is wrong with a file at once, and what would be
right; `cos-ftp-server check --online` also tries each account against its bucket. A key that
does not exist is a warning. `kill -HUP` lets a running server read the file again: accounts and
`log_level` count from then on, other keys after a restart.

Where `env:NAME` and `file:PATH` are allowed, the value is that of an environment variable, or
what is in a file, without the line end at its end. Both are read when the configuration file
is."""

_ABOUT_ACCOUNTS = """\
There is a section for each FTP user. `ftp_login_user_name` and `home_dir` must be different in
all of them; the bucket may be the same ([an example](deploying.md#several-users-on-one-bucket))."""

_ABOUT_OPTIONAL = "Each of these keys may be given the word `default`."


def reference() -> str:
    """Return the page in Markdown."""
    return "\n".join([*_page(), ""])


def _page() -> Iterator[str]:
    yield _INTRODUCTION
    yield from _section("COS_ACCOUNT_0], [COS_ACCOUNT_1], …", AccountSettings, _ABOUT_ACCOUNTS)
    for name, declared in Settings.model_fields.items():
        model = declared.annotation
        if isinstance(model, type) and issubclass(model, Section):
            about = _ABOUT_OPTIONAL if name == "optional" else ""
            yield from _section(f"{name.upper()}]", model, about)


def _section(title: str, model: type[Section], about: str) -> Iterator[str]:
    yield f"\n## [{title}\n"
    if about:
        yield f"{about}\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, form in model.keys().items():
        declared = model.model_fields[key]
        cells = (f"`{key}`", form.expected, _default(declared), declared.description or "")
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(declared: FieldInfo) -> str:
    value = declared.default
    if value is PydanticUndefined:
        return "required"
    if value is None or value == "":
        return ""
    return f"`{_written(value)}`"


def _written(value: object) -> str:
    """Return a value as the file has it."""
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return ",".join(map(str, value))
        case Path() | str() | int():
            return str(value)
    raise TypeError(f"no notation for {type(value).__name__}")


if __name__ == "__main__":
    print(reference(), end="")
