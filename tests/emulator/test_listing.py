"""Pages of a listing, against the plain definition, and what they cost."""

from collections.abc import Iterator
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.emulator.listing import PageQuery, Seek, hiding_recent, list_page


class Row(NamedTuple):
    key: bytes
    text: str = ""


class CountingKeys:
    """Sorted keys that count what a walk over them costs."""

    def __init__(self, keys: list[bytes]) -> None:
        self.rows = [Row(key) for key in sorted(set(keys))]
        self.seeks = 0
        self.rows_read = 0

    def seek(self, start: bytes, end: bytes) -> Iterator[Row]:
        self.seeks += 1
        for row in self.rows:
            if start <= row.key < end:
                self.rows_read += 1
                yield row


names = st.text(alphabet="ab/目\U0010ffff", max_size=6).map(str.encode)


def expected(keys: list[bytes], query: PageQuery) -> list[tuple[bytes, bool]]:
    """Return all entries behind the marker as (name, is it a common prefix)."""
    entries = set()
    for key in keys:
        if key.startswith(query.prefix):
            group = query.group_of(key)
            name = group or key
            if not query.marker or name > query.marker:
                entries.add((name, bool(group)))
    return sorted(entries)


@given(
    keys=st.lists(names, max_size=30),
    prefix=names,
    delimiter=st.sampled_from([b"", b"/", "目".encode()]),
    marker=names,
    limit=st.integers(min_value=1, max_value=5),
)
def test_pages_agree_with_the_definition(
    keys: list[bytes], prefix: bytes, delimiter: bytes, marker: bytes, limit: int
) -> None:
    keys = [key for key in keys if key]
    query = PageQuery(prefix, delimiter, marker, limit)
    everything = expected(keys, query)
    page = list_page(CountingKeys(keys).seek, query)
    found = sorted([(row.key, False) for row in page.rows] + [(p, True) for p in page.prefixes])
    assert found == everything[:limit]
    assert page.truncated == (len(everything) > limit)
    assert page.next_marker == (everything[limit - 1][0] if page.truncated else b"")


@given(keys=st.lists(names, max_size=30), delimiter=st.sampled_from([b"", b"/"]))
def test_pages_follow_each_other_without_gap_or_double(keys: list[bytes], delimiter: bytes) -> None:
    keys = [key for key in keys if key]
    source = CountingKeys(keys)
    seen: list[bytes] = []
    marker = b""
    while True:
        page = list_page(source.seek, PageQuery(b"", delimiter, marker, 2))
        seen += sorted([*(row.key for row in page.rows), *page.prefixes])
        if not page.truncated:
            break
        marker = page.next_marker
    assert seen == [name for name, _ in expected(keys, PageQuery(b"", delimiter, b"", 1))]


def test_a_group_costs_one_row_however_large() -> None:
    keys = [b"%d/%05d" % (group, item) for group in range(5) for item in range(2000)]
    source = CountingKeys(keys)
    page = list_page(source.seek, PageQuery(b"", b"/", b"", 1000))
    assert page.prefixes == (b"0/", b"1/", b"2/", b"3/", b"4/")
    assert source.rows_read == 5
    assert source.seeks == 6


def test_a_page_reads_one_row_more_than_it_shows() -> None:
    source = CountingKeys([b"%05d" % number for number in range(2000)])
    page = list_page(source.seek, PageQuery(b"", b"/", b"00499", 100))
    assert page.rows[0].key == b"00500"
    assert (source.seeks, source.rows_read) == (1, 101)


def test_no_entries_are_asked_for() -> None:
    page = list_page(CountingKeys([b"a"]).seek, PageQuery(b"", b"", b"", 0))
    assert (page.rows, page.truncated) == ((), False)


def test_recent_changes_can_be_hidden() -> None:
    source = CountingKeys([b"kept", b"new", b"overwritten"])
    seek: Seek[Row] = hiding_recent(
        source.seek,
        {
            b"new": None,
            b"deleted": Row(b"deleted", "old"),
            b"overwritten": Row(b"overwritten", "old"),
        },
    )
    page = list_page(seek, PageQuery(b"", b"", b"", 10))
    assert page.rows == (Row(b"deleted", "old"), Row(b"kept"), Row(b"overwritten", "old"))
