"""Reading requests: total functions over whatever a client sends."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from cos_ftp_server.emulator import EmulatorBucket
from cos_ftp_server.emulator.errors import CosError
from cos_ftp_server.emulator.metadata import attributes_of, requested_range
from cos_ftp_server.emulator.signature import Signable, verify
from cos_ftp_server.emulator.target import operation_of, parse_copy_source, parse_target
from cos_ftp_server.emulator.xml import parse_completion, parse_deletion

BUCKETS = frozenset({"bucket-1"})
# What aiohttp makes of any bytes: UTF-8, and escapes for what is not.
wire_text = st.binary(max_size=60).map(lambda data: data.decode(errors="surrogateescape"))
query_text = st.text(alphabet="q-signature=ak&%+;time123?/²", max_size=60)


@given(target=wire_text, host=wire_text, method=st.sampled_from(["GET", "PUT", "POST", "X"]))
def test_any_target_is_read_or_refused(target: str, host: str, method: str) -> None:
    with suppress(CosError):
        found = parse_target("/" + target, host, BUCKETS)
        operation_of(method, found, is_copy=False)
        found.key.encode()


@given(target=query_text, authorization=wire_text | query_text, window=wire_text | query_text)
def test_any_signature_is_refused(target: str, authorization: str, window: str) -> None:
    full = (
        f"q-sign-algorithm=sha1&q-ak=id&q-sign-time={window}&q-key-time=1;9999999999"
        f"&q-header-list=host&q-url-param-list=&q-signature={authorization}"
    )
    keys = [EmulatorBucket("bucket-1", "id", "key")]

    def check(header: str) -> None:
        found = parse_target("/?" + target, "bucket-1.x", BUCKETS)
        headers = CIMultiDict({"Host": "bucket-1.x", "Authorization": header})
        verify(Signable("GET", found, headers), keys, 1000)

    for header in (authorization, full):
        with pytest.raises(CosError):  # already for a target that is none
            check(header)


@given(value=wire_text)
def test_any_header_is_read_or_refused(value: str) -> None:
    with suppress(CosError):
        parse_copy_source(value, BUCKETS)
    with suppress(CosError):
        attributes_of(CIMultiDict({"x-cos-meta-a": value, "Content-Type": value}))
    with suppress(CosError):
        requested_range(value, 10)
    with suppress(CosError):
        requested_range(f"bytes={'9' * 5000}-", 10)


@given(body=st.binary(max_size=100))
def test_any_document_is_read_or_refused(body: bytes) -> None:
    for parse, root in (
        (parse_completion, b"CompleteMultipartUpload"),
        (parse_deletion, b"Delete"),
    ):
        for document in (body, b"<%b>%b</%b>" % (root, body, root)):
            with suppress(CosError):
                parse(document)
