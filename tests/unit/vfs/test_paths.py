"""FTP arguments, virtual paths and object keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.base import VirtualPath
from cos_ftp_server.vfs.paths import (
    ROOT,
    ancestors,
    check_name,
    directory_key,
    file_key,
    join,
    name_of,
    parent_of,
    prefixes_above,
    resolve,
)

ARGUMENTS = st.text(alphabet=st.sampled_from("ab./ \\é文\x00\n*"), max_size=30)


@pytest.mark.parametrize(
    ("current", "argument", "expected"),
    [
        ("/", "", "/"),
        ("/a/b", "", "/a/b"),
        ("/a/b", ".", "/a/b"),
        ("/a/b", "..", "/a"),
        ("/a/b", "../../../..", "/"),
        ("/a", "/x", "/x"),
        ("/a", "//x///y//", "/x/y"),
        ("/a", "./x/../y/", "/a/y"),
        ("/a", " spaced ", "/a/ spaced "),
        ("/a", "...", "/a/..."),
        ("/", "..\\..\\x", "/..\\..\\x"),
        ("/", "%2e%2e/x", "/%2e%2e/x"),
    ],
)
def test_resolve(current: str, argument: str, expected: str) -> None:
    assert resolve(VirtualPath(current), argument) == expected


@given(ARGUMENTS, ARGUMENTS)
def test_no_argument_leaves_the_tree(first: str, second: str) -> None:
    path = resolve(resolve(ROOT, first), second)
    assert path.startswith("/")
    assert path == "/" or not {"", ".", ".."} & set(path[1:].split("/"))
    assert resolve(ROOT, path) == path


@given(ARGUMENTS)
def test_parent_and_name_are_the_inverse_of_join(argument: str) -> None:
    path = resolve(ROOT, argument)
    if path != ROOT:
        assert join(parent_of(path), name_of(path)) == path
        assert tuple(ancestors(path)) == (
            () if parent_of(path) == ROOT else (parent_of(path), *ancestors(parent_of(path)))
        )


@given(ARGUMENTS, st.sampled_from(["", "home/", "a/b/"]))
def test_keys_stay_below_the_prefix_and_name_one_path(argument: str, prefix: str) -> None:
    path = resolve(ROOT, argument)
    assert directory_key(path, prefix).startswith(prefix)
    if path != ROOT:
        assert file_key(path, prefix) + "/" == directory_key(path, prefix)
        assert resolve(ROOT, "/" + file_key(path, prefix).removeprefix(prefix)) == path


def test_the_root_has_no_file_key() -> None:
    with pytest.raises(StorageError) as caught:
        file_key(ROOT)
    assert caught.value.kind is ErrorKind.IS_DIRECTORY


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "a\x00", "\x1b[31m", "\x7f", "文" * 284, "x" * 851, "\\x"]
)
def test_names_that_cos_refuses(name: str) -> None:
    with pytest.raises(StorageError) as caught:
        check_name(VirtualPath(f"/{name}"))
    assert caught.value.kind is ErrorKind.BAD_NAME


@pytest.mark.parametrize("name", ["x" * 850, "文" * 283, " ", "-", "~", "a?b*c", '"', "#+%&"])
def test_names_that_cos_takes(name: str) -> None:
    check_name(VirtualPath(f"/{name}"))


def test_prefixes_above_the_deepest_key() -> None:
    prefixes = prefixes_above("a/" * 424 + "x")
    assert prefixes == ["a/" * depth for depth in range(424, 0, -1)]
