"""The versions of the interpreter and of installed distributions, of this process or of another interpreter."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
#: How long another interpreter may take to answer.
_ANSWER_S = 30.0


def interpreter_text() -> str:
    """Return implementation, version and processor of this interpreter, on which bytecode and numbers depend."""
    return _INTERPRETER_TEXT.format(
        name=sys.implementation.name, version=platform.python_version(), machine=platform.machine()
    ) + (" -O" * sys.flags.optimize)


def versions_of(modules: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and version of the distributions that top-level modules come from, and of those that these require."""
    folders = [_read_folder(*state) for state in _state_of_path()]
    pending = [name for module in modules for folder in folders for name in folder.by_module.get(module, ())]
    seen: set[str] = set()
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        found = next((folder.by_name[name] for folder in folders if name in folder.by_name), None)
        if found is not None:
            version, requirements = _version_and_requirements(found, name)
            yield name, version
            pending.extend(requirements)


def has_distribution(module: str) -> bool:
    """Return whether a top-level module belongs to an installed distribution."""
    return any(module in _read_folder(*state).by_module for state in _state_of_path())


def inventory_of(interpreter: str) -> Mapping[str, str]:
    """Return the versions of another interpreter, under ``""``, and of all distributions that it has.

    Raises :class:`OSError` or :class:`ValueError` where it does not answer.
    """
    real = os.path.realpath(interpreter)
    return _inventory(interpreter, Path(real).stat().st_mtime_ns)


@cache
def _inventory(interpreter: str, _changed_ns: int) -> Mapping[str, str]:
    done = subprocess.run(
        [interpreter, "-I", "-c", _INVENTORY], capture_output=True, text=True, check=False, timeout=_ANSWER_S,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1:] or done.returncode)
    found: dict[str, str] = json.loads(done.stdout)
    return found


_INTERPRETER_TEXT = "{name} {version} {machine}"
_INVENTORY = f"""
import json, platform, sys
from importlib import metadata
found = {{one.name: one.version for one in metadata.distributions() if one.name}}
found[""] = {_INTERPRETER_TEXT!r}.format(
    name=sys.implementation.name, version=platform.python_version(), machine=platform.machine())
print(json.dumps(found))
"""


class _Installed(NamedTuple):
    """The distributions in a folder of the path: their names by top-level module, and their metadata by name."""

    by_module: Mapping[str, list[str]]
    by_name: Mapping[str, Path]


def _state_of_path() -> Iterator[tuple[str, int]]:
    """Yield where distributions can be, with the time of the last change: an upgrade in the meantime is seen."""
    for path in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError):
            yield path, Path(path).stat().st_mtime_ns


@lru_cache(64)
def _read_folder(path: str, _changed_ns: int) -> _Installed:
    by_module: dict[str, list[str]] = {}
    by_name: dict[str, Path] = {}
    for entry in Path(path).glob("*.*-info") if Path(path).is_dir() else ():
        found = metadata.PathDistribution(entry)
        name = _normalized(found.metadata["Name"] or entry.name.partition("-")[0])
        by_name.setdefault(name, entry)
        for module in _modules_of(found):
            by_module.setdefault(module, []).append(name)
    return _Installed(by_module, by_name)


def _modules_of(found: metadata.Distribution) -> set[str]:
    """Return the top-level modules of a distribution: those that it declares, or those of its files."""
    declared = found.read_text("top_level.txt")
    if declared:
        return set(declared.split())
    record = found.read_text("RECORD") or ""
    tops = {line.partition(",")[0].partition("/")[0] for line in record.splitlines()}
    return {top.partition(".")[0] for top in tops if not top.endswith((".dist-info", ".data", ".pth"))} - {""}


@lru_cache(1024)
def _version_and_requirements(entry: Path, _name: str) -> tuple[str, list[str]]:
    found = metadata.PathDistribution(entry)
    needed = [one for one in found.requires or () if "extra ==" not in one]
    return str(found.version), [_normalized(match[1]) for one in needed if (match := _REQUIREMENT.match(one))]


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
