"""The command line: arguments in, exit code out.

Owns the commands, their words and the exit codes: 0 good, 1 cannot start (one line per reason on
stderr), 2 bad arguments (one line). It must not know how anything is served.
"""

import asyncio
import errno
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from cos_ftp_server.errors import ConfigError, GatewayError
from cos_ftp_server.lifecycle import run, run_service
from cos_ftp_server.logs import LogFiles, logging_to
from cos_ftp_server.settings import Settings, load_settings

# What a command runs is imported by it: `check` and `--help` answer without loading servers.

__all__ = ["main", "parse_duration"]

_log = logging.getLogger(__name__)

PROGRAM = "cos-ftp-server"

EXIT_FAILED = 1
EXIT_USAGE = 2

_CONFIG_OPTION = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),  # told by who reads it
    default=Path("conf/vsftpd.conf"),
    show_default=True,
    help="Configuration file.",
)


class _Port(click.IntRange):
    """A TCP port; 0 is any free one."""

    name = "port"

    def __init__(self) -> None:
        super().__init__(0, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number from 0 to 65535", param, ctx)


_DURATION = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """Return what `90s`, `30m`, `24h` or `7d` means. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a number of s, m, h or d, such as 24h")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _duration(_context: click.Context, _option: click.Parameter, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; `arguments` default to the process's own."""
    try:
        commands.main(arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.UsageError as error:
        _complain(_usage_words(error))
        return EXIT_USAGE
    except click.ClickException as error:
        _complain(error.format_message())
    except click.Abort:
        _complain("aborted")
    except ConfigError as error:
        for problem in error.problems:
            label = "warning" if problem.is_warning else "error"
            click.echo(f"{PROGRAM}: {label}: {problem.located(error.source)}", err=True)
    except OSError as error:
        words = error.strerror or str(error)
        _complain(f"{error.filename}: {words}" if error.filename else words)
    except GatewayError as error:
        _complain(str(error))
    else:
        return 0
    return EXIT_FAILED


def _usage_words(error: click.UsageError) -> str:
    """Return what is wrong, and where the commands are listed if none of them was named."""
    words = error.format_message()
    is_general = error.ctx is not None and error.ctx.command is commands
    # What ends otherwise asks "Did you mean …?".
    if is_general and words.endswith("."):
        return f"{words[:-1]}; see {PROGRAM} --help"
    return words


def _complain(message: str) -> None:
    click.echo(f"{PROGRAM}: error: {message}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=False)
@click.version_option(package_name=PROGRAM, message="%(prog)s %(version)s")
def commands() -> None:
    """An FTP server whose disk is Tencent COS (Cloud Object Storage)."""


@commands.command()
@_CONFIG_OPTION
def serve(config: Path) -> None:
    """Run the FTP server until SIGINT or SIGTERM.

    SIGHUP reads the configuration file again.
    """
    settings = _load(config)

    from cos_ftp_server.app import Gateway

    optional = settings.optional
    files = LogFiles(
        directory=optional.log_dir,
        when=optional.log_rotate_when if optional.log_rotate_enabled else "",
        backups=optional.log_backup_count,
        is_json=optional.log_format == "json",
        has_xferlog=optional.xferlog_enable,
    )
    with logging_to(optional.log_level, files) as logs:
        gateway = Gateway(settings)

        async def reload() -> None:
            fresh = await asyncio.to_thread(_reload, config)
            if fresh is not None:
                logs.set_level(fresh.optional.log_level)
                gateway.reload(fresh)

        with _listening("listen_port", "listen_address"):
            run(run_service(gateway, _announce, gateway.drain, reload))


@commands.command()
@_CONFIG_OPTION
@click.option("--online", is_flag=True, help="Also try each account against its bucket.")
def check(config: Path, online: bool) -> None:
    """Say whether `serve` would accept the configuration file.

    With --online, send signed requests to each account's bucket; for one that may write, an object
    is written, read back and deleted.
    """
    settings = _load(config)
    if online:
        _check_online(settings)
    click.echo(f"{config}: good, {len(settings.accounts)} account(s)")


@commands.command()
@_CONFIG_OPTION
@click.option(
    "--older-than",
    metavar="DURATION",
    callback=_duration,
    default="24h",
    show_default=True,
    help="Leave younger ones; such as 90s, 30m, 24h or 7d.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be aborted.")
def sweep(config: Path, older_than: timedelta, dry_run: bool) -> None:
    """Abort multipart uploads that a killed server left behind.

    They are those of servers with this configuration. Uploads that are under way stay, also those
    of a server that is running, and so does whatever others have begun.
    """
    settings = _load(config, at_start=False)  # the server has memory and log

    from cos_ftp_server.sweep import Outcome, SweptRecord, record_files, sweep_accounts

    counts: Counter[Outcome] = Counter()

    def report(swept: SweptRecord) -> None:
        counts[swept.outcome] += 1
        if swept.outcome is not Outcome.UNDER_WAY:
            click.echo(str(swept))

    with closing(record_files(settings)) as files:
        directory = files.directory.absolute()
        try:
            run(sweep_accounts(files, settings.accounts, report, older_than, dry_run=dry_run))
        except OSError as error:
            raise click.ClickException(f"{directory} cannot be read: {error.strerror}") from error
    told = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    click.echo(f"{directory}: {told or 'no multipart uploads are written down'}")
    if failed := counts[Outcome.FAILED]:
        raise click.ClickException(f"{failed} multipart upload(s) could not be aborted")


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=_Port(), default=2121, show_default=True, help="0 takes a free one.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory of the embedded store; without it nothing is kept.",
)
def demo(host: str, port: int, data: Path | None) -> None:
    """Run the FTP server on an embedded store, without COS.

    It needs no account and no configuration file.
    """
    from cos_ftp_server.demo import Demo

    with logging_to("INFO"):
        service = Demo(host=host, port=port, data=data)
        with _listening("--port", "--host"):
            run(run_service(service, _announce, service.drain))


@commands.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=_Port(), required=True, help="0 takes a free one.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory of the store; kept between runs.",
)
@click.option("--bucket", required=True, help="Name of the one bucket, NAME-APPID.")
@click.option("--secret-id", required=True, help="SecretId that requests must be signed with.")
@click.option("--secret-key", required=True, help="SecretKey that belongs to it.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="OPERATION:TERM[:TERM...]",
    help="Misbehave, such as 'PutObject:503 SlowDown:p=0.1' or '*:delay=0.02'; repeatable.",
)
def emulator(
    host: str,
    port: int,
    data: Path,
    bucket: str,
    secret_id: str,
    secret_key: str,
    faults: tuple[str, ...],
) -> None:
    """Run the embedded COS-compatible store alone."""
    from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig, parse_faults
    from cos_ftp_server.settings.forms import BUCKET

    try:
        parsed = parse_faults(faults)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        BUCKET.parse(bucket)
    except ValueError as error:
        words = f"{bucket!r} {error}; right would be {BUCKET.expected}"
        raise click.BadParameter(words, param_hint="'--bucket'") from error
    key = EmulatorBucket(bucket, secret_id, secret_key)
    config = EmulatorConfig(directory=data, buckets=(key,), host=host, port=port)

    async def run_emulator() -> None:
        await run_service(Emulator(config, parsed), _announce)  # made on the loop it runs on

    with logging_to("INFO"), _listening("--port", "--host"):
        run(run_emulator())


@commands.command("hash-password")
def hash_password_command() -> None:
    """Print the hash of a password, for the configuration file.

    It stands there instead of the password, which is asked for twice on a terminal, and read as
    one line from anything else.
    """
    from cos_ftp_server.accounts import hash_password

    try:
        if sys.stdin.isatty():
            password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        hashed = hash_password(password)
    except UnicodeError as error:  # of either: some locales let bytes through that are not UTF-8
        words = "the password is not valid UTF-8; set the terminal to UTF-8, or save the file in it"
        raise click.ClickException(words) from error
    if not password:
        raise click.ClickException("the password is empty")
    click.echo(hashed)


@contextmanager
def _listening(port: str, host: str) -> Iterator[None]:
    """Say which setting, called `port` or `host`, may help when nobody can listen as it says."""
    try:
        yield
    except OSError as error:
        ways_out = {
            errno.EADDRINUSE: f"stop what listens there, or set another {port}",
            errno.EACCES: f"set {port} to 1024 or more, or start as root",
            errno.EADDRNOTAVAIL: f"set {host} to an address of this machine",
        }
        way_out = ways_out.get(error.errno or 0)
        if way_out is None or error.filename is not None:  # a file's trouble
            raise
        raise click.ClickException(f"{error.strerror}; {way_out}") from error


def _load(path: Path, *, at_start: bool = True) -> Settings:
    settings, warnings = load_settings(path, at_start=at_start)
    for warning in warnings:
        click.echo(f"{PROGRAM}: warning: {warning.located(str(path))}", err=True)
    return settings


def _reload(path: Path) -> Settings | None:
    """Return the settings that the file has now, None if they cannot be used. Logs all problems."""
    try:
        # Memory is taken, and the log begun, at the start alone.
        settings, warnings = load_settings(path, at_start=False)
    except ConfigError as error:
        for problem in error.problems:
            level = logging.WARNING if problem.is_warning else logging.ERROR
            _log.log(level, "%s", problem.located(str(path)))
        _log.error("%s was not loaded, everything stays as it was", path)
        return None
    for warning in warnings:
        _log.warning("%s", warning.located(str(path)))
    return settings


def _check_online(settings: Settings) -> None:
    from cos_ftp_server.diagnosis import Finding, examine_accounts

    troubled = set()

    def report(finding: Finding) -> None:
        click.echo(str(finding))
        if finding.problem:
            troubled.add(finding.account.section)

    run(examine_accounts(settings.accounts, report))
    if troubled:
        count = len(settings.accounts)
        raise click.ClickException(f"{len(troubled)} of {count} account(s) will not work")


def _announce(url: str) -> None:
    print(f"ready {url}", flush=True)
