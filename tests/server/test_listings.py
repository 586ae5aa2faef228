"""LIST, NLST, MLSD and STAT of paths: what they show, and how much."""

import pytest

from tests.doubles.ftp_client import RawClient
from tests.doubles.memory_fs import MemoryFileSystem
from tests.server.conftest import Login


@pytest.fixture
def file_system() -> MemoryFileSystem:
    files = MemoryFileSystem()
    for path in ("/a.txt", "/b.txt", "/c.bin", "/d/e.txt", "/-la", "/-x y"):
        files.put(path, b"12345")
    files.add_directory("/empty")
    return files


async def names(client: RawClient, command: str) -> list[str]:
    content, reply = await client.fetch(command)
    assert reply.code == 226, reply
    return content.decode().splitlines()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("NLST", ["-la", "-x y", "a.txt", "b.txt", "c.bin", "d", "empty"]),
        ("NLST -la", ["-la", "-x y", "a.txt", "b.txt", "c.bin", "d", "empty"]),
        ("NLST d", ["e.txt"]),
        ("NLST /d/", ["e.txt"]),
        ("NLST -l d", ["e.txt"]),
        ("NLST empty", []),
        ("NLST *.txt", ["a.txt", "b.txt"]),
        ("NLST d/*.txt", ["d/e.txt"]),
        ("NLST /[ab].*", ["/a.txt", "/b.txt"]),
        ("NLST a.txt", ["a.txt"]),
        ("NLST d/e.txt", ["d/e.txt"]),
        ("NLST -x y", ["-x y"]),
        ("NLST ./-la", ["./-la"]),
    ],
)
async def test_names(client: RawClient, command: str, expected: list[str]) -> None:
    assert await names(client, command) == expected


@pytest.mark.parametrize("command", ["NLST missing", "LIST missing", "NLST *.nothing", "MLSD gone"])
async def test_missing(client: RawClient, command: str) -> None:
    assert (await client.fetch(command))[1].code == 550


async def test_unix_lines(client: RawClient) -> None:
    lines = await names(client, "LIST -a")
    assert lines[2] == "-rw-r--r--   1 ftp ftp            5 May 04  2026 a.txt"
    assert lines[5].startswith("d")
    assert await names(client, "LIST a.txt") == [lines[2]]
    assert await names(client, "LIST *.txt") == lines[2:4]


async def test_facts(client: RawClient) -> None:
    lines = await names(client, "MLSD d")
    assert lines == ["type=file;size=5;modify=20260504030201;perm=afwrd;unix.mode=0644; e.txt"]
    assert (await client.fetch("MLSD a.txt"))[1].code == 501


async def test_status_of_paths(client: RawClient) -> None:
    directory = await client.expect("STAT d", 212)
    assert directory.lines[1].startswith(" -rw-r--r--")
    assert len(directory.lines) == 3
    await client.expect("STAT a.txt", 213)
    await client.expect("STAT missing", 550)


@pytest.mark.parametrize(("entries", "is_cut"), [(9, False), (10, False), (11, True), (35, True)])
@pytest.mark.parametrize("page_entries", [3, 5, 100])
async def test_long_listing_is_cut_and_says_so(
    log_in: Login, entries: int, is_cut: bool, page_entries: int
) -> None:
    file_system = MemoryFileSystem()
    file_system.page_entries = page_entries
    for number in range(entries):
        file_system.put(f"/{number:02}", b"")
    async with log_in(file_system, max_list_entries=10) as client:
        content, reply = await client.fetch("NLST")
        assert len(content.splitlines()) == min(entries, 10)
        assert reply.code == 226
        assert ("first 10 entries" in reply.text) is is_cut
        assert len((await client.expect("STAT .", 212)).lines) == min(entries, 10) + 2


async def test_names_cannot_forge_replies(client: RawClient, file_system: MemoryFileSystem) -> None:
    file_system.put("/x/a\r\n226 forged", b"")
    assert await names(client, "NLST x") == ["a??226 forged"]
    assert len((await client.expect("STAT x", 212)).lines) == 3
