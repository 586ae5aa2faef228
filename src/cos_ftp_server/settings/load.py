"""Configuration file → `Settings`, or every reason why not.

Owns the way from a path to settings, and the checks that need the machine (directories, free
memory). It must not know what a single key means.
"""

import difflib
import os
import shlex
import stat
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from cos_ftp_server.errors import ConfigError, ConfigProblem
from cos_ftp_server.settings.ini import IniDocument, IniSection, parse_ini
from cos_ftp_server.settings.model import AccountSettings, Section, Settings

__all__ = ["LoadedSettings", "available_memory", "load_settings"]

ACCOUNT_PREFIX = "COS_ACCOUNT"

SESSION_MEMORY = 64 * 1024
"""Bytes to allow for a session: asyncio lets a transport buffer this much before it pauses."""

MEMORY_SHARE = 0.6
"""Share of the available memory that settings may ask for (`config_check_enable`)."""


_S = TypeVar("_S", bound=Section)


class LoadedSettings(NamedTuple):
    """Settings, and what looks wrong in their file without being an error."""

    settings: Settings
    warnings: tuple[ConfigProblem, ...]


def load_settings(path: str | os.PathLike[str]) -> LoadedSettings:
    """Read and check the file at `path`. Blocks: for start-up, or a thread.

    Raises ConfigError with all problems, in the order of the file.
    """
    source = os.fspath(path)
    loader = _Loader()
    try:
        with open(path, "rb") as file:
            content = file.read()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        words = f"cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            words += "; copy conf/vsftpd.conf.example to it and fill it in"
        raise ConfigError(source, (ConfigProblem("", "", words),)) from error
    if mode & stat.S_IROTH:
        loader.warn("", "", "every user of this machine can read the secrets in it; chmod 600 it")
    settings = loader.load(parse_ini(content))
    if settings is None:
        # A mistyped key often explains why another one is missing: warnings belong in the list.
        warnings = [replace(item, message=f"warning: {item.message}") for item in loader.warnings]
        found = sorted(loader.problems + warnings, key=lambda item: item.line or sys.maxsize)
        raise ConfigError(source, tuple(found))
    return LoadedSettings(settings, tuple(loader.warnings))


def available_memory() -> int | None:
    """Return the bytes that can be had without swapping, None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    return None


# Section name in the file → field of Settings and its model.
_SECTIONS: dict[str, tuple[str, type[Section]]] = {
    name.upper(): (name, declared.annotation)
    for name, declared in Settings.model_fields.items()
    if isinstance(declared.annotation, type) and issubclass(declared.annotation, Section)
}


class _Loader:
    """Gathers settings, problems and warnings on the way through one file."""

    def __init__(self) -> None:
        self.problems: list[ConfigProblem] = []
        self.warnings: list[ConfigProblem] = []

    def load(self, document: IniDocument) -> Settings | None:
        """Return the settings; None if there are `problems`."""
        self.problems.extend(document.problems)
        sections: dict[str, Section] = {}
        accounts: list[AccountSettings] = []
        declared: list[IniSection] = []
        for section in document.sections:
            name = section.name.upper()
            if name.startswith(ACCOUNT_PREFIX):
                declared.append(section)
                account = self._build(AccountSettings, section, section=section.name)
                accounts += [account] if account else []
            elif name in _SECTIONS:
                field_name, model = _SECTIONS[name]
                if built := self._build(model, section):
                    sections[field_name] = built
            else:
                known = (*_SECTIONS, f"{ACCOUNT_PREFIX}_0")
                self.warn(section.name, "", _unknown("section", name, known), section.line)
        self._check_accounts(declared)
        if self.problems:
            return None
        settings = Settings.model_validate({"accounts": tuple(accounts), **sections})
        self._check_memory(settings)
        return settings if not self.problems else None

    def warn(self, section: str, key: str, message: str, line: int = 0) -> None:
        """Note something that does not keep the settings from being used."""
        self.warnings.append(ConfigProblem(section, key, message, line))

    def _report(self, section: IniSection, key: str, message: str) -> None:
        entry = section.entries.get(key)
        line = entry.line if entry else section.line
        self.problems.append(ConfigProblem(section.name, key, message, line))

    def _build(self, model: type[_S], section: IniSection, /, **extra: str) -> _S | None:
        """Return `section` as `model`; None if that failed. `extra` are fields that are no keys."""
        forms = model.keys()
        values = {key: entry.value for key, entry in section.entries.items() if key in forms}
        for key in section.entries.keys() - values.keys():
            self.warn(section.name, key, _unknown("key", key, forms), section.entries[key].line)
        try:
            return model.model_validate(values | extra)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                key = str(detail["loc"][0])
                reason = detail["msg"]
                if detail["type"] == "missing":
                    reason = "is required"
                elif "error" in detail.get("ctx", {}):
                    reason = str(detail["ctx"]["error"])
                if key in values:
                    shown = "the value" if forms[key].secret else repr(values[key])
                    reason = f"{shown} {reason}"
                self._report(section, key, f"{reason}; right would be {forms[key].expected}")
            return None

    def _check_accounts(self, sections: Collection[IniSection]) -> None:
        """Check what no account can know by itself, also of accounts that have other problems."""
        if not sections and not self.problems:
            message = f"has no [{ACCOUNT_PREFIX}_0] section; there must be one for each FTP user"
            self.problems.append(ConfigProblem("", "", message))
        for key in ("ftp_login_user_name", "home_dir"):
            parse = AccountSettings.keys()[key].parse
            owners: dict[object, IniSection] = {}
            for section in sections:
                if key not in section.entries:
                    continue
                try:
                    value = parse(section.entries[key].value)
                except ValueError:
                    continue  # reported when the account was built
                owner = owners.setdefault(value, section)
                if owner is not section:
                    message = (
                        f"{str(value)!r} is the {key} of both [{owner.name}] (line "
                        f"{owner.entries[key].line}) and [{section.name}]; each needs its own"
                    )
                    self._report(section, key, message)
                elif key == "home_dir" and not os.path.isdir(str(value)):
                    message = (
                        f"{str(value)!r} is no directory on this machine; "
                        f"mend with: mkdir -p {shlex.quote(str(value))}"
                    )
                    self._report(section, key, message)

    def _check_memory(self, settings: Settings) -> None:
        optional = settings.optional
        if optional.min_part_size > optional.buffer_memory:
            message = (
                f"{optional.min_part_size} is more than buffer_memory ({optional.buffer_memory}); "
                "right would be less, or a larger buffer_memory"
            )
            self.problems.append(ConfigProblem("OPTIONAL", "min_part_size", message))
        available = available_memory()
        if not optional.config_check_enable or available is None:
            return
        needed = optional.buffer_memory + optional.max_connection_num * SESSION_MEMORY
        if needed > available * MEMORY_SHARE:
            message = (
                f"{optional.buffer_memory} bytes with {optional.max_connection_num} connections "
                f"could take {needed} bytes in all, more than {MEMORY_SHARE:.0%} of the "
                f"{available} that are available; right would be less, or "
                "config_check_enable = false"
            )
            self.problems.append(ConfigProblem("OPTIONAL", "buffer_memory", message))


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"unknown {what}, ignored" + (f"; did you mean {nearest[0]}?" if nearest else "")
