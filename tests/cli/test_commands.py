"""Commands that answer and end: their words, their streams and their exit codes."""

import os
import re
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import argon2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cos_ftp_server.cli import main, parse_duration

CHECKOUT = Path(__file__).parents[2]
SECRET = "s3cr3t"
EMULATOR = ["emulator", "--port=0", "--data=d", "--bucket=b-1", "--secret-id=i", "--secret-key=k"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "vsftpd.conf"
    path.write_text(
        f"""\
[COS_ACCOUNT_0]
cos_secretid = AKIDexample
cos_secretkey = {SECRET}
cos_bucket = example-1250000000
cos_region = ap-guangzhou
home_dir = {tmp_path}
ftp_login_user_name = user0
ftp_login_user_password = {SECRET}
authority = RW
"""
    )
    path.chmod(0o600)
    return path


def run(
    *command: str | Path, input: str | None = None, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        input=input,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        env=os.environ | (environment or {}),
        timeout=60,
    )


def test_the_module_is_the_command() -> None:
    done = run("-m", "cos_ftp_server", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cos-ftp-server 1.")


def test_help_names_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "..." not in shown.partition("Commands:")[2]  # no summary is cut
    for command in ("serve", "check", "sweep", "demo", "emulator", "hash-password"):
        assert f"\n  {command} " in shown
        assert main([command, "--help"]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Missing command; see cos-ftp-server --help\n"),
        (["help"], "No such command 'help'; see cos-ftp-server --help\n"),
        (["chek"], "No such command 'chek'"),
        (["check", "--colour"], "No such option '--colour'"),
        (["check", "extra"], "unexpected extra argument"),
        (["serve", "--config"], "requires an argument"),
        (["sweep", "--older-than", "24"], "'24' is not a number of s, m, h or d"),
        (["sweep", "--older-than", ""], "'' is not a number"),
        (["demo", "--port", "x"], "'--port': 'x' is not a whole number from 0 to 65535\n"),
        (["demo", "--port", "65536"], "'65536' is not a whole number from 0 to 65535\n"),
        (["emulator", "--port", "0"], "Missing option"),
        ([*EMULATOR, "--fault", "x"], "fault 'x'"),
        ([*EMULATOR, "--bucket", "b"], "right would be the full name of a bucket, NAME-APPID"),
    ],
)
def test_bad_arguments_get_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("cos-ftp-server: error: ")
    assert words in err
    assert err.count("\n") == 1


def test_check_of_a_good_file(capsys: pytest.CaptureFixture[str], config: Path) -> None:
    assert main(["check", "--config", str(config)]) == 0
    assert capsys.readouterr() == (f"{config}: good, 1 account(s)\n", "")


def test_check_tells_warnings_and_is_content(
    capsys: pytest.CaptureFixture[str], config: Path
) -> None:
    config.write_text(config.read_text() + "delete_enabel = false\n")
    assert main(["check", "--config", str(config)]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"cos-ftp-server: warning: {config}:10: [COS_ACCOUNT_0] delete_enabel: ")
    assert "did you mean delete_enable?" in line


def test_check_tells_of_a_log_dir_that_cannot_be_made(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    config.write_text(config.read_text() + "[OPTIONAL]\nlog_dir = /proc/x\n")
    assert main(["check", "--config", str(config)]) == 0  # a server without a log serves
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"cos-ftp-server: warning: {config}:11: [OPTIONAL] log_dir: "
        "'/proc/x' cannot be made or written: No such file or directory; "
    )
    assert line.endswith("and let the server's user write there, or name another one")


@pytest.mark.parametrize("command", ["serve", "demo", "emulator"])
def test_a_port_in_use_names_the_way_out(
    capfd: pytest.CaptureFixture[str], config: Path, tmp_path: Path, command: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        log = f"[OPTIONAL]\nlog_dir = {tmp_path}/log\n"
        network = f"[NETWORK]\nlisten_address = 127.0.0.1\nlisten_port = {port}\n"
        config.write_text(config.read_text() + log + network)
        arguments = {
            "serve": ["serve", "--config", str(config)],
            "demo": ["demo", "--port", str(port)],
            "emulator": [*EMULATOR, "--data", str(tmp_path / "d"), "--port", str(port)],
        }
        assert main(arguments[command]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    name = "listen_port" if command == "serve" else "--port"
    assert line == (
        f"cos-ftp-server: error: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        f"stop what listens there, or set another {name}"
    )


def test_an_address_of_another_machine_names_the_way_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["demo", "--host", "192.0.2.1", "--port", "0"]) == 1  # RFC 5737: nobody's
    assert capfd.readouterr().err.endswith("; set --host to an address of this machine\n")


@pytest.mark.parametrize("command", ["check", "serve", "sweep"])
def test_a_bad_file_gets_a_line_for_each_problem_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], config: Path, command: str
) -> None:
    config.write_text(
        config.read_text().replace("RW", "X").replace("-1250000000", "")
        + f"cos_secretkey = {SECRET}\n"
    )
    assert main([command, "--config", str(config)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert SECRET not in err
    told = [line.split(f" {config}:") for line in err.splitlines()]
    assert [(label, rest.partition(":")[0]) for label, rest in told] == [
        ("cos-ftp-server: error:", "4"),
        ("cos-ftp-server: error:", "9"),
        ("cos-ftp-server: warning:", "10"),  # a repeated key: the last one counts
    ]


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serve", "--config", str(tmp_path / "none.conf")]) == 1
    err = capsys.readouterr().err
    assert "cannot be read: No such file or directory; copy " in err
    assert err.endswith(", or give another --config\n")


def test_a_data_directory_that_cannot_be_made_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert main(["demo", "--port", "0", "--data", str(tmp_path / "file" / "data")]) == 1
    assert f"error: {tmp_path}/file/data: Not a directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("7d", timedelta(days=7)),
        ("999999d", timedelta(days=999_999)),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@given(st.text())
@example("1000000d")
@example("٣h")
@example("-1h")
@example("1h\n")
@example(" 1h")
@example("1H")
@example("1.5h")
def test_what_is_no_duration(text: str) -> None:
    if not re.fullmatch("[0-9]{1,6}[smhd]", text):
        with pytest.raises(ValueError, match="such as 24h"):
            parse_duration(text)


def test_ftp_server_py_reads_the_configuration_beside_it(tmp_path: Path) -> None:
    script = tmp_path / "ftp_server.py"
    script.write_bytes((CHECKOUT / "ftp_server.py").read_bytes())
    done = run(script)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        f"cos-ftp-server: error: {tmp_path}/conf/vsftpd.conf: cannot be read"
    )


def test_ftp_server_py_without_an_installation_says_what_to_do() -> None:
    done = run("-I", "-S", CHECKOUT / "ftp_server.py")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "has no cos_ftp_server" in done.stderr
    assert f"-m pip install {CHECKOUT}" in done.stderr


def test_hash_password_reads_a_line_from_a_pipe() -> None:
    done = run("-m", "cos_ftp_server", "hash-password", input=f"{SECRET}\r\nmore\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert argon2.PasswordHasher().verify(done.stdout.rstrip("\n"), SECRET)


def test_hash_password_of_nothing() -> None:
    done = run("-m", "cos_ftp_server", "hash-password", input="\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cos-ftp-server: error: the password is empty\n"


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # as the locale wants it
def test_hash_password_of_what_is_not_utf8(errors: str) -> None:
    done = run(
        *("-m", "cos_ftp_server", "hash-password"),
        input="gr\udcfcn\n",
        environment={"PYTHONIOENCODING": f"utf-8:{errors}"},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cos-ftp-server: error: the password is not valid UTF-8; ")
    assert done.stderr.count("\n") == 1
