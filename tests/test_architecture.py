"""Who may import whom, how long a module may be, and what no committed file may say.

The rules are read from the syntax tree of every module, late imports included. A rule that is never seen to fail
proves nothing, so each one is also run on a small tree that breaks it.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "fastgpu_jupyter"
LINES_MAX = 800

#: Room -> the rooms of the package that it may import, itself left out. Nothing that is not written here is allowed.
MAY_IMPORT = {
    "errors": set(),
    "units": {"errors"},
    "core": {"errors", "units"},
    "compat": set(),
    "wire": {"errors", "units", "core", ""},
    "pool": {"errors", "units", "core", "wire", ""},
    "server": {"errors", "units", "wire", "compat", ""},
    "kernel": {"errors", "units", "wire", "compat", ""},
    "kernelspec": {"errors", "units", "core", ""},
    "cli": {"errors", "units", "wire", "pool", "kernelspec", ""},
    # The package itself holds only the functions that Jupyter looks for; each imports its room when it is called.
    "": {"server", "kernel"},
    "__main__": {"cli"},
}

#: What the rules of the pool may take from the standard library: nothing that reads a clock, draws or does I/O.
CORE_STDLIB = {
    "__future__", "abc", "bisect", "collections", "dataclasses", "decimal", "enum", "fractions", "functools", "heapq",
    "itertools", "math", "operator", "re", "string", "types", "typing",
}  # fmt: skip

#: The only modules that may import it, by path in the package.
ONLY_IN = {"pynvml": {"pool/devices/nvidia/"}, "sqlite3": {"pool/"}, "msgspec": {"wire/", "pool/"}}

#: Of the wire, the client's side: the kernel imports it, so it does without msgspec.
WIRE_WITHOUT_MSGSPEC = {"client", "locate", "options", "spawn", "unixsocket", "__init__"}


class Import(NamedTuple):
    line: int
    module: str  #: absolute, e.g. "fastgpu_jupyter.core.pool"


def imports_of(path: Path, package_root: Path) -> Iterator[Import]:
    """Every import of a module, made absolute, wherever in the module it stands."""
    inside = path.relative_to(package_root.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(inside[: -node.level]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            if module == PACKAGE:  # `from .. import wire` names a room, not an attribute
                yield from (Import(node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield Import(node.lineno, module)


def room_of(module: str) -> str:
    """The room a dotted name of the package belongs to; the package itself is ''."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in MAY_IMPORT else ""


def broken_rules(package_root: Path) -> list[str]:
    """Each import that the house does not allow, as `path:line: why`."""
    found = []
    for path in sorted(package_root.rglob("*.py")):
        inside = path.relative_to(package_root).as_posix()
        parts = path.relative_to(package_root.parent).with_suffix("").parts
        room = room_of(".".join(part for part in parts if part != "__init__"))
        for line, module in imports_of(path, package_root):
            why = _objection(inside, room, module)
            if why:
                found.append(f"{inside}:{line}: {why}")
    return found


def _objection(inside: str, room: str, module: str) -> str | None:
    top = module.partition(".")[0]
    if top == PACKAGE:
        target = room_of(module)
        if target != room and target not in MAY_IMPORT[room]:
            return f"{room or 'the package'} must not import {target or 'the package'}"
        return None
    if room in ("core", "errors", "units") and top not in CORE_STDLIB:
        return f"{room} must not import {top}"
    if top in ONLY_IN and not any(inside.startswith(allowed) for allowed in ONLY_IN[top]):
        return f"{inside} must not import {top}"
    if top == "msgspec" and room == "wire" and Path(inside).stem in WIRE_WITHOUT_MSGSPEC:
        return "the client's side of the wire must not import msgspec: the kernel imports it"
    return None


def too_long(package_root: Path) -> list[str]:
    """Modules beyond the hard limit of lines."""
    sizes = ((path, len(path.read_text(encoding="utf-8").splitlines())) for path in package_root.rglob("*.py"))
    return [f"{path.relative_to(package_root)}: {lines} lines" for path, lines in sizes if lines > LINES_MAX]


#: Words that must not be committed, and why. A bracket in each keeps this file from naming what it forbids.
UNSAID = {
    r"npm[j]s\.(org|com)|yarn[p]kg\.com|python[h]osted|pypi[.]org": "the host of a registry",
    r"(?<![\w./-])/(work|tmp/(venv|contract))\b": "a path of somebody's machine",
    r"\b(Claud[e]|Anthropi[c]|ChatGP[T]|Copilo[t])\b": "a tool, where the text is about the project",
}


def unsaid_words(root: Path, names: list[str]) -> list[str]:
    """Committed text that speaks of something other than the project."""
    found = []
    for name in names:
        try:
            text = (root / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue
        for pattern, what in UNSAID.items():
            found += [
                f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r} is {what}"
                for match in re.finditer(pattern, text)
            ]
    return found


@pytest.mark.slow
def test_every_import_goes_the_way_the_house_allows() -> None:
    assert broken_rules(ROOT / PACKAGE) == []


def test_no_module_is_too_long() -> None:
    assert too_long(ROOT / PACKAGE) == []


@pytest.mark.slow
def test_committed_text_speaks_of_the_project_only() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    assert unsaid_words(ROOT, [name for name in listed.stdout.split("\0") if name]) == []


@pytest.mark.slow
def test_the_kernel_starts_without_what_it_does_not_need() -> None:
    """What the syntax tree cannot see: an import of an import."""
    program = (
        "import sys, fastgpu_jupyter.wire.client, fastgpu_jupyter.wire.spawn; "
        "print([m for m in ('msgspec', 'pynvml', 'sqlite3', 'fastgpu_jupyter.pool') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("inside", "text", "says"),
    [
        ("core/pool.py", "import time\n", "core must not import time"),
        ("core/pool.py", "def f():\n    from os import environ\n", "core must not import os"),
        ("core/pool.py", "from ..wire import schemas\n", "core must not import wire"),
        ("core/pool.py", "from .. import wire\n", "core must not import wire"),
        ("errors.py", "from .core.pool import decide\n", "errors must not import core"),
        ("wire/client.py", "from fastgpu_jupyter.pool import app\n", "wire must not import pool"),
        ("wire/client.py", "import msgspec\n", "the client's side of the wire"),
        ("server/extension.py", "from ..pool.app import main\n", "server must not import pool"),
        ("server/extension.py", "from ..kernel import gate\n", "server must not import kernel"),
        ("server/extension.py", "from ..core.model import Lease\n", "server must not import core"),
        ("kernel/gate.py", "from ..server import extension\n", "kernel must not import server"),
        ("kernel/gate.py", "import msgspec\n", "kernel/gate.py must not import msgspec"),
        ("kernel/gate.py", "import pynvml as nvml\n", "kernel/gate.py must not import pynvml"),
        ("pool/devices/telemetry.py", "from pynvml import nvmlInit\n", "must not import pynvml"),
        ("pool/app.py", "from ..cli import main\n", "pool must not import cli"),
        ("cli/leases.py", "from ..server import extension\n", "cli must not import server"),
    ],
)
def test_a_broken_import_is_seen(tmp_path: Path, inside: str, text: str, says: str) -> None:
    path = tmp_path / PACKAGE / inside
    path.parent.mkdir(parents=True)
    path.write_text(text)
    [found] = broken_rules(tmp_path / PACKAGE)
    assert says in found


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("core/pool.py", "from ..errors import NotFound\nfrom .model.entities import Lease\nimport dataclasses\n"),
        ("pool/devices/nvidia/driver.py", "import pynvml\n"),
        ("pool/codec.py", "import msgspec\nfrom ..core import events\nfrom ..wire import schemas\n"),
        ("kernel/gate.py", "from ..wire.client import PoolClient\nimport ipykernel\n"),
        ("cli/leases.py", "from ..pool.app import serve\nfrom .. import __version__\n"),
    ],
)
def test_an_allowed_import_is_allowed(tmp_path: Path, inside: str, text: str) -> None:
    path = tmp_path / PACKAGE / inside
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert broken_rules(tmp_path / PACKAGE) == []


def test_a_long_module_is_seen(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("\n" * (LINES_MAX + 1))
    (tmp_path / "short.py").write_text("\n" * LINES_MAX)
    assert too_long(tmp_path) == [f"long.py: {LINES_MAX + 1} lines"]


@pytest.mark.parametrize(
    "host_or_word",
    [("https://pypi", ".org/simple"), ("https://registry.npm", "js.org/x"), ("cd /wo", "rk/main"), ("by Clau", "de")],
)
def test_an_unsaid_word_is_seen(tmp_path: Path, host_or_word: tuple[str, str]) -> None:
    (tmp_path / "note.md").write_text(f"fine\n{''.join(host_or_word)}\n")
    assert len(unsaid_words(tmp_path, ["note.md"])) >= 1
    (tmp_path / "note.md").write_text("PyPI name: fastgpu-jupyter; https://jupyter.org; ./work/x; /tmp/run\n")
    assert unsaid_words(tmp_path, ["note.md"]) == []
