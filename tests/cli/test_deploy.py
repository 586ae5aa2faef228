"""What is shipped beside the program: the systemd unit and the container image."""

import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cos_ftp_server.settings.memory import MEMORY_SHARE, Need
from cos_ftp_server.settings.model import LEAST_BUFFER_MEMORY, NetworkSettings, OptionalSettings

CHECKOUT = Path(__file__).parents[2]
UNIT = CHECKOUT / "deploy" / "cos-ftp-server.service"
IMAGE = CHECKOUT / "Dockerfile"
GUIDE = CHECKOUT / "docs" / "deploying.md"
DEFAULTS = OptionalSettings()


def unit_value(key: str) -> str:
    (found,) = re.findall(rf"^{key}=(.+)$", UNIT.read_text(), re.MULTILINE)
    return str(found)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    installed = UNIT.read_text().replace("/opt/cos-ftp-server/bin/cos-ftp-server", sys.executable)
    path = tmp_path / UNIT.name
    path.write_text(installed)
    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_leaves_time_to_stop_and_memory_to_run() -> None:
    assert int(unit_value("TimeoutStopSec")) >= DEFAULTS.stop_timeout + 25
    need = Need(
        buffer_memory=DEFAULTS.buffer_memory,
        connections=DEFAULTS.max_connection_num,
        logins=DEFAULTS.max_login_users,
    )
    assert unit_value("MemoryMax") == "1G"
    assert need.bytes <= 1024**3 * MEMORY_SHARE  # or `config_check_enable` would refuse to start


@pytest.mark.parametrize(
    ("path", "first"), [(UNIT, "useradd"), (IMAGE, "docker build")], ids=["unit", "image"]
)
def test_the_head_of_the_file_and_the_guide_tell_the_same_commands(path: Path, first: str) -> None:
    (block,) = re.findall(rf"^```\n({first} .*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    head = re.sub(r"^# {0,3}", "", path.read_text(), flags=re.MULTILINE)
    assert str(block) in head


def test_the_guide_tells_below_which_memory_the_default_logins_are_too_many() -> None:
    least = Need(
        buffer_memory=LEAST_BUFFER_MEMORY,
        connections=DEFAULTS.max_connection_num,
        logins=DEFAULTS.max_login_users,
    )
    mebibytes = math.ceil(least.bytes / MEMORY_SHARE / 1024**2)
    assert f"with less than {mebibytes} MiB, lower `max_login_users`" in GUIDE.read_text()


def test_the_image_takes_what_exists_and_no_secrets() -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", IMAGE.read_text(), re.MULTILINE)
    names = {name for names in copied for name in names.split()}
    assert all((CHECKOUT / name).exists() for name in names)
    ignored = (CHECKOUT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == names


def test_the_image_exposes_the_default_ports() -> None:
    network = NetworkSettings()
    first, last = network.passive_port
    text = IMAGE.read_text()
    assert f"EXPOSE {network.listen_port} {first}-{last}\n" in text
    assert f"'127.0.0.1', {network.listen_port}" in text
