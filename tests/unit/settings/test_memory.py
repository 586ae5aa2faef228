"""What settings need and what there is, on machines that are made of files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.settings.memory import Need, available_memory

MIB = 1024**2


class Machine:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, path: str, content: str) -> "Machine":
        file = self._directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return self

    @property
    def available(self) -> int | None:
        return available_memory(self._directory / "proc", self._directory / "cgroup")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_control_groups(machine: Machine) -> None:
    machine.write("proc/meminfo", "MemTotal: 2000 kB\nMemAvailable:    1000 kB\nSwapFree: 5 kB\n")
    assert machine.available == 1000 * 1024


def test_a_machine_that_says_nothing(machine: Machine) -> None:
    assert machine.available is None


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        ("0::/", {"": "5000\n"}, 5000),
        ("0::/", {"": "max\n"}, 1000 * 1024),
        ("0::/a/b", {"a": "7000", "a/b": "max"}, 7000),
        ("0::/a/b", {"a": "7000", "a/b": "6000"}, 6000),
        ("0::/outside/the/container", {"": "5000"}, 5000),
        ("0::/", {"": "999999999999"}, 1000 * 1024),
    ],
)
def test_control_groups(
    machine: Machine, group: str, limits: dict[str, str], expected: int
) -> None:
    machine.write("proc/meminfo", "MemAvailable: 1000 kB\n")
    machine.write("proc/self/cgroup", f"{group}\n")
    for directory, limit in limits.items():
        machine.write(f"cgroup/{directory}/memory.max", limit)
    assert machine.available == expected


def test_control_groups_of_version_1(machine: Machine) -> None:
    machine.write("proc/meminfo", "MemAvailable: 1000 kB\n")
    machine.write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n")
    machine.write("cgroup/memory/docker/1/memory.limit_in_bytes", "9000\n")
    assert machine.available == 9000


def test_this_machine() -> None:
    available = available_memory()
    assert available is None or available > MIB


def test_without_limits_only_the_buffers_count() -> None:
    unlimited = Need(buffer_memory=100 * MIB, connections=0, logins=0)
    assert unlimited.bytes < Need(buffer_memory=100 * MIB, connections=1, logins=0).bytes
    assert Need(buffer_memory=0, connections=5, logins=0).bytes == (
        Need(buffer_memory=0, connections=5, logins=5).bytes
    )


@given(
    buffer=st.integers(16 * MIB, 2**40),
    connections=st.integers(0, 10_000),
    logins=st.integers(0, 10_000),
)
def test_the_largest_buffer_needs_no_more_than_there_is(
    buffer: int, connections: int, logins: int
) -> None:
    limit = Need(buffer_memory=buffer, connections=connections, logins=logins).bytes
    largest = Need(buffer_memory=0, connections=connections, logins=logins).largest_buffer(limit)
    assert largest == pytest.approx(buffer, abs=2)
    need = Need(buffer_memory=largest, connections=connections, logins=logins)
    assert need.bytes <= limit
