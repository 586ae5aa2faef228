"""Rows R1 to R4: how the product is installed, started and stopped, and how it speaks to COS."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ftplib import FTP
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from tests.contract.conftest import Installation
from tests.e2e.conftest import ALICE
from tests.e2e.harness import MIB, Store, random_bytes, wait_until
from tests.e2e.wire import read_all

STOPS = [signal.SIGINT, signal.SIGTERM]


def test_r1_one_package_brings_its_libraries_and_a_command() -> None:
    package = metadata.metadata("cos-ftp-server")
    assert package["Requires-Python"] == ">=3.11"
    for requirement in metadata.requires("cos-ftp-server") or ():
        name = re.match("[A-Za-z0-9-]+", requirement)
        assert name
        assert metadata.version(name[0])
    command = Path(sys.executable).with_name("cos-ftp-server")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"cos-ftp-server {package['Version']}\n"


def test_r2_copy_the_example_fill_it_in_and_start(
    installation: Installation, store: Store, name: str
) -> None:
    text = installation.config.with_name("vsftpd.conf.example").read_text(encoding="utf-8")
    for user in ("user0", "user1"):
        (installation.directory / user).mkdir()
    for old, new in {
        "/home/": f"{installation.directory}/",
        "cos_secretid = XXXXXX ": f"cos_secretid = {ALICE.keys.secret_id} ",
        "cos_secretid = XXXXXX\n": f"cos_secretid = {ALICE.keys.secret_id}\n",
        "cos_secretkey = XXXXXX": f"cos_secretkey = {ALICE.keys.secret_key}",
        "{bucket name}-123": ALICE.keys.bucket,
        "#cos_endpoint = ap-xxx.myqcloud.com": f"cos_endpoint = 127.0.0.1:{store.port}",
        "cos_protocol = https": "cos_protocol = http",
        "listen_port = 2121": "listen_port = 0",
    }.items():
        assert old in text
        text = text.replace(old, new)
    installation.config.write_text(text, encoding="utf-8")
    installation.config.chmod(0o600)
    with installation.running() as server:
        site = server.site(ALICE)
        with FTP(timeout=30) as ftp:
            ftp.connect(site.host, site.port)
            ftp.login("user0", "pass0")
            ftp.mkd(name)
        assert "warning" not in server.errors
        assert store.keys(ALICE.keys.bucket, f"{name}/") == [f"{name}/"]


@pytest.mark.parametrize("number", STOPS)
def test_r3_kill_and_ctrl_c_stop_it(installation: Installation, number: signal.Signals) -> None:
    with installation.serving() as server, server.session():
        server.signal(number)
        assert server.end() == 0


@pytest.mark.parametrize("number", STOPS)
def test_r3_a_transfer_in_flight_finishes(
    installation: Installation, store: Store, name: str, number: signal.Signals
) -> None:
    content = random_bytes(MIB)
    with installation.serving() as server, server.session() as wire:
        with wire.passive() as data:
            wire.expect(f"STOR {name}", 150)
            data.sendall(content[:1000])
            server.signal(number)
            server.wait_until_stopping()
            data.sendall(content[1000:])
        assert wire.reply().code == 226
        assert server.end() == 0
    assert store.content(ALICE.keys.bucket, name) == content


def test_r3_a_transfer_that_does_not_finish_is_aborted_and_leaves_nothing(
    installation: Installation, store: Store, name: str
) -> None:
    with (
        installation.serving(optional={"stop_timeout": 0, "min_part_size": MIB}) as server,
        server.session() as wire,
        wire.passive() as data,
    ):
        wire.expect(f"STOR {name}", 150)
        data.sendall(bytes(3 * MIB))
        store.wait_for_request("UploadPart", name)
        server.signal(signal.SIGTERM)
        assert server.end() == 0
    assert store.keys(ALICE.keys.bucket, name) == []
    assert store.open_uploads(ALICE.keys.bucket, name) == []


def test_r3_it_outlives_its_terminal_under_nohup(installation: Installation) -> None:
    installation.configure()
    with installation.running("nohup") as server:
        server.signal(signal.SIGHUP)
        with server.session() as wire:
            wire.expect("NOOP", 200)
        server.signal(signal.SIGTERM)
        assert server.end() == 0


class _Listener(BaseHTTPRequestHandler):
    """Answers every request with 403, and keeps what it was asked."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str]]

    def refuse(self) -> None:
        self.asked.append((self.path, self.headers.get("Authorization", "")))
        self.close_connection = True
        self.send_response(403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = refuse  # noqa: N815 -- http.server's names

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def listening() -> Iterator[tuple[int, list[tuple[str, str]]]]:
    """A listener in place of COS: its port, and (path, Authorization) of what it was asked."""
    asked: list[tuple[str, str]] = []
    handler = type("Handler", (_Listener,), {"asked": asked})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, asked
        finally:
            server.shutdown()
            thread.join()


def test_r4_requests_are_of_the_xml_api_and_natively_signed(installation: Installation) -> None:
    with listening() as (port, asked):
        account = installation.account(cos_endpoint=f"127.0.0.1:{port}")
        with installation.serving(account) as server, server.session() as wire:
            with wire.passive() as data:
                wire.expect("STOR file", 150)
                data.sendall(b"content")
            assert wire.reply().code >= 400
            with wire.passive() as data:
                wire.send("NLST")
                read_all(data)
            wait_until(lambda: len(asked) >= 2, "no requests")
    for path, authorization in asked:
        assert authorization.startswith(f"q-sign-algorithm=sha1&q-ak={ALICE.keys.secret_id}&")
        assert "q-signature=" in authorization
        assert "/files/v2/" not in path, "the JSON API"
        assert "op=" not in path, "the JSON API"


def test_r4_a_wrong_key_is_refused_by_the_store(installation: Installation, name: str) -> None:
    account = installation.account(cos_secretkey="another-key")
    with installation.serving(account) as server, server.session() as wire:
        assert wire.upload(f"STOR {name}", b"content").code in (451, 550)
