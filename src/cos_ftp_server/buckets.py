"""An account's settings → the client of its bucket, and how files are created there.

It must not know what is done with them: serving, or only trying.
"""

from collections.abc import Callable

from cos_ftp_server.cos.address import BucketAddress
from cos_ftp_server.cos.client import CosClient
from cos_ftp_server.cos.credentials import RoleCredentials
from cos_ftp_server.cos.retry import RetryPolicy
from cos_ftp_server.cos.transport import Transport
from cos_ftp_server.cos.types import CredentialProvider, Credentials, StaticCredentials
from cos_ftp_server.settings import AccountSettings
from cos_ftp_server.vfs.creation import CreationRules

__all__ = ["bucket_address", "creation_rules", "open_bucket", "uses_role"]


def uses_role(account: AccountSettings) -> bool:
    """Whether the account has no keys of its own, so that `RoleCredentials` must give them."""
    return account.cos_credential == "cvm_role"


def bucket_address(account: AccountSettings) -> BucketAddress:
    """Return where the account's bucket is."""
    return BucketAddress(
        bucket=account.cos_bucket,
        region=account.cos_region or "",
        endpoint=account.cos_endpoint or "",
        scheme=account.cos_protocol,
    )


def open_bucket(
    transport: Transport,
    account: AccountSettings,
    role: RoleCredentials,
    retry: RetryPolicy | None = None,
    on_unanswered: Callable[[str], None] = lambda _: None,
) -> CosClient:
    """Return a client of the account's bucket; nothing is sent yet."""
    return CosClient(
        transport,
        bucket_address(account),
        _credentials(account, role),
        retry=retry,
        on_unanswered=on_unanswered,
    )


def _credentials(account: AccountSettings, role: RoleCredentials) -> CredentialProvider:
    if uses_role(account):
        return role
    if account.cos_secretid is None or account.cos_secretkey is None:
        raise ValueError(f"[{account.section}] has neither a key nor a role")
    token = account.cos_token.get_secret_value() if account.cos_token else ""
    key = account.cos_secretkey.get_secret_value()
    return StaticCredentials(Credentials(account.cos_secretid, key, token))


def creation_rules(account: AccountSettings) -> CreationRules:
    """Return how the account's files are created."""
    return CreationRules(
        storage_class=account.storage_class or "",
        server_side_encryption=account.server_side_encryption or "",
        by_name=account.content_type_enable,
        may_replace=account.overwrite_enable,
    )
