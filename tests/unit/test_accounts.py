import hmac
import threading
from collections.abc import Iterator
from typing import cast

import argon2
import pytest

from cos_ftp_server.accounts import Account, Accounts, Login, hash_password
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.vfs.base import FileSystem

FILE_SYSTEM = cast(FileSystem, object())
PASSWORD = "pässword"
# A constant, since it is part of the names of tests, which must not change from run to run.
HASHED = (
    "$argon2id$v=19$m=19456,t=2,p=1$km/fLlSHTtMcCmJ/w8GN+g"
    "$ot4IqFy5SEobKHFl+a+GTdD6CDE3IxN425ZYiWaKWY4"
)


def account(name: str) -> Account:
    return Account(name, FILE_SYSTEM, Permission.READ)


class Work:
    """Counts what an attempt costs, and on which threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.comparisons = 0
        self.hashes: list[str] = []
        compare, verify = hmac.compare_digest, argon2.PasswordHasher.verify

        def counting_compare(first: bytes, second: bytes) -> bool:
            self.comparisons += 1
            return compare(first, second)

        def counting_verify(
            hasher: argon2.PasswordHasher, hashed: str | bytes, password: str | bytes
        ) -> bool:
            self.hashes.append(threading.current_thread().name)
            return verify(hasher, hashed, password)

        monkeypatch.setattr(hmac, "compare_digest", counting_compare)
        monkeypatch.setattr(argon2.PasswordHasher, "verify", counting_verify)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    return Work(monkeypatch)


@pytest.fixture
def plain() -> Iterator[Accounts]:
    made = Accounts([Login(account("plain"), PASSWORD)])
    yield made
    made.close()


@pytest.fixture
def mixed() -> Iterator[Accounts]:
    made = Accounts([Login(account("plain"), PASSWORD), Login(account("hashed"), HASHED)])
    yield made
    made.close()


ATTEMPTS = [
    ("plain", PASSWORD, True),
    ("plain", "wrong", False),
    ("plain", "", False),
    ("plain", PASSWORD + "x", False),
    ("hashed", PASSWORD, True),
    ("hashed", "wrong", False),
    ("hashed", HASHED, False),
    ("nobody", PASSWORD, False),
    ("nobody", "", False),
    ("", "", False),
    ("\udcff", "\udcff", False),
]


@pytest.mark.parametrize(("user", "password", "accepted"), ATTEMPTS)
async def test_an_attempt_costs_the_same_whoever_tries(
    mixed: Accounts, work: Work, user: str, password: str, accepted: bool
) -> None:
    found = await mixed.authenticate(user, password)
    assert (found.name if found else None) == (user if accepted else None)
    assert work.comparisons == 1
    assert len(work.hashes) == 1
    assert all(name.startswith("password") for name in work.hashes)


@pytest.mark.parametrize(("user", "password", "accepted"), ATTEMPTS)
async def test_plain_passwords_alone_cost_no_hash(
    plain: Accounts, work: Work, user: str, password: str, accepted: bool
) -> None:
    found = await plain.authenticate(user, password)
    assert (found is not None) == (accepted and user == "plain")
    assert work.comparisons == 1
    assert work.hashes == []


async def test_no_accounts_let_nobody_in() -> None:
    nobody = Accounts([])
    assert await nobody.authenticate("", "") is None
    nobody.close()


async def test_a_hash_that_cannot_be_checked_refuses_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = Accounts([Login(account("user"), "$argon2id$v=19$m=8,t=1,p=1$AAAA$AAAA")])
    assert await broken.authenticate("user", PASSWORD) is None
    broken.close()
    assert "could not be checked" in caplog.text
    assert PASSWORD not in caplog.text


def test_hashes_are_salted_and_follow_the_recommended_cost() -> None:
    first, second = hash_password(PASSWORD), hash_password(PASSWORD)
    assert first != second
    parameters = argon2.extract_parameters(first)
    assert parameters.type is argon2.Type.ID
    assert (parameters.memory_cost, parameters.time_cost) == (19 * 1024, 2)


def test_a_login_never_shows_its_password() -> None:
    assert PASSWORD not in repr(Login(account("user"), PASSWORD))
