"""The store's configuration in tests, the official SDK as its client, and raw signed requests."""

import asyncio
import http.client
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import requests
from qcloud_cos import CosConfig, CosS3Client
from qcloud_cos.cos_auth import CosS3Auth

from cos_ftp_server.emulator import EmulatorBucket, EmulatorConfig

BUCKET = "examplebucket-1250000000"
OTHER_BUCKET = "other-1250000000"
SECRET_ID = "AKIDexample"
SECRET_KEY = "secretexample"


class Sdk:
    """The official client, whose blocking calls run in threads: `await sdk("put_object", …)`."""

    def __init__(self, client: CosS3Client) -> None:
        self.client = client

    async def __call__(self, method: str, **arguments: Any) -> Any:
        arguments.setdefault("Bucket", BUCKET)
        return await asyncio.to_thread(getattr(self.client, method), **arguments)

    async def read(self, key: str, **arguments: Any) -> bytes:
        def call() -> bytes:
            response = self.client.get_object(Bucket=BUCKET, Key=key, **arguments)
            content: bytes = response["Body"].get_raw_stream().read()
            return content

        return await asyncio.to_thread(call)


def make_config(directory: Path, **settings: Any) -> EmulatorConfig:
    buckets = (
        EmulatorBucket(BUCKET, SECRET_ID, SECRET_KEY),
        EmulatorBucket(OTHER_BUCKET, SECRET_ID, SECRET_KEY),
        EmulatorBucket(OTHER_BUCKET, "AKIDother", "othersecret", token="sts/token+="),
    )
    return EmulatorConfig(directory=directory, buckets=buckets, **settings)


def make_sdk(port: int, **settings: Any) -> Sdk:
    config: dict[str, Any] = {
        "Region": "ap-guangzhou",
        "SecretId": SECRET_ID,
        "SecretKey": SECRET_KEY,
        "Scheme": "http",
        "IP": "127.0.0.1",
        "Port": port,
        **settings,
    }
    return Sdk(CosS3Client(CosConfig(**config), retry=0))


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class RawClient:
    """Sends requests byte for byte as told, signed by the official SDK's signer."""

    port: int

    async def __call__(self, method: str, key: str = "", **request: Any) -> Answer:
        """Send a request; `path` overrides the wire path, `change` edits the signature."""
        return await asyncio.to_thread(self._send, method, key, **request)

    def _send(
        self,
        method: str,
        key: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        path: str | None = None,
        host: str = f"{BUCKET}.cos.ap-guangzhou.myqcloud.com",
        signed_host: str = "",
        without_length: bool = False,
        change: Callable[[str], str] = str,
        timeout: float = 20,
    ) -> Answer:
        sent = {"Host": host, **(headers or {})}
        config = make_sdk(self.port).client.get_conf()
        to_sign = {**sent, "Host": signed_host or host}
        unsigned = requests.Request(method, f"http://{host}/", headers=to_sign)
        signed = CosS3Auth(config, key, dict(params or {}), 300)(unsigned)
        target = quote(f"/{key}") if path is None else path
        if params:
            target += "?" + urlencode(params)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent["Authorization"] = change(signed.headers["Authorization"])
            if without_length:
                connection.putrequest(method, target, skip_host=True)
                for name, value in sent.items():
                    connection.putheader(name, value)
                connection.endheaders()
            else:
                connection.request(method, target, body=body or None, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()
