"""Misbehaviour on demand: which requests go wrong, how, and how often.

Owns the rules and their text form. It decides, `server` carries out; it knows nothing of
HTTP or storage.
"""

import asyncio
import dataclasses
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cos_ftp_server.emulator.target import Operation

__all__ = ["NO_FAULT", "Fault", "Faults", "Rule", "parse_faults"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Which requests are hit, and what happens to them; effects may be combined.

    Hit are requests of `operation` ("*" is any; names as in the COS documentation: "PutObject",
    "UploadPart", "CompleteMultipartUpload", see `target.Operation`) whose key satisfies `key`,
    the first `times` of them (None: all), each with `probability`.

    `delay_s`, `hold`, `status`/`code` and `reset` strike before the operation, which with
    `status` and `reset` then does not happen. With `after_commit` it happens, and they strike
    before its answer: a reply that got lost. `late` cuts the connection once the request has been
    received, and carries it out all the same. `status=200` with a code is an error inside 200, as
    COS gives it for copy and complete.
    """

    operation: str = "*"
    key: Callable[[str], bool] | None = None
    times: int | None = None
    probability: float = 1.0
    delay_s: float = 0.0
    hold: asyncio.Event | None = None  # wait until it is set: a test's hand on one request
    status: int = 0
    code: str = ""
    after_commit: bool = False
    reset: bool = False  # RST instead of an answer
    late: bool = False  # RST at once, and then the operation, after `delay_s` and `hold`
    reset_after: int | None = None  # RST after so many bytes of the body (sent or received)
    bytes_per_s: int | None = None  # pace of the body, in either direction
    corrupt_at: int | None = None  # flip a bit of this byte of the body, in either direction
    crc: str = ""  # "wrong" or "missing": the CRC64 that the answer tells
    drip_s: float = 0.0  # 200 at once, white space for so long, then the answer to the operation
    truncate_at: int | None = None  # the XML answer ends after so many bytes

    def __post_init__(self) -> None:
        _check_operation(self.operation)
        if self.crc not in ("", "wrong", "missing"):
            raise ValueError(f"crc={self.crc}: wrong or missing expected")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"p={self.probability}: a number from 0 to 1 expected")
        if self.bytes_per_s is not None and self.bytes_per_s <= 0:
            raise ValueError(f"rate={self.bytes_per_s}: bytes per second, above 0, expected")


def _check_operation(operation: str) -> None:
    if operation != "*" and operation not in set(Operation):
        raise ValueError(f"{operation}: one of *, {', '.join(Operation)} expected")


class Rule:
    """A fault in force: how often it has struck, and the means to end it."""

    def __init__(self, fault: Fault, random_source: random.Random) -> None:
        self.fault = fault
        self.hits = 0
        self._random = random_source

    def strikes(self, operation: str, key: str) -> bool:
        """Decide on one request and count it if it is hit."""
        fault = self.fault
        if fault.operation not in ("*", operation):
            return False
        if fault.times is not None and self.hits >= fault.times:
            return False
        if fault.key is not None and not fault.key(key):
            return False
        if fault.probability < 1 and self._random.random() >= fault.probability:
            return False
        self.hits += 1
        return True


class Faults:
    """The rules in force, and two faults of the whole store; change them at any time.

    `clock_offset_s` moves the store's clock: its `Date`, its timestamps, and what it takes for
    the time when it checks a signature. `list_lag_s` hides from listings whatever was written or
    deleted in the last so many seconds (only what is written while it is set). `seed` makes
    probabilities repeatable.
    """

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self.clock_offset_s = 0.0
        self.list_lag_s = 0.0
        self._random = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._rules: list[Rule] = []
        for fault in faults:
            self.add(fault)

    def add(self, fault: Fault) -> Rule:
        """Put a fault in force; where several set the same effect, the first added wins."""
        rule = Rule(fault, self._random)
        self._rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Lift one fault; it must be in force."""
        self._rules.remove(rule)

    def clear(self) -> None:
        """Lift all faults, those of the whole store too."""
        self._rules.clear()
        self.clock_offset_s = 0.0
        self.list_lag_s = 0.0

    def draw(self, operation: str, key: str) -> Fault:
        """Decide what happens to one request: the rules that strike it, merged; delays add up."""
        drawn = [rule.fault for rule in self._rules if rule.strikes(operation, key)]
        if not drawn:
            return NO_FAULT
        merged = drawn[0]
        for fault in drawn[1:]:
            merged = _merge(merged, fault)
        return merged


NO_FAULT = Fault()
_EFFECTS = tuple(
    field.name
    for field in dataclasses.fields(Fault)
    if field.name not in ("operation", "key", "times", "probability", "delay_s")
)


def _merge(first: Fault, second: Fault) -> Fault:
    """Return a fault with the effects of both."""
    taken: dict[str, object] = {"delay_s": first.delay_s + second.delay_s}
    for name in _EFFECTS:
        default = getattr(NO_FAULT, name)
        if getattr(first, name) == default != getattr(second, name):
            taken[name] = getattr(second, name)
    return dataclasses.replace(first, **taken)  # type: ignore[arg-type]  # names are the fields'


_TERMS: dict[str, tuple[str, Callable[[str], object]]] = {
    "p": ("probability", float),
    "times": ("times", int),
    "delay": ("delay_s", float),
    "reset_after": ("reset_after", int),
    "rate": ("bytes_per_s", int),
    "corrupt": ("corrupt_at", int),
    "crc": ("crc", str),
    "drip": ("drip_s", float),
    "truncate": ("truncate_at", int),
}


def parse_faults(texts: Iterable[str], *, seed: int = 0) -> Faults:
    """Read faults in their text form: `OPERATION:TERM[:TERM…]`, `*` being any operation.

    Terms: `503 SlowDown` (an answer; `200 InternalError` is an error inside 200), `delay=S`,
    `hang`, `reset`, `after` (strike after the commit), `late` (reset, then carry out, `delay=S`
    later), `reset_after=BYTES`, `rate=BYTES/S`, `corrupt=OFFSET`, `crc=wrong`, `crc=missing`,
    `drip=S`, `truncate=BYTES`; and which requests: `p=PROBABILITY`, `times=N`, `key=GLOB`. Two
    texts stand alone: `clock=S` and `list_lag=S`.

        PutObject:503 SlowDown:p=0.1
        *:delay=0.02
        CompleteMultipartUpload:reset:after:times=1

    Raises:
        ValueError: a text is not of this form; the message says which and why.
    """
    faults = Faults(seed=seed)
    for text in texts:
        try:
            _parse_into(faults, text)
        except ValueError as error:
            raise ValueError(f"fault {text!r}: {error}") from error
    return faults


def _parse_into(faults: Faults, text: str) -> None:
    name, _, value = text.partition("=")
    if name == "clock":
        faults.clock_offset_s = float(value)
    elif name == "list_lag":
        faults.list_lag_s = float(value)
    else:
        faults.add(_parse_fault(text))


def _parse_fault(text: str) -> Fault:
    operation, *terms = text.split(":")
    if not operation or not terms:
        raise ValueError("OPERATION:TERM expected, such as PutObject:503 SlowDown")
    _check_operation(operation)  # before its terms, as it is read
    values: dict[str, object] = {"operation": operation}
    for term in terms:
        values.update(_parse_term(term))
    return Fault(**values)  # type: ignore[arg-type]  # _TERMS gives each field its type


def _parse_term(term: str) -> dict[str, object]:
    name, has_value, value = term.partition("=")
    if has_value and name in _TERMS:
        field, convert = _TERMS[name]
        try:
            return {field: convert(value)}
        except ValueError:
            raise ValueError(f"{term!r} has no number where one is expected") from None
    if has_value and name == "key":
        return {"key": lambda key: fnmatchcase(key, value)}
    status, _, code = term.partition(" ")
    if status.isdecimal():
        return {"status": int(status), "code": code}
    match term:
        case "reset":
            return {"reset": True}
        case "late":
            return {"late": True}
        case "after":
            return {"after_commit": True}
        case "hang":
            return {"hold": asyncio.Event()}
    raise ValueError(f"unknown term {term!r}")
