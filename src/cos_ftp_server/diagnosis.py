"""Tries an account against its bucket, and says in plain words what is wrong and how to mend it.

Owns the steps and the words. Nothing secret is ever in them. It must not know who reads them.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass

from cos_ftp_server.buckets import bucket_address, creation_rules, open_bucket, uses_role
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.credentials import METADATA_URL, RENEWAL, RoleCredentials
from cos_ftp_server.cos.http_error import HttpError, Trouble
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Timeouts, Transport, create_transport
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.settings import AccountSettings

__all__ = ["AT_A_TERMINAL", "ONCE", "Finding", "examine_accounts", "explain", "find_obstacle"]

ONCE = RetryPolicy(max_tries=1)
"""A diagnosis tells what it meets instead of trying until it has gone."""

AT_A_TERMINAL = Timeouts(connect_s=10, idle_s=20, total_s=20, slow_idle_s=20, slow_total_s=20)
"""Somebody waits at a terminal."""

_AT_ONCE = 8
"""Accounts that are tried at the same time."""

PROBE_NAME = "cos-ftp-server-check-probe-"
"""How the name of a probe object begins; 16 random hex digits follow, so that it replaces none."""

_PROBE = b"Written by `cos-ftp-server check --online`; may be deleted.\n"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one step for one account; `problem` is "" when it went well."""

    account: AccountSettings
    step: str
    problem: str = ""

    def __str__(self) -> str:
        name = f"[{self.account.section}] {self.account.ftp_login_user_name}"
        return f"{name}: {self.step}: {self.problem or 'good'}"


async def examine_accounts(
    accounts: tuple[AccountSettings, ...],
    report: Callable[[Finding], None],
    metadata_url: str = METADATA_URL,
) -> None:
    """Try all accounts, some at a time, and `report` each step as it ends."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def examine_one(account: AccountSettings) -> None:
        async with slots:
            async for finding in _examine(transport, role, account):
                report(finding)

    async with create_transport(AT_A_TERMINAL) as transport, asyncio.TaskGroup() as group:
        role = RoleCredentials(transport, metadata_url)
        for account in accounts:
            group.create_task(examine_one(account))


async def _examine(
    transport: Transport, role: RoleCredentials, account: AccountSettings
) -> AsyncIterator[Finding]:
    if uses_role(account):
        error = await _attempt(role.renew())
        yield Finding(account, "keys of the role", explain(error, account) if error else "")
        if error:
            return
    client = open_bucket(transport, account, role, ONCE)
    examination = _Examination(client, account)
    async for finding in examination.look():
        yield finding
    if "W" in account.authority and examination.may_try_writing:
        async for finding in examination.write():
            yield finding


async def find_obstacle(client: CosClient, account: AccountSettings) -> str:
    """Return in words why the bucket cannot be used, "" if it can."""
    error = await _attempt(client.head_bucket())
    if error and error.status == _FORBIDDEN:
        # An answer to HEAD has no body that says why; the answer to a listing has.
        error = await _attempt(client.list_objects(account.cos_prefix, max_keys=1))
    return explain(error, account, "list the bucket (GetBucket)") if error else ""


class _Examination:
    """The steps with one account."""

    def __init__(self, client: CosClient, account: AccountSettings) -> None:
        self._client = client
        self._account = account
        self.may_try_writing = False

    async def look(self) -> AsyncIterator[Finding]:
        """Connect, sign, HEAD the bucket, and list one key."""
        account, client = self._account, self._client
        head = await _attempt(client.head_bucket())
        if head and not head.status:
            yield Finding(account, "connect", explain(head, account))
            return
        yield Finding(account, "connect")
        listing = await _attempt(client.list_objects(account.cos_prefix, max_keys=1))
        telling = listing or head
        if telling and _code(telling) in _ABOUT_SIGNING:
            yield Finding(account, "sign", explain(telling, account))
            return
        yield Finding(account, "sign", _explain_skew(client.clock_offset_s))
        # A key that may list may do without: only this command sends a HEAD to the bucket.
        known = head if head and listing else None
        action = "look at the bucket (HeadBucket)"
        yield Finding(account, "bucket", explain(known, account, action) if known else "")
        if known and known.kind is not ErrorKind.DENIED:
            return
        action = "list the bucket (GetBucket)"
        yield Finding(account, "list", explain(listing, account, action) if listing else "")
        self.may_try_writing = listing is None or listing.kind is ErrorKind.DENIED

    async def write(self) -> AsyncIterator[Finding]:
        """Write, read back and delete a probe object, which goes whatever happens."""
        account = self._account
        key = f"{account.cos_prefix}{PROBE_NAME}{secrets.token_hex(8)}"
        try:
            error = await self._put(key)
            action = "write objects (PutObject)"
            yield Finding(account, "write", explain(error, account, action) if error else "")
            if error is None:
                yield Finding(account, "read", await self._read_back(key))
        finally:
            # Also when cancelled: what is in the bucket costs money.
            deletion = asyncio.ensure_future(_attempt(self._client.delete_object(key)))
            left = await asyncio.shield(deletion)
        if error is None or (left and error.temporary):
            action = f"delete objects (DeleteObject), and {key!r} is still there"
            yield Finding(account, "delete", explain(left, account, action) if left else "")

    async def _put(self, key: str) -> StorageError | None:
        options = creation_rules(self._account).file_options(key)
        return await _attempt(self._client.put_object(key, _PROBE, options=options))

    async def _read_back(self, key: str) -> str:
        try:
            async with aclosing(await self._client.get_object(key)) as body:
                content = b""
                while chunk := await body.read():
                    content += chunk
        except StorageError as error:
            if error.kind is ErrorKind.ARCHIVED:
                return ""  # as storage_class wants it
            return explain(error, self._account, "read objects (GetObject)")
        return "" if content == _PROBE else "what was read is not what was written"


async def _attempt(work: Awaitable[object]) -> StorageError | None:
    try:
        await work
    except StorageError as error:
        return error
    return None


# The words

_FORBIDDEN = 403

_ABOUT_SIGNING = {
    "InvalidAccessKeyId": "the store does not know cos_secretid: it is mistyped, disabled or "
    "deleted",
    "SignatureDoesNotMatch": "the signature is wrong: cos_secretkey does not belong to "
    "cos_secretid",
    "ExpiredToken": "the temporary keys have expired: cos_secretid, cos_secretkey and cos_token "
    "must be replaced, all three",
    "InvalidToken": "cos_token does not belong to cos_secretid: all three parts of temporary keys "
    "must be given",
    "RequestTimeTooSkewed": "this machine's clock is too far from the store's: set it, and keep "
    "it right (NTP)",
    "PathStyleDomainForbidden": "the bucket refuses requests in path style, as all do that were "
    "made since 2024: cos_endpoint must be a host name instead of an IP address, or cos_region "
    "must be given in its place",
}

_BY_CODE = _ABOUT_SIGNING | {
    "NotSupportedStorageClass": "the bucket does not take the storage_class of this account",
    "OAZOperationNotSupportOnMAZBucket": "the bucket is multi-AZ and takes only a storage_class "
    "that begins with MAZ_",
    "PaymentRequired": "the store's account is in arrears",
    "UnavailableForLegalReasons": "the store's account is in arrears, or has been blocked",
}

_BY_KIND = {
    ErrorKind.INTEGRITY: "what arrived at the store is not what was sent: something on the way "
    "changes data",
    ErrorKind.UNAVAILABLE: "the store is overloaded or out of order: try again later",
}


def explain(error: StorageError, account: AccountSettings, action: str = "do this") -> str:
    """Return in one line what went wrong, what would be right, and what the store itself says.

    `action` completes "this key may not …".
    """
    if error.operation == RENEWAL:
        words = "there are no keys of this machine's role: bind a role to it, or give a key"
    else:
        words = _explain_connection(error, account) or _explain_refusal(error, account, action)
    said = " ".join(filter(None, (str(error.status or ""), error.code, error.detail)))
    trace = f"; request id {error.request_id}" if error.request_id else ""
    return f"{words} ({said}{trace})" if said or trace else words


def _explain_connection(error: StorageError, account: AccountSettings) -> str:
    """Say why there was no answer; "" if there was one, or if it is not about the network."""
    key = "cos_endpoint" if account.cos_endpoint else "cos_region"
    host = bucket_address(account).host
    match error.__cause__:
        case HttpError(trouble=Trouble.DNS):
            return f"{key} is wrong, or DNS does not work on this machine: no address for {host}"
        case HttpError(trouble=Trouble.CERTIFICATE):
            return (
                f"the certificate of {host} is not trusted: {key} must be a name that is in it, "
                "and this machine must know who issued it"
            )
        case HttpError(trouble=Trouble.HANDSHAKE):
            return f"no TLS with {host}: if it speaks plain HTTP, cos_protocol must be http"
        case HttpError(trouble=Trouble.UNREACHABLE):
            return f"nobody answers at {host}: {key} is wrong, or a firewall is in the way"
        case HttpError(trouble=Trouble.CONNECT_TIMEOUT | Trouble.TIMEOUT | Trouble.TOO_SLOW):
            return f"{host} does not answer in time: is a firewall in the way?"
        case HttpError():
            return _explain_stranger(account)
        case _:
            return ""


def _explain_stranger(account: AccountSettings) -> str:
    host = bucket_address(account).host
    key = "cos_endpoint" if account.cos_endpoint else "cos_region"
    return (
        f"{host} does not answer as the store would: is {key} right, and does it speak "
        f"{account.cos_protocol}?"
    )


def _explain_refusal(error: StorageError, account: AccountSettings, action: str) -> str:
    code = _code(error)
    if code in _BY_CODE:
        return _BY_CODE[code]
    if error.status and not error.code and not error.request_id:
        return _explain_stranger(account)
    if error.kind is ErrorKind.NO_BUCKET or 300 <= error.status < 400:
        where = account.cos_endpoint or f"the region {account.cos_region}"
        key = "cos_endpoint" if account.cos_endpoint else "cos_region"
        return (
            f"there is no bucket {account.cos_bucket} at {where}: cos_bucket, with its APPID, or "
            f"{key} is wrong"
        )
    if error.kind is ErrorKind.DENIED:
        return f"this key may not {action}: grant it that, on {account.cos_bucket}"
    return _BY_KIND.get(error.kind, "the store refuses the request")


def _code(error: StorageError) -> str:
    """Return the most specific code: COS may hide it in the message of an AccessDenied."""
    if error.code != "AccessDenied":
        return error.code
    if "expired" in error.detail.lower():
        return "RequestTimeTooSkewed"
    return next((code for code in _BY_CODE if code in error.detail), error.code)


def _explain_skew(offset_s: float) -> str:
    """Say how wrong this machine's clock is; "" if it was right enough."""
    if not offset_s:
        return ""
    side = "behind" if offset_s > 0 else "ahead of"
    return (
        f"this machine's clock is {abs(offset_s):.0f} s {side} the store's; the server allows for "
        "that, but set it, and keep it right (NTP)"
    )
