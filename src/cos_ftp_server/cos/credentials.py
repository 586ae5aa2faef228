"""Temporary keys of the CAM role that is bound to this CVM, renewed before they expire.

Owns the conversation with the metadata service (CAM: "Using a role on a CVM instance", CVM:
"Instance metadata"). It must not know what the keys are used for.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from cos_ftp_server.cos.address import Origin
from cos_ftp_server.cos.http_error import HttpError
from cos_ftp_server.cos.transport import Refusal, Transport, translate
from cos_ftp_server.cos.types import Credentials
from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["METADATA_URL", "RENEWAL", "RoleCredentials"]

METADATA_URL = "http://metadata.tencentyun.com/latest/meta-data/cam/security-credentials/"
"""Answers with the name of the role; with that name after it, with its keys."""

RENEWAL = "renew keys"
"""The operation that errors from here name."""

_MARGIN_S = 600.0
"""Seconds before their end at which keys are renewed, or a third of their life if that is less."""

_LOOK_S = 60.0
"""Seconds between two looks at the clock, which may be set, or have gone on while the machine was
suspended."""

_FIRST_PAUSE_S = 1.0  # after a failure; doubled each time, with jitter
_LONGEST_PAUSE_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Keys:
    credentials: Credentials = field(repr=False)
    received: float  # Unix seconds, as is `expires`
    expires: float

    @property
    def renewal(self) -> float:
        """When these keys should be replaced."""
        return self.expires - min(_MARGIN_S, (self.expires - self.received) / 3)


class RoleCredentials:
    """A `CredentialProvider`; one serves all accounts. `start` it, and `aclose` it in the end.

    When the metadata service fails, the keys that are there are used for as long as they are valid.
    `wall` tells Unix seconds.
    """

    def __init__(
        self,
        transport: Transport,
        base_url: str = METADATA_URL,
        *,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._base_url = base_url
        self._wall = wall
        self._sleep = sleep
        self.attempted = asyncio.Event()
        """Set once there are keys, or a reason why not."""
        self._keys: _Keys | None = None
        self._renewing: asyncio.Task[None] | None = None

    def current(self) -> Credentials:
        """Return the keys. Raises StorageError(UNAVAILABLE, temporary) while there are none."""
        keys = self._keys
        if keys is None:
            raise _unavailable("the metadata service has not given any keys yet")
        if self._wall() >= keys.expires:
            raise _unavailable("the temporary keys have expired and could not be renewed")
        return keys.credentials

    def start(self) -> None:
        """Get keys and renew them in the background from now on; again is not an error."""
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_renewed())

    async def aclose(self) -> None:
        """Stop renewing."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait((self._renewing,))

    async def renew(self) -> None:
        """Get keys now. Raises StorageError, and then keeps what there was."""
        role = (await self._get("")).decode(errors="replace").strip()
        if not role or "\n" in role:
            raise _unavailable("the metadata service names no role")
        self._keys = _parse(await self._get(quote(role, safe="")), self._wall())

    async def _keep_renewed(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self.renew()
            except StorageError as error:
                self.attempted.set()
                self._report(error)
                await self._sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                continue
            self.attempted.set()
            pause_s = _FIRST_PAUSE_S
            await self._wait_for_renewal()

    async def _wait_for_renewal(self) -> None:
        # At least once: a service that repeats keys at their end is not to be asked in a loop.
        await self._sleep(_FIRST_PAUSE_S)
        while self._keys and (left_s := self._keys.renewal - self._wall()) > 0:
            await self._sleep(min(left_s, _LOOK_S))

    def _report(self, error: StorageError) -> None:
        left_s = self._keys.expires - self._wall() if self._keys else 0.0
        if left_s > 0:
            _log.warning("the role's keys, valid for %.0f s more, not renewed: %s", left_s, error)
        else:
            _log.error("there are no valid keys of the role: %s", error)

    async def _get(self, name: str) -> bytes:
        url = urlsplit(self._base_url + name)
        patience = self._transport.limits.quick
        try:
            reply = await self._transport.exchange(
                Origin.of(self._base_url), "GET", url.path, {"Host": url.netloc}, patience
            )
        except Refusal as refusal:
            if refusal.reply.status == 404:
                raise _unavailable("no role is bound to this machine") from None
            status = refusal.reply.status
            raise _unavailable(f"the metadata service answers with status {status}") from None
        except HttpError as error:
            raise translate(error, RENEWAL, "") from error
        return reply.body


def _parse(document: bytes, now: float) -> _Keys:
    """Read the answer about a role. No error shows what is in it."""
    try:
        answer = json.loads(document)
    except ValueError:  # whose text, as a cause, might end up in a log
        answer = None
    if not isinstance(answer, dict):
        raise _unavailable("the metadata service's answer is no JSON object")
    code, expires = answer.get("Code"), answer.get("ExpiredTime")
    keys = [answer.get(name) for name in ("TmpSecretId", "TmpSecretKey", "Token")]
    if code != "Success":
        raise _unavailable(f"the metadata service answers with the code {str(code)[:40]!r}")
    texts = [key for key in keys if isinstance(key, str) and key]
    if len(texts) < len(keys) or isinstance(expires, bool) or not isinstance(expires, int | float):
        raise _unavailable("the metadata service's answer is incomplete")
    if expires <= now:
        raise _unavailable("the metadata service's keys have expired")
    secret_id, secret_key, token = texts
    return _Keys(Credentials(secret_id, secret_key, token), now, expires)


def _unavailable(detail: str) -> StorageError:
    return StorageError(ErrorKind.UNAVAILABLE, operation=RENEWAL, temporary=True, detail=detail)
