"""Long random sequences of one client end as they would on a disk, though listings lag behind."""

import random
from collections.abc import Iterator

import pytest

from cos_ftp_server.errors import StorageError
from cos_ftp_server.vfs.cosfs import CosFileSystem
from tests.vfs.conftest import World, path

_NAMES = ("a", "b", "c", "a/f", "b/f", "a/d", "b/a", "a/d/x")
_OPERATIONS = ("store", "store", "mkdir", "rmdir", "delete", "rename", "rename", "look")
_LENGTH = 150


class Disk:
    """Paths below one directory: the content of a file, None for a directory."""

    def __init__(self) -> None:
        self.tree: dict[str, bytes | None] = {"": None}

    def store(self, name: str, content: bytes) -> bool:
        if self.is_directory(name) or self._is_below_file(name):
            return False
        self._make_above(name)
        self.tree[name] = content
        return True

    def mkdir(self, name: str) -> bool:
        if name in self.tree or self._is_below_file(name):
            return False
        self._make_above(name)
        self.tree[name] = None
        return True

    def rmdir(self, name: str) -> bool:
        if not self.is_directory(name) or self._below(name):
            return False
        del self.tree[name]
        return True

    def delete(self, name: str) -> bool:
        if self.tree.get(name) is None:
            return False
        del self.tree[name]
        return True

    def rename(self, name: str, new: str) -> bool:
        if name not in self.tree:
            return False
        if name == new:
            return True
        is_replaced = not self.is_directory(name) and self.tree.get(new) is not None
        is_taken = new in self.tree and not is_replaced
        if is_taken or new.startswith(f"{name}/") or self._is_below_file(new):
            return False
        self._make_above(new)
        for old in [name, *self._below(name)]:
            self.tree[new + old[len(name) :]] = self.tree.pop(old)
        return True

    def is_directory(self, name: str) -> bool:
        return name in self.tree and self.tree[name] is None

    def _below(self, name: str) -> list[str]:
        return [other for other in self.tree if other.startswith(f"{name}/")]

    def _is_below_file(self, name: str) -> bool:
        return any(self.tree.get(above) is not None for above in _above(name))

    def _make_above(self, name: str) -> None:
        for above in _above(name):
            self.tree.setdefault(above, None)


def _above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name


async def is_done(world: World, disk: Disk, root: str, step: tuple[str, str, str, bytes]) -> bool:
    """Do it in the bucket and on the disk; say whether both agree that it can be done."""
    operation, name, new, content = step
    fs, where = world.fs, path(f"{root}/{name}")
    try:
        match operation:
            case "store":
                expected = disk.store(name, content)
                await world.store(where, content)
            case "mkdir":
                expected = disk.mkdir(name)
                await fs.make_directory(where)
            case "rmdir":
                expected = disk.rmdir(name)
                await fs.remove_directory(where)
            case "delete":
                expected = disk.delete(name)
                await fs.delete_file(where)
            case "rename":
                expected = disk.rename(name, new)
                await (await fs.prepare_rename(where)).to(path(f"{root}/{new}"))
            case _:
                expected = disk.is_directory(name)
                await fs.check_directory(where)
    except StorageError as error:
        return not expected and not error.temporary
    return expected


async def contents(fs: CosFileSystem, root: str) -> dict[str, bytes | None]:
    """Return all that is below `root` as the paths of a disk."""
    found: dict[str, bytes | None] = {"": None}
    directories = [""]
    while directories:
        above = directories.pop()
        async for page in fs.list_directory(path(f"{root}/{above}".rstrip("/"))):
            for entry in page:
                name = f"{above}/{entry.name}".lstrip("/")
                found[name] = None
                if entry.is_directory:
                    directories.append(name)
                    continue
                async with fs.open_reader(path(f"{root}/{name}")) as reader:
                    found[name] = bytes(await reader.read()) if reader.info.size else b""
    return found


@pytest.mark.parametrize("seed", range(12))
async def test_a_client_sees_what_it_would_see_on_a_disk(world: World, seed: int) -> None:
    choose = random.Random(seed)
    root, disk, steps = f"/root{seed}", Disk(), []
    await world.fs.make_directory(path(root))
    for number in range(_LENGTH):
        if choose.random() < 0.1:  # listings stand still, or catch up
            world.emulator.faults.list_lag_s = choose.choice((0, 60))
        operation, content = choose.choice(_OPERATIONS), b"%d" % number
        step = (operation, choose.choice(_NAMES), choose.choice(_NAMES), content)
        steps.append((*step[:3], world.emulator.faults.list_lag_s))
        assert await is_done(world, disk, root, step), steps
    world.emulator.faults.list_lag_s = 0
    assert await contents(world.another_file_system(), root) == disk.tree
