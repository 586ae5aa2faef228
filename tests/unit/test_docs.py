"""What the documents say about commands, replies, defaults and each other is true."""

import re
import shlex
from pathlib import Path

import click
import pytest

from cos_ftp_server import app
from cos_ftp_server.cli import commands, main
from cos_ftp_server.protocol import replies
from cos_ftp_server.protocol.replies import Reply
from cos_ftp_server.server import outcome, passive
from cos_ftp_server.server.config import ServerConfig
from cos_ftp_server.settings.model import (
    AccountSettings,
    FileOptionSettings,
    NetworkSettings,
    OptionalSettings,
)
from cos_ftp_server.vfs import cleanup

ROOT = Path(__file__).parents[2]
PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
TRANSLATIONS = ("README.zh-CN.md", "README.ja.md")

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_COMMAND = re.compile(r"^(?:/\S+/)?cos-ftp-server ([a-z].*)$")
_QUOTED = re.compile(r"`(\d{3})[ -]([^`]+)`")


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _blocks(text: str) -> list[str]:
    """Return what stands in fences, each without its fences."""
    return re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _commands() -> list[str]:
    """Return the arguments of every command in a block or in the text."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [line for block in _blocks(text) for line in block.splitlines()]
        lines += re.findall(r"`([^`\n]+)`", text)
        found.update(match[1] for line in lines if (match := _COMMAND.match(line)))
    return sorted(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target:
            path = page.parent / target.partition("#")[0]
            assert path.exists(), f"{page.name}: {target}"


def test_the_readme_leads_to_every_document() -> None:
    linked = set(_LINK.findall(_text("README.md")))
    documents = {str(page.relative_to(ROOT)) for page in PAGES} - {"README.md"}
    assert documents <= linked


@pytest.mark.parametrize("line", _commands())
def test_commands_and_options_exist(line: str) -> None:
    """Brackets of a synopsis are taken as given: what is optional must exist as well."""
    name, *arguments = shlex.split(line.translate({ord("["): " ", ord("]"): " "}))
    command = commands.commands[name]
    arguments = [re.sub(r"^P$", "2121", argument) for argument in arguments]
    with click.Context(command) as context:
        command.parse_args(context, arguments)


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_translations_show_the_same_commands(name: str) -> None:
    assert set(_blocks(_text(name))) <= set(_blocks(_text("README.md")))


def _replies() -> set[tuple[int, str]]:
    known = [reply for reply in vars(replies).values() if isinstance(reply, Reply)]
    known += [*outcome._PERMANENT.values(), *outcome._TEMPORARY.values()]
    for source in sorted((ROOT / "src/cos_ftp_server/server/handlers").glob("*.py")):
        words = re.findall(r'file_unavailable\("([^"]+)"\)', source.read_text(encoding="utf-8"))
        known += map(replies.file_unavailable, words)
    known.append(replies.listing_cut(ServerConfig(hosts=(), port=0).max_list_entries))
    return {(reply.code, reply.text) for reply in known}


@pytest.mark.parametrize("name", ["docs/troubleshooting.md", "docs/server-behavior.md"])
def test_replies_are_those_that_the_server_gives(name: str) -> None:
    quoted = {(int(code), words) for code, words in _QUOTED.findall(_text(name))}
    known = _replies()
    codes = {code for code, _ in known}
    unknown = {
        (code, words)
        for code, words in quoted
        if (code, words) not in known and not (words.endswith("…") and code in codes)
    }
    assert quoted
    assert not unknown


def _rows(name: str) -> list[list[str]]:
    """Return the cells of all table rows."""
    lines = [line for line in _text(name).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


_FIXED = {
    "wrong passwords on one connection": "max_login_failures",
    "from the connection to a login": "login_timeout_seconds",
    "a wrong password to its reply": "login_failure_delay_seconds",
    "from a transfer command to the data connection": "data_connect_timeout_seconds",
    "without a byte moved by the client in a transfer": "data_stall_timeout_seconds",
    "between lines that say that an upload is being stored, or that a rename goes on": (
        "finalise_keepalive_seconds"
    ),
    "for which a resolved `masquerade_address` is used": "masquerade_ttl_seconds",
}
"""Row of the tables → field of ServerConfig."""


def test_the_fixed_limits_and_times_are_those_of_the_server() -> None:
    config = ServerConfig(hosts=(), port=0)
    listed = {row[0]: row[2] for row in _rows("docs/server-behavior.md") if len(row) == 4}
    for row, field in _FIXED.items():
        assert float(listed[row]) == getattr(config, field), row


def test_the_limits_that_can_be_set_have_their_defaults() -> None:
    defaults = {
        key: model.model_fields[key].default
        for model in (AccountSettings, NetworkSettings, FileOptionSettings, OptionalSettings)
        for key in model.keys()  # noqa: SIM118 -- no dict
    }
    checked = 0
    for row in _rows("docs/server-behavior.md"):
        key = row[1].strip("`") if len(row) == 4 else ""
        if key in defaults:
            default = defaults[key]
            shown = ",".join(map(str, default)) if isinstance(default, tuple) else str(default)
            assert row[2] == shown, row
            checked += 1
    assert checked >= 10


def test_the_tries_and_the_time_to_clean_up_are_those_of_the_program() -> None:
    text = _text("docs/server-behavior.md")
    assert f"up to {passive._MAX_PORT_TRIES} ports are tried" in text
    for seconds in (app._CLEANUP_SECONDS, app._HASTY_CLEANUP_SECONDS):
        # A session that is cut off waits for its clean-up before the server does.
        assert f"cleaned up for up to {cleanup._PATIENCE_S + seconds:.0f} seconds" in text


_BAD_CONFIG = """\
[COS_ACCOUNT_0]
cos_secretid = AKIDexample
cos_secretky = mistyped
cos_bucket = camera-1250000000
cos_region = ap-guangzhou
home_dir = /home/user0
ftp_login_user_name = user0
ftp_login_user_password = a-good-password
authority = RW
cos_secretkey = example
[COS_ACCOUNT_1]
cos_secretid = AKIDexample
cos_secretkey = example
cos_bucket = camera-1250000000
cos_region = ap-guangzhou
ftp_login_user_name = user0
home_dir = /
ftp_login_user_password = a-good-password
authority = RW
"""


@pytest.mark.skipif(Path("/home/user0").is_dir(), reason="this machine has that home_dir")
def test_what_check_complains_of_is_quoted_to_the_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "bad.conf"
    config.write_text(_BAD_CONFIG, encoding="utf-8")
    config.chmod(0o600)
    monkeypatch.chdir(tmp_path)
    for name in ("bad.conf", "none.conf"):
        assert main(["check", "--config", name]) == 1
    assert capsys.readouterr().err == _blocks(_text("docs/troubleshooting.md"))[-1]
