"""The FTP language needs no I/O: what it imports says so."""

import ast
from pathlib import Path

import pytest

from cos_ftp_server import protocol

PURE = {"collections", "dataclasses", "datetime", "enum", "fnmatch", "functools"}
PURE |= {"ipaddress", "re", "types", "typing"}
MODULES = sorted(Path(next(iter(protocol.__path__))).glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_imports(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names = [node.module or ""]
        for name in names:
            assert (
                name.split(".")[0] in PURE
                or name == "cos_ftp_server.errors"
                or name.startswith("cos_ftp_server.protocol")
            )
