"""The only table from a store's answer (status, code, message) to our kind of error. Pure.

Knows nothing of how an answer arrived. COS: Error Codes.
"""

import re

from cos_ftp_server.errors import ErrorKind, StorageError

__all__ = ["classify", "make_error"]

_K = ErrorKind

# code: (kind, temporary). What is not here goes by status.
_BY_CODE: dict[str, tuple[ErrorKind, bool]] = {
    "NoSuchKey": (_K.NOT_FOUND, False),
    "NoSuchVersion": (_K.NOT_FOUND, False),
    "NoSuchCopySource": (_K.NOT_FOUND, False),
    "NoSuchBucket": (_K.NO_BUCKET, False),
    "NoSuchUpload": (_K.NO_UPLOAD, False),
    "AccessDenied": (_K.DENIED, False),
    "SignatureDoesNotMatch": (_K.DENIED, False),
    "InvalidAccessKeyId": (_K.DENIED, False),
    "PathStyleDomainForbidden": (_K.DENIED, False),
    "UserNotSourceBucketOwner": (_K.DENIED, False),
    "RequestTimeTooSkewed": (_K.DENIED, False),
    "PaymentRequired": (_K.DENIED, False),
    "ObjectLocked": (_K.DENIED, False),
    "MethodNotAllowed": (_K.DENIED, False),
    # The provider renews temporary keys on its own schedule: the next try has new ones.
    "ExpiredToken": (_K.DENIED, True),
    "InvalidObjectState": (_K.ARCHIVED, False),
    "RestoreAlreadyInProgress": (_K.ARCHIVED, True),
    "DownloadForbidden": (_K.BLOCKED, False),
    "UnavailableForLegalReasons": (_K.BLOCKED, False),
    "PreconditionFailed": (_K.CHANGED, False),
    "PathConflict": (_K.CONFLICT, True),
    "UploadConflict": (_K.CONFLICT, True),
    "FileAlreadyExists": (_K.EXISTS, False),
    "InvalidRange": (_K.BAD_RANGE, False),
    "InvalidObjectName": (_K.BAD_NAME, False),
    "InvalidURI": (_K.BAD_NAME, False),
    "KeyTooLong": (_K.BAD_NAME, False),
    "EntityTooLarge": (_K.TOO_LARGE, False),
    # The body was not what its headers said: damaged or cut on the way, and can be sent again.
    "BadDigest": (_K.INTEGRITY, True),
    "EntitySizeNotMatch": (_K.INTEGRITY, True),
    "IncompleteBody": (_K.INTEGRITY, True),
    "RequestTimeout": (_K.UNAVAILABLE, True),
    "UserNetworkTooSlow": (_K.UNAVAILABLE, True),
    "InternalError": (_K.UNAVAILABLE, True),
    "ServiceUnavailable": (_K.UNAVAILABLE, True),
    "SlowDown": (_K.UNAVAILABLE, True),
    "KmsFreqControl": (_K.UNAVAILABLE, True),
    "NotImplemented": (_K.BAD_REQUEST, False),
}

# For answers without a body (every HEAD) or with one that is not COS's (proxies, gateways).
_BY_STATUS: dict[int, tuple[ErrorKind, bool]] = {
    304: (_K.CHANGED, False),
    401: (_K.DENIED, False),
    402: (_K.DENIED, False),
    403: (_K.DENIED, False),
    404: (_K.NOT_FOUND, False),
    405: (_K.DENIED, False),
    408: (_K.UNAVAILABLE, True),
    409: (_K.CONFLICT, False),
    412: (_K.CHANGED, False),
    413: (_K.TOO_LARGE, False),
    414: (_K.BAD_NAME, False),
    416: (_K.BAD_RANGE, False),
    429: (_K.UNAVAILABLE, True),
    451: (_K.BLOCKED, False),
    501: (_K.BAD_REQUEST, False),
}

_WORD = re.compile(r"[A-Z][A-Za-z]+")
_LONGEST_DETAIL = 300  # characters of a foreign message that a log line carries


def classify(status: int, code: str, message: str) -> tuple[ErrorKind, bool]:
    """Return the kind of an error and whether it is temporary.

    COS reports several refusals as AccessDenied with the specific word in the message (COS:
    403 troubleshooting), so that such a word decides there. `status` is 200 for an error
    inside a successful answer; an unknown code in one counts as permanent.

    >>> classify(403, "AccessDenied", "DownloadForbidden: use a custom domain")
    (<ErrorKind.BLOCKED: 'download refused by the store'>, False)
    """
    if code == "AccessDenied":
        for word in _WORD.findall(message):
            if word in _BY_CODE:
                return _BY_CODE[word]
    found = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if found is not None:
        return found
    return (_K.UNAVAILABLE, True) if status >= 500 else (_K.BAD_REQUEST, False)


def make_error(
    operation: str, key: str, *, status: int, code: str, message: str, request_id: str
) -> StorageError:
    """Return the exception for an answer that is not a success."""
    kind, temporary = classify(status, code, message)
    return StorageError(
        kind,
        operation=operation,
        key=key,
        temporary=temporary,
        status=status,
        code=code,
        request_id=request_id,
        detail=" ".join(message.split())[:_LONGEST_DETAIL],
    )
