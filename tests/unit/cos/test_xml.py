"""XML in and out."""

from datetime import UTC, datetime
from urllib.parse import quote
from xml.etree.ElementTree import fromstring
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.cos.types import CompletedPart, Part
from cos_ftp_server.cos.xml import (
    ErrorAnswer,
    StoreMessage,
    XmlError,
    build_complete,
    build_delete,
    is_xml_text,
    parse_delete_result,
    parse_error_body,
    parse_list,
    parse_parts,
    parse_upload_id,
    parse_uploads,
    parse_written,
)

LISTING = """<?xml version='1.0' encoding='utf-8' ?>
<ListBucketResult{namespace}>
  <Name>b</Name><EncodingType>url</EncodingType><Prefix/><Marker/><MaxKeys>1000</MaxKeys>
  <IsTruncated>true</IsTruncated><NextMarker>dir%2Fsub/</NextMarker>
  <Contents><Key>a%20b%2B%E7%9B%AE</Key><LastModified>2020-12-10T03:37:30.000Z</LastModified>
    <ETag>&quot;abc&quot;</ETag><Size>7</Size>
    <Owner><ID>1</ID><DisplayName>1</DisplayName></Owner>
    <StorageClass>STANDARD_IA</StorageClass></Contents>
  <CommonPrefixes><Prefix>dir%2Fsub/</Prefix></CommonPrefixes>
</ListBucketResult>"""


@pytest.mark.parametrize(
    "namespace", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"', ' xmlns:c="urn:c"']
)
def test_a_listing(namespace: str) -> None:
    page = parse_list(LISTING.format(namespace=namespace).encode())
    [entry] = page.objects
    assert (entry.key, entry.size, entry.etag) == ("a b+目", 7, '"abc"')
    assert entry.modified == datetime(2020, 12, 10, 3, 37, 30, tzinfo=UTC)
    assert entry.options.storage_class == "STANDARD_IA"
    assert page.prefixes == ("dir/sub/",)
    assert page.next_marker == "dir/sub/"


def listing(body: str) -> bytes:
    return f"<ListBucketResult xmlns:c='urn:c'>{body}</ListBucketResult>".encode()


def entry(key: str, modified: str = "2020-12-10T03:37:30.000Z") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified>"
        f"<ETag>x</ETag><Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def test_keys_are_taken_as_they_are_unless_the_answer_says_otherwise() -> None:
    assert parse_list(listing(entry("100%25"))).objects[0].key == "100%25"


def test_the_last_page_has_no_marker() -> None:
    page = parse_list(listing("<IsTruncated>false</IsTruncated><NextMarker>x</NextMarker>"))
    assert page.next_marker == ""


@pytest.mark.parametrize(
    ("rest", "marker"),
    [
        (entry("a") + entry("b"), "b"),
        (entry("b") + "<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>", "b"),
        (entry("b") + "<CommonPrefixes><Prefix>c/</Prefix></CommonPrefixes>", "c/"),
    ],
)
def test_a_missing_next_marker_is_the_last_entry(rest: str, marker: str) -> None:
    assert parse_list(listing(f"<IsTruncated>true</IsTruncated>{rest}")).next_marker == marker


def test_a_page_that_would_be_asked_for_forever_is_refused() -> None:
    with pytest.raises(XmlError, match="truncated"):
        parse_list(listing("<IsTruncated>true</IsTruncated>"))


@pytest.mark.parametrize(
    "modified",
    [
        "2020-12-10T03:37:30.000Z",
        "2020-12-10T03:37:30Z",
        "2020-12-10T03:37:30",
        "2020-12-10T11:37:30+08:00",
    ],
)
def test_times_in_all_their_spellings(modified: str) -> None:
    [found] = parse_list(listing(entry("k", modified))).objects
    assert found.modified == datetime(2020, 12, 10, 3, 37, 30, tzinfo=UTC)


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_url_encoded_keys_come_back(key: str) -> None:
    page = parse_list(listing(f"<EncodingType>url</EncodingType>{entry(quote(key))}"))
    assert page.objects[0].key == key


USUAL = {
    "Key": ["a", "d/%E7%9B%AE", "目", "a&amp;b", "&#13;", "a\rb", ">"],
    "LastModified": ["2020-12-10T03:37:30.000Z", "2020-12-10T03:37:30+08:00"],
    "ETag": ["&quot;a1-2&quot;", '"A"', "&#34;&#34;", "x", "&quot;&amp;quot;&quot;"],
    "Size": ["0", "007", "12345678901234", " 7 ", "\u0667"],
    "Owner": ["<ID>1</ID><DisplayName>1</DisplayName>"],
    "StorageClass": ["STANDARD", "MAZ_STANDARD_IA", ""],
    "RestoreStatus": ["ONGOING"],
}
"""What stores write in the children of an entry."""

OTHERS = [
    "\n",
    "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>",
    "<c:Contents><Key>k</Key><Size>1</Size><LastModified>20201210</LastModified></c:Contents>",
    "<c:Contents/>",
    "<Contents/>",
    "<Name><Contents/></Name>",
]
"""What may stand between them."""

any_text = st.text(st.characters(codec="utf-8"), max_size=4).filter(is_xml_text).map(escape)


@st.composite
def contents(draw: st.DrawFn) -> str:
    """An entry as COS writes it, or nearly so."""
    names = list(USUAL)
    if draw(st.integers(0, 3)) == 0:
        names.remove(draw(st.sampled_from(names)))
    if draw(st.integers(0, 9)) == 0:
        names = draw(st.permutations(names))
    odd = draw(st.sampled_from([*names, *[""] * len(names)]))
    space = draw(st.sampled_from(["", "\n  "]))
    children = [
        f"<{name}>{draw(any_text if name == odd else st.sampled_from(USUAL[name]))}</{name}>"
        for name in names
    ]
    return f"<Contents>{space}{space.join(children)}{space}</Contents>"


def result(data: bytes) -> object:
    try:
        return parse_list(data)
    except XmlError:
        return XmlError


@given(
    st.lists(contents() | st.sampled_from(OTHERS), max_size=4),
    st.sampled_from(["", "<EncodingType>url</EncodingType>", "<IsTruncated>true</IsTruncated>"]),
)
def test_entries_mean_the_same_to_the_pattern_and_to_the_parser(
    entries: list[str], head: str
) -> None:
    rows = "".join(entries)
    comment = "<!-- with one, the parser reads everything -->"
    assert result(listing(head + rows)) == result(listing(head + rows + comment))


@pytest.mark.parametrize(
    "hidden",
    [
        f"<!-- {entry('b')} -->",
        f"<Name><![CDATA[{entry('b')}]]></Name>",
        f"<?note {entry('b')}?>",
        f"<Name>{entry('b')}</Name>",
    ],
)
@pytest.mark.parametrize("keys", [[], ["a", "c"]])
def test_what_only_looks_like_an_entry(hidden: str, keys: list[str]) -> None:
    body = hidden.join(map(entry, keys)) or hidden
    page = parse_list(b"<?xml version='1.0'?>" + listing(body))
    assert [meta.key for meta in page.objects] == keys


@pytest.mark.parametrize(
    "body",
    [
        f"<Name x='{entry('a')}'/>",
        "<Contents/>",
        f"{entry('a')}<Contents/>",
        f"{entry('a')}</ListBucketResult>{entry('b')}",
    ],
)
def test_entries_in_the_wrong_place_are_refused(body: str) -> None:
    with pytest.raises(XmlError):
        parse_list(listing(body))


def test_a_page_that_is_no_text_is_refused() -> None:
    with pytest.raises(XmlError):
        parse_list(listing(entry("?")).replace(b"?", b"\xff"))


def test_parts() -> None:
    page = parse_parts(
        b"<ListPartsResult><Part><PartNumber>3</PartNumber><ETag>&quot;e&quot;</ETag>"
        b"<Size>9</Size></Part><IsTruncated>true</IsTruncated>"
        b"<NextPartNumberMarker>3</NextPartNumberMarker></ListPartsResult>"
    )
    assert page.parts == (Part(3, '"e"', 9),)
    assert page.next_marker == 3


def test_uploads() -> None:
    page = parse_uploads(
        b"<ListMultipartUploadsResult><Encoding-Type>url</Encoding-Type>"
        b"<IsTruncated>true</IsTruncated><NextKeyMarker>a%2Fb</NextKeyMarker>"
        b"<NextUploadIdMarker>u</NextUploadIdMarker><Upload><Key>a%2Fb</Key>"
        b"<UploadId>u</UploadId><Initiated>2020-12-10T03:37:30.000Z</Initiated></Upload>"
        b"</ListMultipartUploadsResult>"
    )
    assert [(u.key, u.upload_id) for u in page.uploads] == [("a/b", "u")]
    assert (page.next_key_marker, page.next_upload_id_marker) == ("a/b", "u")


def test_initiated() -> None:
    body = b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
    assert parse_upload_id(body) == "u1"


def test_a_result_after_dripped_white_space() -> None:
    body = (
        b"  \n  \n<?xml version='1.0' encoding='utf-8' ?>"
        b"<CompleteMultipartUploadResult xmlns='http://www.qcloud.com/document/product/436/7751'>"
        b"<ETag>&quot;x-2&quot;</ETag><CRC64>18446744073709551615</CRC64>"
        b"</CompleteMultipartUploadResult>"
    )
    answer = parse_written(body)
    assert (answer.etag, answer.crc64) == ('"x-2"', 2**64 - 1)


ERROR = (
    b"<Error><Code>SlowDown</Code><Message>please</Message><RequestId>r</RequestId>"
    b"<TraceId/></Error>"
)


@pytest.mark.parametrize("parse", [parse_written, parse_list, parse_upload_id, parse_parts])
def test_an_error_in_place_of_a_result(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(ErrorAnswer) as caught:
        parse(ERROR)
    assert caught.value.message == StoreMessage("SlowDown", "please", "r")


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"<CopyObjectResult/>", b"<a", b"\xff\xfe", b"<Other><a/></Other>"]
)
def test_what_is_no_success_is_refused(body: bytes) -> None:
    with pytest.raises(XmlError):
        parse_written(body)


BOMB = '<!DOCTYPE a [<!ENTITY b "boom">]><CopyObjectResult><ETag>&b;</ETag></CopyObjectResult>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_document_types_are_refused(encoding: str) -> None:
    with pytest.raises(XmlError):
        parse_written(BOMB.encode(encoding))


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", b"<p>", b"busy", b"\xff"])
def test_an_error_body_that_is_not_the_store_s(body: bytes) -> None:
    assert parse_error_body(body) == StoreMessage()


def test_an_error_body() -> None:
    assert parse_error_body(ERROR) == StoreMessage("SlowDown", "please", "r")


xml_keys = st.text(st.characters(codec="utf-8"), min_size=1).filter(is_xml_text)


@given(st.lists(xml_keys, min_size=1, max_size=5))
def test_delete_names_exactly_the_keys(keys: list[str]) -> None:
    root = fromstring(build_delete(keys).decode())
    assert root.findtext("Quiet") == "true"
    assert [element.text for element in root.iter("Key")] == keys


@pytest.mark.parametrize("text", ["\x00", "a\x1b", "a\rb", "\ufffe"])
def test_what_xml_cannot_carry(text: str) -> None:
    assert not is_xml_text(text)


def test_delete_result() -> None:
    failures = parse_delete_result(
        b"<DeleteResult><Error><Key>a&amp;b</Key><Code>AccessDenied</Code>"
        b"<Message>no</Message></Error></DeleteResult>"
    )
    assert [(f.key, f.code, f.message) for f in failures] == [("a&b", "AccessDenied", "no")]


def test_complete_lists_parts_in_order() -> None:
    root = fromstring(build_complete([CompletedPart(1, '"a"'), CompletedPart(2, '"<b"')]).decode())
    assert [(p.findtext("PartNumber"), p.findtext("ETag")) for p in root] == [
        ("1", '"a"'),
        ("2", '"<b"'),
    ]
