"""What new files are stored with, whether they may replace others, and the root of a prefix."""

import asyncio
from dataclasses import replace

import pytest

from cos_ftp_server.cos.types import ObjectOptions
from cos_ftp_server.emulator import Fault
from cos_ftp_server.errors import ErrorKind, StorageError
from cos_ftp_server.vfs.bucket import BucketState
from cos_ftp_server.vfs.cosfs import CosFileSystem
from cos_ftp_server.vfs.creation import CreationRules
from tests.vfs.conftest import MIB, World, path, random_bytes

OLD = b"the old content"
NO_REPLACING = CreationRules(may_replace=False)


def with_rules(world: World, rules: CreationRules, prefix: str = "") -> World:
    fs = CosFileSystem(world.engine, world.cleanups, rules=rules, prefix=prefix)
    return replace(world, fs=fs)


async def options_of(world: World, key: str) -> ObjectOptions:
    return (await world.client.head_object(key)).options


# Placement and type


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
async def test_storage_class_and_encryption_of_files(world: World, size: int) -> None:
    rules = CreationRules(storage_class="STANDARD_IA", server_side_encryption="AES256")
    await with_rules(world, rules).store("/a/photo.JPG", random_bytes(size))
    options = await options_of(world, "a/photo.JPG")
    assert options.storage_class == "STANDARD_IA"
    assert options.server_side_encryption == "AES256"
    assert options.content_type == "image/jpeg"


async def test_directories_are_encrypted_and_readable_at_any_time(world: World) -> None:
    rules = CreationRules(storage_class="ARCHIVE", server_side_encryption="AES256")
    await with_rules(world, rules).fs.make_directory(path("/d"))
    options = await options_of(world, "d/")
    assert (options.storage_class, options.server_side_encryption) == ("", "AES256")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "text/plain"),
        ("a.PDF", "application/pdf"),
        ("a.b.csv", "text/csv"),
        ("a.tar.gz", "application/octet-stream"),
        ("a", "application/octet-stream"),
        (".html", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
    ],
)
async def test_a_content_type_by_name(world: World, name: str, expected: str) -> None:
    await world.store(f"/{name}", b"x")
    assert (await options_of(world, name)).content_type == expected


async def test_no_content_type_by_name(world: World) -> None:
    await with_rules(world, CreationRules(by_name=False)).store("/a.txt", b"x")
    assert (await options_of(world, "a.txt")).content_type == "application/octet-stream"


async def test_the_content_type_follows_a_name(world: World) -> None:
    """As clients do that upload under another name first."""
    await world.store("/a.jpg.part", b"x")
    await world.rename("/a.jpg.part", "/a.jpg")
    assert (await options_of(world, "a.jpg")).content_type == "image/jpeg"
    assert await world.load("/a.jpg") == b"x"


async def test_a_content_type_of_somebody_elses_choice_stays(world: World) -> None:
    chosen = ObjectOptions(content_type="image/x-chosen", metadata=(("camera", "7"),))
    await world.client.put_object("a.txt", b"x", options=chosen)
    await world.rename("/a.txt", "/a.jpg")
    options = await options_of(world, "a.jpg")
    assert (options.content_type, options.metadata) == ("image/x-chosen", (("camera", "7"),))


async def test_metadata_survives_a_new_content_type(world: World) -> None:
    mine = ObjectOptions(
        content_type="text/plain",
        headers=(
            ("Cache-Control", "max-age=60"),
            ("Content-Disposition", 'attachment; filename="x.txt"'),
            ("Content-Encoding", "gzip"),
            ("Content-Language", "ja"),
            ("Expires", "Thu, 01 Dec 2033 16:00:00 GMT"),
        ),
        storage_class="STANDARD_IA",
        server_side_encryption="AES256",
        metadata=(("camera", "7"),),
    )
    await world.client.put_object("a.txt", b"x", options=mine)
    await world.rename("/a.txt", "/a.jpg")
    assert await options_of(world, "a.jpg") == replace(mine, content_type="image/jpeg")


# Replacing


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
async def test_new_files_are_welcome_where_none_may_be_replaced(world: World, size: int) -> None:
    content = random_bytes(size)
    keeper = with_rules(world, NO_REPLACING)
    await keeper.store("/f", content)
    assert await keeper.load("/f") == content


async def test_a_file_that_exists_is_refused_before_any_data_is_taken(world: World) -> None:
    await world.store("/f", OLD)
    with pytest.raises(StorageError) as caught:
        async with with_rules(world, NO_REPLACING).fs.open_writer(path("/f")):
            pytest.fail("data would be taken")
    assert (caught.value.kind, caught.value.temporary) == (ErrorKind.EXISTS, False)
    assert await world.load("/f") == OLD


@pytest.mark.parametrize("size", [0, 10, 3 * MIB])
async def test_a_file_that_appears_meanwhile_stays(world: World, size: int) -> None:
    keeper = with_rules(world, NO_REPLACING)
    async with keeper.fs.open_writer(path("/f")) as writer:
        await writer.write(random_bytes(size))
        await world.client.put_object("f", OLD)
        with pytest.raises(StorageError) as caught:
            await writer.commit()
    assert caught.value.kind is ErrorKind.EXISTS
    assert await world.load("/f") == OLD


@pytest.mark.parametrize("operation", ["PutObject", "CompleteMultipartUpload"])
async def test_an_answer_that_is_lost_makes_no_file_exist_twice(
    world: World, operation: str
) -> None:
    world.emulator.faults.add(Fault(operation=operation, reset=True, after_commit=True))
    content = random_bytes(10 if operation == "PutObject" else 3 * MIB)
    await with_rules(world, NO_REPLACING).store("/f", content)
    assert await world.load("/f") == content


async def test_bits_that_flip_on_the_way_are_sent_again(world: World) -> None:
    world.emulator.faults.add(Fault(operation="PutObject", times=1, corrupt_at=7))
    await with_rules(world, NO_REPLACING).store("/f", b"0123456789")
    assert await world.load("/f") == b"0123456789"


async def test_a_rename_does_not_replace(world: World) -> None:
    await world.store("/new", b"new")
    await world.store("/f", OLD)
    keeper = with_rules(world, NO_REPLACING)
    with pytest.raises(StorageError) as caught:
        await keeper.rename("/new", "/f")
    assert caught.value.kind is ErrorKind.EXISTS
    assert (await world.load("/f"), await world.load("/new")) == (OLD, b"new")
    await keeper.rename("/new", "/g")
    assert await world.keys() == ["f", "g"]


async def test_a_rename_does_not_replace_what_appears_meanwhile(world: World) -> None:
    await world.store("/new", b"new")
    hold = world.hold("CopyObject")
    renaming = asyncio.create_task(with_rules(world, NO_REPLACING).rename("/new", "/f"))
    await world.emulator.requests.wait_for("CopyObject")
    await world.client.put_object("f", OLD)
    hold.set()
    with pytest.raises(StorageError) as caught:
        await renaming
    assert caught.value.kind is ErrorKind.EXISTS
    assert (await world.load("/f"), await world.load("/new")) == (OLD, b"new")


# The root of a prefix


@pytest.fixture
def inside(world: World) -> World:
    return with_rules(world, CreationRules(), prefix="p/q/")


async def test_everything_happens_below_the_prefix(world: World, inside: World) -> None:
    await inside.store("/a/f", b"x")
    await inside.store("/../../g", b"y")
    await inside.fs.make_directory(path("/d"))
    await inside.rename("/a", "/b")
    await inside.rename("/g", "/b/g")
    assert await inside.names("/") == ["b/", "d/"]
    assert await inside.names("/b") == ["f", "g"]
    assert await inside.load("/b/g") == b"y"
    await inside.fs.delete_file(path("/b/f"))
    await inside.fs.remove_directory(path("/d"))
    assert await world.keys() == ["p/q/b/g"]


async def test_what_lies_beside_the_prefix_is_out_of_sight(world: World, inside: World) -> None:
    for key in ("f", "p/f", "p/qq", "p/q-1", "p/q/own", "z"):
        await world.client.put_object(key, b"x")
    assert await inside.names("/") == ["own"]
    for name in ("/f", "/p/f", "/qq", "/../f", "/../../f", "/../q-1"):
        with pytest.raises(StorageError) as caught:
            await inside.fs.stat(path(name))
        assert caught.value.kind is ErrorKind.NOT_FOUND
    with pytest.raises(StorageError):
        await inside.fs.remove_directory(path("/"))
    with pytest.raises(StorageError):
        await inside.fs.prepare_rename(path("/"))


async def test_an_empty_prefix_can_be_entered(world: World, inside: World) -> None:
    assert await inside.names("/") == []
    await inside.fs.check_directory(path("/"))
    assert await world.keys() == []


async def test_a_name_must_fit_with_its_prefix(inside: World) -> None:
    longest = "n" * (850 - len("p/q/"))
    await inside.store(f"/{longest}", b"x")
    with pytest.raises(StorageError) as caught:
        await inside.store(f"/{longest}n", b"x")
    assert caught.value.kind is ErrorKind.BAD_NAME


async def test_accounts_of_one_bucket_see_at_once_what_others_do(world: World) -> None:
    """Although listings of the store lag behind."""
    state = BucketState()
    whole = CosFileSystem(world.engine, world.cleanups, state=state)
    part = CosFileSystem(world.engine, world.cleanups, prefix="p/", state=state)
    world.emulator.faults.list_lag_s = 60
    await replace(world, fs=part).store("/f", b"x")
    assert await replace(world, fs=whole).names("/p") == ["f"]


async def test_names_in_order_are_looked_at_once(world: World) -> None:
    """Cameras number their files: what comes behind a name was seen with it."""
    for number in range(20):
        await world.store(f"/cam/img_{number:04d}.jpg", b"x")
    assert world.emulator.requests.count("ListObjects") == 1
    assert world.emulator.requests.count("PutObject") == 20


async def test_a_directory_seen_with_an_earlier_name_is_refused(world: World) -> None:
    await world.client.put_object("cam/img_0002/below", b"x")
    await world.store("/cam/img_0001", b"x")
    with pytest.raises(StorageError) as caught:
        await world.store("/cam/img_0002", b"x")
    assert caught.value.kind is ErrorKind.IS_DIRECTORY


async def test_a_directory_made_after_the_look_is_refused(world: World) -> None:
    await world.store("/cam/img_0001", b"x")
    await world.fs.make_directory(path("/cam/img_0002"))
    with pytest.raises(StorageError) as caught:
        await world.store("/cam/img_0002", b"x")
    assert caught.value.kind is ErrorKind.IS_DIRECTORY


async def test_a_file_that_came_after_the_look_is_replaced_all_the_same(world: World) -> None:
    await world.store("/cam/img_0001", b"x")
    await world.client.put_object("cam/img_0002", b"from elsewhere")
    await world.store("/cam/img_0002", b"y")
    assert await world.load("/cam/img_0002") == b"y"
