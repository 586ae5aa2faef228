"""The table from answers to kinds."""

import pytest

from cos_ftp_server.cos.parse_error import classify, make_error
from cos_ftp_server.errors import ErrorKind as K


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (404, "NoSuchKey", "", (K.NOT_FOUND, False)),
        (404, "NoSuchBucket", "", (K.NO_BUCKET, False)),
        (404, "NoSuchUpload", "", (K.NO_UPLOAD, False)),
        (404, "", "", (K.NOT_FOUND, False)),
        (403, "", "", (K.DENIED, False)),
        (403, "AccessDenied", "Access Denied.", (K.DENIED, False)),
        (403, "AccessDenied", "InvalidObjectState: restore it", (K.ARCHIVED, False)),
        (403, "AccessDenied", "PathStyleDomainForbidden", (K.DENIED, False)),
        (403, "InvalidObjectState", "", (K.ARCHIVED, False)),
        (400, "DownloadForbidden", "", (K.BLOCKED, False)),
        (451, "UnavailableForLegalReasons", "", (K.BLOCKED, False)),
        (400, "ExpiredToken", "", (K.DENIED, True)),
        (400, "BadDigest", "", (K.INTEGRITY, True)),
        (400, "RequestTimeout", "", (K.UNAVAILABLE, True)),
        (400, "InvalidArgument", "", (K.BAD_REQUEST, False)),
        (400, "KeyTooLong", "", (K.BAD_NAME, False)),
        (400, "EntityTooLarge", "", (K.TOO_LARGE, False)),
        (409, "PathConflict", "", (K.CONFLICT, True)),
        (409, "FileAlreadyExists", "", (K.EXISTS, False)),
        (409, "", "", (K.CONFLICT, False)),
        (412, "", "", (K.CHANGED, False)),
        (416, "InvalidRange", "", (K.BAD_RANGE, False)),
        (416, "", "", (K.BAD_RANGE, False)),
        (429, "", "", (K.UNAVAILABLE, True)),
        (500, "InternalError", "", (K.UNAVAILABLE, True)),
        (502, "", "", (K.UNAVAILABLE, True)),
        (503, "SlowDown", "", (K.UNAVAILABLE, True)),
        (520, "", "", (K.UNAVAILABLE, True)),
        (501, "NotImplemented", "", (K.BAD_REQUEST, False)),
        (301, "", "", (K.BAD_REQUEST, False)),
        (200, "SlowDown", "", (K.UNAVAILABLE, True)),
        (200, "NoSuchKey", "", (K.NOT_FOUND, False)),
        (200, "Unheard", "", (K.BAD_REQUEST, False)),
    ],
)
def test_classify(status: int, code: str, message: str, expected: tuple[K, bool]) -> None:
    assert classify(status, code, message) == expected


def test_a_foreign_message_cannot_break_a_log_line() -> None:
    error = make_error(
        "put object", "k", status=400, code="X", message="a\nb\r\n" + "c" * 1000, request_id="r"
    )
    assert error.detail.startswith("a b c")
    assert len(error.detail) <= 300
    assert "request_id=r" in str(error)
