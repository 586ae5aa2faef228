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
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from cos_ftp_server.errors import ConfigError, ConfigProblem
from cos_ftp_server.settings.ini import IniDocument, IniSection, parse_ini
from cos_ftp_server.settings.memory import (
    MEMORY_SHARE,
    Need,
    available_memory,
    largest_file,
    largest_part,
)
from cos_ftp_server.settings.model import (
    LEAST_BUFFER_MEMORY,
    AccountSettings,
    FileOptionSettings,
    NetworkSettings,
    OptionalSettings,
    Section,
    Settings,
)

__all__ = ["LoadedSettings", "load_settings"]

ACCOUNT_PREFIX = "COS_ACCOUNT"

_S = TypeVar("_S", bound=Section)


class LoadedSettings(NamedTuple):
    """Settings, and what looks wrong in their file without being an error."""

    settings: Settings
    warnings: tuple[ConfigProblem, ...]


def load_settings(path: str | os.PathLike[str], *, at_start: bool = True) -> LoadedSettings:
    """Read and check the file at `path`. Blocks: for start-up, or a thread.

    `at_start`: whether to check what matters only then, that the settings fit into the memory that
    is free, and that `log_dir` can be written. Raises ConfigError with all problems, in the order
    of the file.
    """
    source = os.fspath(path)
    loader = _Loader(at_start)
    try:
        with open(path, "rb") as file:
            content = file.read()
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        words = f"cannot be read: {error.strerror}"
        if isinstance(error, FileNotFoundError):
            words += (
                "; copy conf/vsftpd.conf.example to it and fill it in, or give another --config"
            )
        raise ConfigError(source, (ConfigProblem("", "", words),)) from error
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        who = "every user of this machine" if mode & stat.S_IROTH else "its group"
        loader.warn(
            "", "", f"{who} can read the secrets in it; mend with: chmod 600 {shlex.quote(source)}"
        )
    settings = loader.load(parse_ini(content))
    if settings is None:
        # A mistyped key often explains why another one is missing: warnings belong in the list.
        found = sorted(loader.problems + loader.warnings, key=lambda item: item.line or sys.maxsize)
        raise ConfigError(source, tuple(found))
    return LoadedSettings(settings, tuple(loader.warnings))


# Section name in the file → field of Settings and its model.
_SECTIONS: dict[str, tuple[str, type[Section]]] = {
    name.upper(): (name, declared.annotation)
    for name, declared in Settings.model_fields.items()
    if isinstance(declared.annotation, type) and issubclass(declared.annotation, Section)
}


class _Loader:
    """Gathers settings, problems and warnings on the way through one file."""

    def __init__(self, at_start: bool) -> None:
        self._is_at_start = at_start
        self.problems: list[ConfigProblem] = []
        self.warnings: list[ConfigProblem] = []
        self._sections: dict[str, IniSection] = {}

    def load(self, document: IniDocument) -> Settings | None:
        """Return the settings; None if there are `problems`."""
        for problem in document.problems:
            (self.warnings if problem.is_warning else self.problems).append(problem)
        sections: dict[str, Section] = {}
        accounts: list[AccountSettings] = []
        declared: list[IniSection] = []
        for section in document.sections:
            name = section.name.upper()
            self._sections[name] = section
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
        self._check_memory(sections)
        self._check_keeping(accounts, sections)
        self._check_addresses(accounts)
        self._check_ports(sections)
        self._check_log_dir(sections)
        if self.problems:
            return None
        return Settings.model_validate({"accounts": tuple(accounts), **sections})

    def warn(self, section: str, key: str, message: str, line: int = 0) -> None:
        """Note something that does not keep the settings from being used."""
        self.warnings.append(ConfigProblem(section, key, message, line, is_warning=True))

    def _report(self, section: IniSection, key: str, message: str) -> None:
        entry = section.entries.get(key)
        line = entry.line if entry else section.line
        self.problems.append(ConfigProblem(section.name, key, message, line))

    def _build(self, model: type[_S], section: IniSection, /, **extra: str) -> _S | None:
        """Return `section` as `model`; None if that failed. `extra` are fields that are no keys."""
        forms = model.keys()
        values = {key: entry.value for key, entry in section.entries.items() if key in forms}
        for key in section.entries.keys() - values.keys():
            words = _unknown_key(key, model, forms)
            self.warn(section.name, key, words, section.entries[key].line)
        try:
            return model.model_validate(values | extra)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                key = str(detail["loc"][0])
                if key in section.entries and not section.entries[key].is_utf8:
                    continue  # reported when the file was read
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
                if key not in section.entries or not section.entries[key].is_utf8:
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

    def _check_memory(self, sections: dict[str, Section]) -> None:
        """Check the sizes in `[OPTIONAL]`, and lower what must fit; not one that has problems."""
        declared = self._sections.get("OPTIONAL", IniSection("OPTIONAL", 0))
        optional = sections.get("optional", None if declared.line else OptionalSettings())
        if isinstance(optional, OptionalSettings):
            optional = self._fit_memory(declared, optional)
            self._compare_part(declared, optional)
            file_option = sections.get("file_option", FileOptionSettings())
            if isinstance(file_option, FileOptionSettings):
                self._compare_file(file_option, optional)
            sections["optional"] = optional

    def _check_addresses(self, accounts: Collection[AccountSettings]) -> None:
        """Warn of accounts that cannot know that they share a bucket."""
        first: dict[str, AccountSettings] = {}
        for account in accounts:
            other = first.setdefault(account.cos_bucket, account)
            where, there = ((a.cos_endpoint or a.cos_region) for a in (account, other))
            if where != there:
                words = (
                    f"{account.cos_bucket!r} is reached at {where} here, at {there} in "
                    f"[{other.section}]; if that is one bucket, give both the same address, "
                    "or what one account changes the other does not see at once"
                )
                entry = self._sections[account.section.upper()].entries["cos_bucket"]
                self.warn(account.section, "cos_bucket", words, entry.line)

    def _check_keeping(
        self, accounts: Collection[AccountSettings], sections: dict[str, Section]
    ) -> None:
        """Warn of parts that could be neither resumed nor replaced."""
        optional = sections.get("optional")
        if not isinstance(optional, OptionalSettings) or optional.interrupted_upload != "keep":
            return
        for account in accounts:
            if not account.overwrite_enable:
                words = (
                    "false does not go with interrupted_upload = keep: "
                    "who may not replace a file cannot resume it either"
                )
                entry = self._sections[account.section.upper()].entries["overwrite_enable"]
                self.warn(account.section, "overwrite_enable", words, entry.line)

    def _check_ports(self, sections: dict[str, Section]) -> None:
        network = sections.get("network")
        if not isinstance(network, NetworkSettings):
            return
        first, last = network.passive_port
        if first <= network.listen_port <= last:
            entries = self._sections["NETWORK"].entries
            entry = entries.get("passive_port") or entries["listen_port"]
            words = (
                f"{first},{last} contains listen_port ({network.listen_port}), "
                "which no data connection can have; right would be a range without it"
            )
            self.warn("NETWORK", "passive_port", words, entry.line)

    def _check_log_dir(self, sections: dict[str, Section]) -> None:
        """Warn of a directory that cannot be written, as a server without log files still serves.

        Nothing is made: whoever checks may be another user than the server's.
        """
        optional = sections.get("optional")
        if not self._is_at_start or not isinstance(optional, OptionalSettings):
            return
        for directory in (optional.log_dir, optional.log_dir / "uploads"):
            if obstacle := _writing_obstacle(directory):
                declared = self._sections.get("OPTIONAL", IniSection("OPTIONAL", 0))
                entry = declared.entries.get("log_dir")
                words = (
                    f"{str(directory)!r} cannot be made or written: {obstacle}; without it there "
                    "are no log files, and a kill may leave multipart uploads behind: make it, "
                    "and let the server's user write there, or name another one"
                )
                self.warn("OPTIONAL", "log_dir", words, entry.line if entry else 0)
                return

    def _fit_memory(self, declared: IniSection, optional: OptionalSettings) -> OptionalSettings:
        """Return the settings with as much buffer memory as this machine allows.

        What the file demands is taken or refused; only the default is made to fit, so that a
        file that does not know the key works on a small machine.
        """
        available = available_memory() if self._is_at_start else None
        if not optional.config_check_enable or available is None:
            return optional
        need = Need(
            buffer_memory=optional.buffer_memory,
            connections=optional.max_connection_num,
            logins=optional.max_login_users,
        )
        limit = int(available * MEMORY_SHARE)
        if need.bytes <= limit:
            return optional
        fitting = need.largest_buffer(limit)
        if "buffer_memory" not in optional.model_fields_set and fitting >= LEAST_BUFFER_MEMORY:
            words = f"set to {fitting} bytes instead of {optional.buffer_memory}: memory is short"
            self.warn("OPTIONAL", "buffer_memory", words)
            return optional.model_copy(update={"buffer_memory": fitting})
        message = (
            f"{optional.buffer_memory} bytes, with max_connection_num = {need.connections} and "
            f"max_login_users = {need.logins}, could take {need.bytes} bytes in all, more than "
            f"{MEMORY_SHARE:.0%} of the {available} that are free; right would be a lower "
            "buffer_memory, max_login_users or max_connection_num, or config_check_enable = false"
        )
        self._report(declared, "buffer_memory", message)
        return optional

    def _compare_part(self, declared: IniSection, optional: OptionalSettings) -> None:
        most = largest_part(optional.buffer_memory)
        entry = declared.entries.get("min_part_size")
        if entry and optional.min_part_size > most:
            words = (
                f"{optional.min_part_size} is more than buffer_memory "
                f"({optional.buffer_memory}) allows: parts will have {most} bytes"
            )
            self.warn("OPTIONAL", "min_part_size", words, entry.line)

    def _compare_file(self, file_option: FileOptionSettings, optional: OptionalSettings) -> None:
        wanted, most = file_option.single_file_max_size, largest_file(optional.buffer_memory)
        declared = self._sections.get("FILE_OPTION", IniSection("FILE_OPTION", 0))
        entry = declared.entries.get("single_file_max_size")
        if wanted > most:
            words = (
                f"{wanted} is more than COS's 10,000 parts hold with buffer_memory = "
                f"{optional.buffer_memory}: files of more than {most} bytes will be refused"
            )
            line = entry.line if entry else 0
            self.warn("FILE_OPTION", "single_file_max_size", words, line)


def _writing_obstacle(directory: Path) -> str:
    """Return why no file can be created in `directory`, which may be missing; "" if it can."""
    while not os.path.lexists(directory) and directory != directory.parent:
        directory = directory.parent
    try:
        with TemporaryFile(dir=directory):  # without a name, where the file system can do that
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _unknown_key(key: str, model: type[Section], known: Collection[str]) -> str:
    homes = {name: declared for name, (_, declared) in _SECTIONS.items()}
    homes[f"{ACCOUNT_PREFIX}_…"] = AccountSettings
    for name, declared in homes.items():
        if declared is not model and key in declared.keys():  # noqa: SIM118 -- no dict
            return f"unknown key here, ignored; it belongs into [{name}]"
    return _unknown("key", key, known)


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"unknown {what}, ignored" + (f"; did you mean {nearest[0]}?" if nearest else "")
