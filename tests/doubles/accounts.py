"""An authenticator that knows one user, `user` with the password `secret`."""

from cos_ftp_server.accounts import Account
from cos_ftp_server.protocol.commands import Permission
from cos_ftp_server.vfs.base import FileSystem

__all__ = ["ALL_PERMISSIONS", "PASSWORD", "USER", "OneUser"]

USER = "user"
PASSWORD = "secret"  # not one
ALL_PERMISSIONS = Permission.READ | Permission.WRITE | Permission.DELETE


class OneUser:
    def __init__(self, file_system: FileSystem, permissions: Permission = ALL_PERMISSIONS) -> None:
        self._account = Account(USER, file_system, permissions)

    async def authenticate(self, user: str, password: str) -> Account | None:
        return self._account if (user, password) == (USER, PASSWORD) else None
