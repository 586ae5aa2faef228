"""How data connections come about: PASV, EPSV, PORT and EPRT, over IPv4 and IPv6."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.conftest import NewClient, Place
from tests.e2e.harness import FIRST_PART, Gateway, random_bytes

# Client, its options, active, the commands that must be seen, and no others of their kind.
# ncftp and its tools are not here with ::1: they know IPv4 only ("::1: unknown host").
SETUPS = [
    ("4", "curl", [], False, "EPSV"),
    ("4", "curl", ["--disable-epsv"], False, "PASV"),
    ("4", "curl", [], True, "EPRT"),
    ("4", "curl", ["--disable-eprt"], True, "PORT"),
    ("4", "lftp", [], False, "PASV"),
    ("4", "lftp", ["set ftp:prefer-epsv true"], False, "EPSV"),
    ("4", "lftp", [], True, "PORT"),
    ("4", "tnftp", [], False, "EPSV"),
    ("4", "tnftp", ["epsv4 off"], False, "PASV"),
    ("4", "tnftp", [], True, "EPRT"),
    ("4", "tnftp", ["epsv4 off"], True, "PORT"),
    ("4", "ncftp", [], False, "PASV"),
    ("4", "ncftp", [], True, "PORT"),
    ("4", "ncftp-tools", [], False, "PASV"),
    ("4", "ncftp-tools", [], True, "PORT"),
    ("4", "ftplib", [], False, "PASV"),
    ("4", "ftplib", [], True, "PORT"),
    ("6", "curl", [], False, "EPSV"),
    ("6", "curl", [], True, "EPRT"),
    ("6", "lftp", [], False, "EPSV"),
    # On loopback lftp offers "EPRT |2|::|…", which no server can connect to, and goes passive when
    # that is refused.
    ("6", "lftp", ["set net:reconnect-interval-base 1"], True, "EPRT EPSV"),
    ("6", "tnftp", [], False, "EPSV"),
    ("6", "tnftp", [], True, "EPRT"),
    ("6", "ftplib", [], False, "EPSV"),
    ("6", "ftplib", [], True, "EPRT"),
]


@pytest.mark.parametrize(
    ("network", "client_name", "options", "active", "verbs"),
    SETUPS,
    ids=[f"ipv{network}-{name}-{verbs}" for network, name, _, _, verbs in SETUPS],
)
def test_data_connections(
    network: str,
    client_name: str,
    options: Sequence[str],
    active: bool,
    verbs: str,
    new_client: NewClient,
    request: pytest.FixtureRequest,
    place: Place,
    tmp_path: Path,
) -> None:
    gateway: Gateway = request.getfixturevalue("gateway6" if network == "6" else "gateway")
    content = random_bytes(FIRST_PART + 1)
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(content)
    client = new_client(client_name, gateway.site("alice"), active=active, options=options)
    with client:
        client.cd(place.path)
        client.put(local, "file")
        client.ls()
        client.get("file", back)
    assert place.content("file") == content
    assert back.read_bytes() == content
    assert "file" in client.output
    assert verbs_of(gateway, place) == set(verbs.split())


def verbs_of(gateway: Gateway, place: Place) -> set[str]:
    """Return which of the data commands were used in sessions that had to do with `place`."""
    gateway.wait_for_line("transfer verb=RETR", f"{place.path}/file")
    lines = gateway.errors.splitlines()
    sessions = {session_of(line) for line in lines if place.name in line}
    commands = {line.partition("<- ")[2][:4] for line in lines if session_of(line) in sessions}
    return commands & {"PASV", "EPSV", "PORT", "EPRT"}


def session_of(line: str) -> str:
    found = re.search(r"session=\d+ ", line)
    return found[0] if found else ""
