"""Who may log in, and to what: FTP users, their passwords, permissions and file systems.

Owns the comparison of passwords. It must not know sessions, replies or where accounts come from.
"""

import asyncio
import hmac
import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import argon2
from argon2.exceptions import VerificationError, VerifyMismatchError

from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.vfs.base import FileSystem

__all__ = ["Account", "Accounts", "Authenticator", "Login", "hash_password"]

_log = logging.getLogger(__name__)

_HASH_PREFIX = "$argon2id$"

# OWASP Password Storage Cheat Sheet: Argon2id with 19 MiB, 2 passes, 1 lane; about 20 ms.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

_HASH_THREADS = 2
"""Hashes computed at once: logins must neither take all cores nor more than this times 19 MiB."""


@dataclass(frozen=True, slots=True)
class Account:
    """An FTP user: what is seen after login, and what may be done there."""

    name: str
    file_system: FileSystem = field(repr=False)
    permissions: Permission
    max_sessions: int = 0
    """Of this user at any one time; 0 = no limit."""


@dataclass(frozen=True, slots=True)
class Login:
    """An account with its password, plain or as an argon2id hash (`$argon2id$…`)."""

    account: Account
    password: str = field(repr=False)

    @property
    def is_hashed(self) -> bool:
        """Whether `password` is a hash."""
        return self.password.startswith(_HASH_PREFIX)


class Authenticator(Protocol):
    """Decides about a user name and a password."""

    async def authenticate(self, user: str, password: str) -> Account | None:
        """Return the account, or None; how long it takes does not tell why."""
        ...


class Accounts:
    """The authenticator for accounts that are given. `close` it when no login can come any more.

    Every attempt does the same work, whether the user exists or not: one comparison in constant
    time, and one hash if any account has a hashed password. Hashes that were made with other
    parameters than the first one take a different time, which tells that such a user exists.
    """

    def __init__(self, logins: Iterable[Login]) -> None:
        self.replace(logins)
        self._threads = ThreadPoolExecutor(_HASH_THREADS, thread_name_prefix="password")

    def replace(self, logins: Iterable[Login]) -> None:
        """Know these accounts from now on; an attempt that began with another one fails."""
        self._logins = {login.account.name: login for login in logins}
        hashes = [login.password for login in self._logins.values() if login.is_hashed]
        self._decoy_hash = hashes[0] if hashes else None

    async def authenticate(self, user: str, password: str) -> Account | None:
        """See Authenticator."""
        login = self._logins.get(user)
        # Bytes that are no UTF-8 come from the wire as surrogates.
        given = password.encode("utf-8", "surrogateescape")
        # What is to be decided elsewhere, or cannot be right, is compared with what never matches.
        expected = login.password if login and not login.is_hashed else password + "x"
        accepted = hmac.compare_digest(given, expected.encode("utf-8", "surrogateescape"))
        if self._decoy_hash is not None:
            is_hashed = login is not None and login.is_hashed
            target = login.password if login and is_hashed else self._decoy_hash
            loop = asyncio.get_running_loop()
            matches = await loop.run_in_executor(self._threads, _verify, target, given)
            if is_hashed:
                accepted = matches
        is_current = self._logins.get(user) is login
        return login.account if login and accepted and is_current else None

    def close(self) -> None:
        """Stop the threads; an attempt that waits for one is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def hash_password(password: str) -> str:
    """Return the argon2id hash of `password` with a fresh salt. Blocks for about 20 ms."""
    return _HASHER.hash(password)


def _verify(hashed: str, password: bytes) -> bool:
    try:
        return _HASHER.verify(hashed, password)
    except VerifyMismatchError:
        return False
    except VerificationError as error:  # such as: no memory to compute it
        _log.error("a password hash could not be checked: %s", error)
        return False
