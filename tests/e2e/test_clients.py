"""Every client's daily work, and that what arrives is in the bucket byte by byte."""

from pathlib import Path

import pytest

from tests.e2e.clients import CLIENTS, ScriptedClient
from tests.e2e.conftest import NewClient, Place
from tests.e2e.harness import FIRST_PART, MIB, Site, digest, random_bytes, write_random


def write(directory: Path, **contents: bytes) -> list[Path]:
    paths = []
    for name, content in contents.items():
        paths.append(directory / name)
        paths[-1].write_bytes(content)
    return paths


@pytest.mark.parametrize("name", CLIENTS)
def test_a_days_work(
    name: str, new_client: NewClient, alice: Site, place: Place, tmp_path: Path
) -> None:
    """Log in, mkdir, cd, put, mput, ls, size, get, rename, delete, rmdir, quit."""
    a, b, c = write(tmp_path, first=b"1" * 1234, second=b"22", third=b"")
    back = tmp_path / "back"

    with new_client(name, alice) as client:
        client.cd(place.path)
        client.mkdir("work")
        client.cd("work")
        client.put(a, "report.bin")
        client.mput([b, c])
        client.ls()
        client.size("report.bin")
        client.get("report.bin", back)
        client.rename("report.bin", "renamed.bin")

    assert back.read_bytes() == a.read_bytes()
    for shown in ("report.bin", "second", "third", "1234"):
        assert shown in client.output
    assert place.names() == ["work/", "work/renamed.bin", "work/second", "work/third"]
    assert place.content("work/renamed.bin") == a.read_bytes()
    assert place.content("work/second") == b"22"
    assert place.content("work/third") == b""

    with new_client(name, alice) as client:
        client.cd(f"{place.path}/work")
        for file in ("renamed.bin", "second", "third"):
            client.delete(file)
        client.cd(place.path)
        client.rmdir("work")

    assert place.names() == []


NAMES = {
    "space": "two words.txt",
    "leading-space": " before",
    "trailing-space": "after ",
    "chinese": "报告-二〇二六.txt",
    "japanese": "日本語 テスト.txt",
    "decomposed": "e\u0301",  # as macOS writes é: must not be normalised
    "emoji": "\U0001f4e6",
    "apostrophe": "it's",
    "quotes": 'say "hi"',
    "hash": "#1",
    "plus": "a+b",
    "percent": "100%41%",
    "question": "what?",
    "star": "a*b",
    "brackets": "[x]",
    "braces": "{a,b}",
    "dash": "-la",
    "backslash": "a\\b",
    "shell": "a;b&c|d$e`f~<>",
    "semicolon": "; type=i",
    "dots": "...",
    "long": "n" * 200,
}


@pytest.mark.parametrize("label", NAMES)
@pytest.mark.parametrize("client_name", CLIENTS)
def test_names(
    client_name: str,
    label: str,
    new_client: NewClient,
    alice: Site,
    place: Place,
    tmp_path: Path,
) -> None:
    """The object key is exactly the name, and every action finds it by that name."""
    name = NAMES[label]
    local, back = tmp_path / "local", tmp_path / "back"
    local.write_bytes(name.encode())

    with new_client(client_name, alice) as client:
        client.cd(place.path)
        client.put(local, name)
        client.ls()
        client.get(name, back)
    assert place.names() == [name]
    assert place.content(name) == name.encode()
    assert name in client.output
    assert back.read_bytes() == name.encode()

    with new_client(client_name, alice) as client:
        client.cd(place.path)
        client.rename(name, "other")
        client.rename("other", name)
        client.rename(name, "last")
        client.delete("last")
        client.put(local, name)
        client.delete(name)
    assert place.names() == []


@pytest.mark.parametrize("client_name", CLIENTS)
def test_paths_are_normalised(
    client_name: str, new_client: NewClient, alice: Site, place: Place, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"x")
    # curl would normalise the URL itself.
    options = ["--path-as-is"] if client_name == "curl" else []
    with new_client(client_name, alice, options=options) as client:
        client.cd(place.path)
        client.mkdir("d")
        client.put(local, "d/../up")
        client.put(local, "./here")
        client.put(local, "d//below")
        client.put(local, f"{place.path}/d/absolute")
    assert place.names() == ["d/", "d/absolute", "d/below", "here", "up"]


# Parts are 1 MiB at first, 2 MiB from the 9th on, 4 MiB from the 17th on.
FEW_SIZES = (0, 1, FIRST_PART - 1, FIRST_PART, FIRST_PART + 1, 8 * FIRST_PART + 1)
MANY_SIZES = (
    *FEW_SIZES,
    2 * FIRST_PART,
    8 * FIRST_PART - 1,
    8 * FIRST_PART,
    10 * FIRST_PART,
    10 * FIRST_PART + 1,
    16 * FIRST_PART,  # what one GET fetches at most
    16 * FIRST_PART + 1,
    24 * FIRST_PART,
    24 * FIRST_PART + 1,
)


@pytest.mark.parametrize("client_name", CLIENTS)
def test_sizes_around_the_boundaries_of_parts(
    client_name: str, new_client: NewClient, alice: Site, place: Place, tmp_path: Path
) -> None:
    sizes = MANY_SIZES if client_name in ("curl", "ftplib") else FEW_SIZES
    with new_client(client_name, alice) as client:
        client.cd(place.path)
        for size in sizes:
            local = tmp_path / f"{size}"
            local.write_bytes(random_bytes(size))
            client.put(local, local.name)
            client.get(local.name, tmp_path / f"{size}.back")
            client.size(local.name)
    assert place.names() == sorted(map(str, sizes))
    for size in sizes:
        content = random_bytes(size)
        assert place.content(f"{size}") == content
        assert (tmp_path / f"{size}.back").read_bytes() == content
        assert f"{size}" in client.output


@pytest.mark.parametrize(("sender", "receiver"), [("curl", "ftplib"), ("ftplib", "curl")])
def test_a_large_file_from_one_client_to_another(
    sender: str,
    receiver: str,
    new_client: NewClient,
    alice: Site,
    place: Place,
    tmp_path: Path,
) -> None:
    local = write_random(tmp_path / "large", 200 * MIB)
    back = tmp_path / "back"
    with new_client(sender, alice) as client:
        client.cd(place.path)
        client.put(local, "large")
    with new_client(receiver, alice) as client:
        client.cd(place.path)
        client.get("large", back)
    assert digest(back) == digest(local)
    local.unlink()
    back.unlink()


def test_replacing_a_file(new_client: NewClient, alice: Site, place: Place, tmp_path: Path) -> None:
    """A file may be replaced by a longer, a shorter and an empty one, by whichever client."""
    local = tmp_path / "local"
    for number, name in enumerate(CLIENTS):
        for size in (FIRST_PART + number, 10, 0):
            local.write_bytes(random_bytes(size, number))
            with new_client(name, alice) as client:
                client.cd(place.path)
                client.put(local, "file")
            assert place.content("file") == random_bytes(size, number)


@pytest.mark.parametrize("client_name", ["lftp", "tnftp", "ncftp"])
def test_mget(
    client_name: str, new_client: NewClient, alice: Site, place: Place, tmp_path: Path
) -> None:
    """tnftp lets the server find what matches (NLST *.txt), the others list and choose."""
    for name in ("a.txt", "b c.txt", "d.bin"):
        place.put(name, name.encode())
    client = new_client(client_name, alice)
    assert isinstance(client, ScriptedClient)
    with client:
        client.cd(place.path)
        client.command("lcd", tmp_path)
        client.lines += ["glob on"] * (client_name == "tnftp") + ["mget *.txt"]
    assert (tmp_path / "a.txt").read_text() == "a.txt"
    assert (tmp_path / "b c.txt").read_text() == "b c.txt"
    assert not (tmp_path / "d.bin").exists()
