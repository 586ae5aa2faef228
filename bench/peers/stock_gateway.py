"""The gateway that the common libraries make: pyftpdlib in front of cos-python-sdk-v5.

Written for comparison, in the straightforward way: each file-system call is the SDK's call, and
waits for it. An upload is held in memory until it is a part; a short one is a single PUT. A
download reads the SDK's stream. It is neither tuned nor slowed down, and asks for nothing twice.

Arguments: STORE_PORT BUCKET KEY_ID KEY USER PASSWORD. It says `ready PORT`.
"""

import stat
import sys
import time
from collections.abc import Iterator
from typing import Any

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS, FilesystemError
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
from qcloud_cos import CosConfig, CosS3Client, CosServiceError

_PART_BYTES = 8 * 1024 * 1024  # as this project's gateway begins
_TIME = "%Y-%m-%dT%H:%M:%S.000Z"


class _Upload:
    """A file being written: parts of a multipart upload once there is more than one."""

    closed = False

    def __init__(self, client: CosS3Client, bucket: str, key: str, name: str) -> None:
        self.name = name
        self._client = client
        self._target = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []

    def write(self, data: bytes) -> int:
        self._buffer += data
        if len(self._buffer) >= _PART_BYTES:
            self._send_part()
        return len(data)

    def _send_part(self) -> None:
        if not self._upload_id:
            begun = self._client.create_multipart_upload(**self._target)
            self._upload_id = begun["UploadId"]
        number = len(self._parts) + 1
        sent = self._client.upload_part(
            **self._target,
            Body=bytes(self._buffer),
            PartNumber=number,
            UploadId=self._upload_id,
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
        self._buffer.clear()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if not self._upload_id:
            self._client.put_object(**self._target, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send_part()
        self._client.complete_multipart_upload(
            **self._target, UploadId=self._upload_id, MultipartUpload={"Part": self._parts}
        )


class _Download:
    """A file being read: the body of one GET."""

    closed = False

    def __init__(self, client: CosS3Client, bucket: str, key: str, name: str) -> None:
        self.name = name
        self._body = client.get_object(Bucket=bucket, Key=key)["Body"].get_raw_stream()

    def read(self, size: int) -> bytes:
        data: bytes = self._body.read(size)
        return data

    def close(self) -> None:
        self.closed = True
        self._body.close()


class _Name(str):
    """A name of a listing, which pyftpdlib sorts, with what the listing said about it."""

    size: int
    modified: str

    def __new__(cls, entry: dict[str, str]) -> "_Name":
        name = super().__new__(cls, entry["Key"].rpartition("/")[2])
        name.size = int(entry["Size"])
        name.modified = entry["LastModified"]
        return name


class _BucketFS(AbstractedFS):  # type: ignore[misc] # pyftpdlib has no types
    """The bucket as pyftpdlib's file system."""

    client: CosS3Client
    bucket: str

    def validpath(self, path: str) -> bool:
        return True

    def realpath(self, path: str) -> str:
        return path

    def ftp2fs(self, ftppath: str) -> str:
        return self.ftpnorm(ftppath)  # type: ignore[no-any-return]

    def fs2ftp(self, fspath: str) -> str:
        return fspath

    def open(self, filename: str, mode: str) -> Any:
        kind = _Upload if "w" in mode else _Download
        try:
            return kind(self.client, self.bucket, filename.lstrip("/"), filename)
        except CosServiceError as error:
            raise FilesystemError(error.get_error_code()) from error

    def chdir(self, path: str) -> None:
        self.cwd = path

    def isdir(self, path: str) -> bool:
        return path == "/" or bool(self._list(path.strip("/") + "/", "", 1).get("Contents"))

    def isfile(self, path: str) -> bool:
        return bool(self.client.object_exists(Bucket=self.bucket, Key=path.lstrip("/")))

    def lexists(self, path: str) -> bool:
        return self.isfile(path) or self.isdir(path)

    def getsize(self, path: str) -> int:
        head = self.client.head_object(Bucket=self.bucket, Key=path.lstrip("/"))
        return int(head["Content-Length"])

    def listdir(self, path: str) -> list["_Name"]:
        prefix = path.strip("/") + "/" if path.strip("/") else ""
        marker, found = "", []
        while True:
            page = self._list(prefix, marker, 1000)
            found += [_Name(entry) for entry in page.get("Contents", [])]
            if page["IsTruncated"] != "true":
                return found
            marker = page["NextMarker"]

    def format_list(
        self, basedir: str, listing: list["_Name"], ignore_err: bool = True
    ) -> Iterator[bytes]:
        mode = stat.filemode(stat.S_IFREG | 0o644)
        for name in listing:
            date = time.strftime("%b %d  %Y", time.strptime(name.modified, _TIME))
            yield f"{mode}   1 owner group {name.size:>12} {date} {name}\r\n".encode()

    def _list(self, prefix: str, marker: str, count: int) -> dict[str, Any]:
        page: dict[str, Any] = self.client.list_objects(
            Bucket=self.bucket, Prefix=prefix, Delimiter="/", Marker=marker, MaxKeys=count
        )
        return page


def _main(port: int, bucket: str, key_id: str, key: str, user: str, password: str) -> None:
    config = CosConfig(
        Region="ap-guangzhou",
        SecretId=key_id,
        SecretKey=key,
        Scheme="http",
        IP="127.0.0.1",
        Port=port,
    )
    _BucketFS.client = CosS3Client(config)
    _BucketFS.bucket = bucket
    authorizer = DummyAuthorizer()
    authorizer.add_user(user, password, "/", perm="elradfmwMT")
    FTPHandler.authorizer = authorizer
    FTPHandler.abstracted_fs = _BucketFS
    server = FTPServer(("127.0.0.1", 0), FTPHandler)
    server.max_cons = 4096
    print("ready", server.address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _main(int(sys.argv[1]), *sys.argv[2:])
