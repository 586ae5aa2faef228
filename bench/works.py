"""What is measured: the list of works, as data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.load.tasks import Order

__all__ = ["WORKS", "Unit", "Work"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

_GATEWAYS = ("gateway", "stock", "rclone")
_ALL = (*_GATEWAYS, "floor")
_QUICK_SHARE = 4


@dataclass(frozen=True, slots=True)
class Unit:
    """What CPU time is told per; `amount` of them are one."""

    name: str
    amount: int = 1
    is_bytes: bool = False


OPERATION = Unit("operation")
GIGABYTE = Unit("GiB", GIB, is_bytes=True)


@dataclass(frozen=True, slots=True)
class Work:
    """One piece of work for several systems, which take turns."""

    name: str
    title: str
    order: Order
    systems: Sequence[str] = _ALL
    unit: Unit = OPERATION
    rounds: int = 3
    latency_ms: float = 0
    """From the end of a request to the store to the beginning of its answer."""
    rate: int = 0
    """Bytes per second that the store gives each connection; 0: any."""

    def quick(self) -> "Work":
        """Return a shorter form, for a first impression."""
        order = self.order
        if order.kind in ("store", "retrieve") and order.size >= 256 * MIB:
            order = replace(order, size=order.size // _QUICK_SHARE)
        elif order.kind != "idle":
            order = replace(order, count=max(order.count // _QUICK_SHARE, 1))
        return replace(self, order=order, rounds=1)


def _small(kind: str, verb: str) -> list[Work]:
    """Return the works on 4 KiB files: alone and in company, on a near and on a farther store."""
    found = []
    for sessions in (1, 32):
        for latency_ms in (0, 20):
            count = {(1, 0): 300, (1, 20): 80, (32, 0): 40, (32, 20): 8}[sessions, latency_ms]
            plural = "s" if sessions > 1 else ""
            found.append(
                Work(
                    f"{kind}-4k-{sessions}-{latency_ms}ms",
                    f"4 KiB {verb}, {sessions} session{plural}, {latency_ms} ms",
                    Order(kind, sessions, count, 4 * KIB, warm_up=max(count // 8, 1)),
                    _GATEWAYS if latency_ms else _ALL,
                    latency_ms=latency_ms,
                )
            )
    return found


WORKS: Sequence[Work] = (
    *_small("store", "STOR"),
    *_small("retrieve", "RETR"),
    Work(
        "store-4k-100-20ms",
        "4 KiB STOR, 100 sessions, 20 ms",
        Order("store", 100, 5, 4 * KIB),
        _GATEWAYS,
        latency_ms=20,
    ),
    Work(
        "store-1g",
        "1 GiB STOR",
        Order("store", size=GIB, warm_up=0),
        unit=GIGABYTE,
        rounds=5,
    ),
    Work(
        "retrieve-1g",
        "1 GiB RETR",
        Order("retrieve", size=GIB, warm_up=0),
        unit=GIGABYTE,
        rounds=5,
    ),
    Work(
        "store-8x256m",
        "8 × 256 MiB STOR",
        Order("store", 8, size=256 * MIB, warm_up=0),
        unit=GIGABYTE,
    ),
    Work(
        "store-1g-50mib",
        "1 GiB STOR, 50 MiB/s for each store connection",
        Order("store", size=GIB, warm_up=0),
        _GATEWAYS,
        unit=GIGABYTE,
        rounds=1,
        rate=50 * MIB,
    ),
    Work(
        "retrieve-1g-50mib",
        "1 GiB RETR, 50 MiB/s for each store connection",
        Order("retrieve", size=GIB, warm_up=0),
        _GATEWAYS,
        unit=GIGABYTE,
        rounds=1,
        rate=50 * MIB,
    ),
    Work(
        "list-1000",
        "LIST of 1,000 entries",
        Order("list", count=10, size=1000),
        _GATEWAYS,
    ),
    Work(
        "list-100000",
        "LIST of 100,000 entries, 20 ms",
        Order("list", size=100_000, warm_up=0),
        _GATEWAYS,
        rounds=1,
        latency_ms=20,
    ),
    Work("login", "log-in", Order("login", count=300, warm_up=20), _GATEWAYS),
    Work(
        "idle-2000",
        "2,000 idle sessions (log-in included)",
        Order("idle", 2000),
        _GATEWAYS,
        rounds=1,
    ),
    Work(
        "store-500",
        "500 × 12 MiB STOR at once",
        Order("store", 500, size=12 * MIB, warm_up=0, watch=True, limit_s=60),
        ("gateway",),
        unit=GIGABYTE,
        rounds=1,
    ),
)
"""In the order in which they are done and shown."""
