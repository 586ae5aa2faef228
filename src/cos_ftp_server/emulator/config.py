"""What an embedded store is started with. Knows nothing of how it is served."""

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["GIB", "MIB", "EmulatorBucket", "EmulatorConfig"]

MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class EmulatorBucket:
    """A bucket and one key pair that may use it; name a bucket twice to give it two key pairs.

    `name` is the full name, `<name>-<appid>`. With a `token`, requests signed by this pair must
    carry it as `x-cos-security-token`, as temporary (STS) credentials do.
    """

    name: str
    secret_id: str
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmulatorConfig:
    """Where the store lives, who may use it, and how strict it is.

    Whatever is acknowledged always survives the end of the process, `kill -9` included: it has
    been handed to the operating system. `fsync` makes it survive a loss of power too, at the
    price of a disk flush per group of writes.
    """

    directory: Path
    buckets: tuple[EmulatorBucket, ...]
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    region: str = "ap-guangzhou"
    fsync: bool = False
    min_part_bytes: int = MIB  # COS: Upload Part, every part but the last
    max_put_bytes: int = 5 * GIB  # COS: PUT Object, Upload Part, Append Object, single copy
