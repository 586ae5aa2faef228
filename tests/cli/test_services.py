"""Commands that serve: the line that says so, what they serve, and how they end."""

import ftplib
import io
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest

from cos_ftp_server.cli import main
from tests.e2e.harness import wait_until

EMULATOR = [
    "emulator",
    "--port=0",
    "--bucket=b-1",
    "--secret-id=i",
    "--secret-key=s3cr3t",
    "--data",
]
"""Without the directory."""


@contextmanager
def serving(*arguments: str | Path) -> Iterator[str]:
    """Run a command, give its URL once it is ready, and see that SIGTERM ends it well."""
    with subprocess.Popen(
        [sys.executable, "-m", "cos_ftp_server", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line.startswith("ready "), line
            yield line.removeprefix("ready ").rstrip("\n")
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
            assert (process.returncode, out) == (0, "")
            assert "Traceback" not in err
            assert "s3cr3t" not in err
        finally:
            process.kill()


def test_demo_gives_a_url_to_log_in_with_and_keeps_files(tmp_path: Path) -> None:
    for kept in ([], ["file"]):
        with serving("demo", "--port", "0", "--data", tmp_path / "data") as url:
            where = urlsplit(url)
            assert (where.scheme, where.hostname, where.path) == ("ftp", "127.0.0.1", "/")
            assert where.port
            with ftplib.FTP() as client:
                client.connect("127.0.0.1", where.port, timeout=30)
                client.login(where.username or "", where.password or "")
                assert client.nlst() == kept
                client.storbinary("STOR file", io.BytesIO(b"content"))


def count_parts(index: Path) -> int:
    with closing(sqlite3.connect(index)) as database:
        (count,) = database.execute("SELECT count(*) FROM parts").fetchone()
    return int(count)


def test_demo_drops_the_parts_that_a_killed_one_has_left(tmp_path: Path) -> None:
    index = tmp_path / "data" / "index.sqlite3"
    demo = ("demo", "--port", "0", "--data", index.parent)
    with subprocess.Popen(
        [sys.executable, "-m", "cos_ftp_server", *demo], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            where = urlsplit(process.stdout.readline().removeprefix("ready ").rstrip("\n"))
            with ftplib.FTP() as client:
                client.connect("127.0.0.1", where.port or 0, timeout=30)
                client.login(where.username or "", where.password or "")
                with client.transfercmd("STOR file") as data:
                    data.sendall(bytes(20 * 1024**2))
                    wait_until(lambda: count_parts(index) > 0, "a part is stored")
                    process.kill()
        finally:
            process.kill()
    assert count_parts(index) > 0
    with serving(*demo):
        assert count_parts(index) == 0


def test_emulator_answers_http(tmp_path: Path) -> None:
    with serving(*EMULATOR, tmp_path) as url:
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(HTTPError, match="403") as refused:
            urllib.request.urlopen(f"{url}/b-1/key", timeout=30)
        refused.value.close()


def test_emulator_misbehaves_on_demand(tmp_path: Path) -> None:
    with serving(*EMULATOR, tmp_path, "--fault", "clock=86400") as url:
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(f"{url}/b-1/key", timeout=30)
        with refused.value as answer:
            told = parsedate_to_datetime(answer.headers["Date"])
    assert told - datetime.now(UTC) > timedelta(hours=23)


def test_a_port_that_is_taken_is_one_line_and_exit_code_1(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port), "--data", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = (line for line in err.splitlines() if line.startswith("cos-ftp-server: error: "))
    assert "in use" in line


def test_serve_listens_and_logs_to_its_directory(tmp_path: Path) -> None:
    config = tmp_path / "vsftpd.conf"
    config.write_text(
        f"""\
[COS_ACCOUNT_0]
cos_secretid = AKIDexample
cos_secretkey = s3cr3t
cos_bucket = example-1250000000
cos_region = ap-guangzhou
home_dir = {tmp_path}
ftp_login_user_name = user0
ftp_login_user_password = s3cr3t
authority = R

[NETWORK]
listen_address = 127.0.0.1
listen_port = 0

[OPTIONAL]
log_dir = {tmp_path}/log
"""
    )
    config.chmod(0o600)
    with serving("serve", "--config", config) as url:
        port = urlsplit(url).port
        assert port
        with ftplib.FTP() as client:
            client.connect("127.0.0.1", port, timeout=30)
            client.login("user0", "s3cr3t")
            with pytest.raises(ftplib.error_perm, match=r"^550"):
                client.delete("file")
    log = (tmp_path / "log" / "cos-ftp-server.log").read_text()
    assert "user='user0' logged in" in log
    assert "s3cr3t" not in log
