"""The demo: the embedded store and one account on it, so that a first run needs no COS account."""

import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import SecretStr

from cos_ftp_server.app import Gateway
from cos_ftp_server.emulator import Emulator, EmulatorBucket, EmulatorConfig
from cos_ftp_server.settings import (
    AccountSettings,
    NetworkSettings,
    OptionalSettings,
    Settings,
)

__all__ = ["Demo"]

_BUCKET = "demo-1250000000"
_USER = "demo"
_PASSWORD = "demo"  # noqa: S105 - printed on the screen, and the server listens on loopback


class Demo:
    """A gateway in front of an embedded store. With no `data` directory nothing is kept."""

    def __init__(self, host: str, port: int, data: Path | None) -> None:
        self._host = host
        self._port = port
        self._data = data
        self._resources = AsyncExitStack()
        self._gateway: Gateway | None = None

    @property
    def url(self) -> str:
        """Where clients connect, with user and password."""
        if self._gateway is None:
            raise RuntimeError("the demo has not been started")
        return self._gateway.url.replace("ftp://", f"ftp://{_USER}:{_PASSWORD}@")

    async def start(self) -> None:
        """Return when clients can connect. Raises OSError when the port is taken."""
        home = self._resources.enter_context(TemporaryDirectory(prefix="cos-ftp-demo-"))
        keys = EmulatorBucket(_BUCKET, "demo", secrets.token_hex(20))
        store = Emulator(EmulatorConfig(directory=self._data or Path(home), buckets=(keys,)))
        self._resources.push_async_callback(store.aclose)
        await store.start()
        # A demo that was killed left them; with the port in it, no record would fit the new store.
        await store.abort_uploads(keys.name)
        gateway = Gateway(self._settings(keys, store.port, Path(home)))
        self._resources.push_async_callback(gateway.aclose)
        await gateway.start()
        self._gateway = gateway

    def _settings(self, keys: EmulatorBucket, store_port: int, home: Path) -> Settings:
        account = AccountSettings(
            section="DEMO",
            cos_secretid=keys.secret_id,
            cos_secretkey=SecretStr(keys.secret_key),
            cos_bucket=keys.name,
            cos_endpoint=f"127.0.0.1:{store_port}",
            cos_protocol="http",
            home_dir=home,
            ftp_login_user_name=_USER,
            ftp_login_user_password=SecretStr(_PASSWORD),
            authority="RW",
        )
        network = NetworkSettings(listen_address=(self._host,), listen_port=self._port)
        optional = OptionalSettings(log_dir=home)  # where no log is written
        return Settings(accounts=(account,), network=network, optional=optional)

    async def drain(self) -> None:
        """Give transfers in flight time to finish."""
        if self._gateway is not None:
            await self._gateway.drain()

    async def aclose(self) -> None:
        """Stop now."""
        await self._resources.aclose()
