import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.settings.ini import IniDocument, parse_ini


def values(text: str | bytes) -> dict[str, dict[str, str]]:
    document = parse(text)
    assert document.problems == ()
    return {
        section.name: {key: entry.value for key, entry in section.entries.items()}
        for section in document.sections
    }


def problems(text: str | bytes) -> list[tuple[int, str]]:
    return [(problem.line, problem.message) for problem in parse(text).problems]


def parse(text: str | bytes) -> IniDocument:
    return parse_ini(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("key=value", "value"),
        ("key = value", "value"),
        ("\tkey\t=\tvalue\t", "value"),
        ("   key = value", "value"),
        ("KEY = Value", "Value"),
        ("key: value", "value"),
        ("key = a=b:c", "a=b:c"),
        ("key = value # comment", "value"),
        ("key = value\t\t\t\t# comment = x", "value"),
        ("key = value ; comment", "value"),
        ("key = value;no#comment", "value;no#comment"),
        ("key = #comment", ""),
        ("key =#value", "#value"),
        ("key =", ""),
        ('key = ""', ""),
        ("key = 100%;#=x", "100%;#=x"),
        ("key = two words", "two words"),
        ("key = パスワード # 説明", "パスワード"),
        ("key = value\u3000# after a full-width space", "value"),
        (
            "key = $argon2id$v=19$m=1,t=2,p=1$c2FsdA$aGFzaA",
            "$argon2id$v=19$m=1,t=2,p=1$c2FsdA$aGFzaA",
        ),
    ],
)
def test_a_value(line: str, value: str) -> None:
    assert values(f"[S]\n{line}\n") == {"S": {"key": value}}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_line_numbers(end: str) -> None:
    document = parse(end.join(["", "# comment", "; comment", "[S] # comment", "", "a = 1", "[T]"]))
    assert [(section.name, section.line) for section in document.sections] == [("S", 4), ("T", 7)]
    assert document.sections[0].entries["a"].line == 6


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert values("\ufeff[S]\na = 1") == {"S": {"a": "1"}}


def test_comments_may_be_in_another_encoding() -> None:
    assert values("[S]\n# 设置\na = 1 # 设置\n".encode("gbk")) == {"S": {"a": "1"}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", [(1, "stands before the first [SECTION]")]),
        ("[S]\nnothing", [(2, "has no '='; right would be: key = value")]),
        ("[S]\nnothing # a = 1", [(2, "has no '='; right would be: key = value")]),
        ("[S]\n= 1", [(2, "has no key before the '='; right would be: key = value")]),
        ("[S]\na=1\n\nA=1", [(4, "occurs twice, first in line 2; this one counts")]),
        ("[S]\n[T]\n[s]", [(3, "section occurs twice, first in line 1; they are one")]),
        ("[S\na=1", [(1, "is not a section header; right would be [NAME]")]),
        ("[]\na=1", [(1, "is not a section header; right would be [NAME]")]),
        ("[S] x\na=1", [(1, "is not a section header; right would be [NAME]")]),
        ("[S]\na = é".encode("latin-1"), [(2, "is not UTF-8; save the file as UTF-8")]),
        ("[é]\na = 1".encode("latin-1"), [(1, "is not UTF-8; save the file as UTF-8")]),
        ("[S]\na=1".encode("utf-16"), [(0, "is not a text file in UTF-8; save it as UTF-8")]),
    ],
)
def test_a_problem(text: str | bytes, expected: list[tuple[int, str]]) -> None:
    assert problems(text) == expected


def test_what_occurs_twice_is_one_and_the_last_counts() -> None:
    document = parse("[S]\na=1\nb=1\n[T]\n[s]\na=2\n")
    assert [(name.name, name.line) for name in document.sections] == [("S", 1), ("T", 4)]
    entries = document.sections[0].entries
    assert {key: entry.value for key, entry in entries.items()} == {"a": "2", "b": "1"}
    assert all(problem.is_warning for problem in document.problems)


def test_all_problems_are_told_at_once() -> None:
    found = problems("a=1\n[S]\nb\n=c\nd=1\nd=2\n[S]\n")
    assert [line for line, _ in found] == [1, 3, 4, 6, 7]


def test_a_line_that_cannot_be_read_is_not_repeated() -> None:
    document = parse(
        "[COS_ACCOUNT_0]\ncos_secretkey s3cr3t\ncos_secretkey = s3cr3t\xff\n".encode("latin-1")
    )
    assert len(document.problems) == 2
    assert "s3cr3t" not in repr(document)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_reported(content: bytes) -> None:
    document = parse_ini(content)
    for problem in document.problems:
        assert 0 <= problem.line <= 1 + content.count(b"\n") + content.count(b"\r")
        problem.message.encode()


_NAMES = st.text("abcdefghijklmnopqrstuvwxyz_0123456789", min_size=1)
_VALUES = st.text(st.characters(codec="utf-8", exclude_characters='"#;\r\n\0')).map(str.strip)


@given(st.dictionaries(_NAMES, st.dictionaries(_NAMES, _VALUES)))
def test_what_is_written_is_read(content: dict[str, dict[str, str]]) -> None:
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\t# comment\n" for key, value in entries.items())
        for name, entries in content.items()
    )
    assert values(text) == content
