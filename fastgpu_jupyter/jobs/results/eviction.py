"""Which results are removed to make room: the least recently used ones, and never what a process uses."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import FastGPUError
from .files import open_own
from .manifest import Manifest
from .sessions import protected_digests


class StoreUsage(NamedTuple):
    """What a store holds. ``bytes`` is the size of all its files."""

    bytes: int
    results: int
    objects: int


class Evicted(NamedTuple):
    """What was removed, by the digests of the results, and what is left."""

    results: tuple[str, ...]
    bytes: int
    bytes_left: int


class _Result(NamedTuple):
    used_ns: int
    digest: str
    path: Path
    bytes: int


def usage_of(objects: Path, manifests: Path) -> StoreUsage:
    """Return what the folders hold. Files that disappear meanwhile are not counted."""
    sizes, results = _objects(objects), list(_results(manifests))
    return StoreUsage(sum(sizes.values()) + sum(one.bytes for one in results), len(results), len(sizes))


def evict(
    objects: Path,
    manifests: Path,
    sessions: Path,
    *,
    bytes_max: int | None,
    in_use: Collection[str],
    chosen: Collection[str] = (),
) -> Evicted:
    """Remove the ``chosen`` results, then others until ``bytes_max`` holds, and objects that no result refers to.

    The lock of the store is held exclusively. A manifest is removed before its objects, so that a crash in between
    leaves objects that the next call removes.
    """
    protected = protected_digests(sessions)
    keep = protected | set(in_use)
    sizes, results = _objects(objects), sorted(_results(manifests))
    parts = {result.digest: _parts(result, sizes) for result in results}
    references = Counter(digest for one in parts.values() for digest in one or ())
    # What an unreadable manifest refers to is unknown, and so is what none refers to.
    unknown = None in parts.values()
    left = before = sum(sizes.values()) + sum(result.bytes for result in results)

    def remove_object(digest: str) -> int:
        with contextlib.suppress(FileNotFoundError):
            (objects / digest[:2] / digest[2:]).unlink()
        return sizes.pop(digest)

    for digest in [] if unknown else [one for one in sizes if one not in references and one not in keep]:
        left -= remove_object(digest)
    removed = []
    wanted = set(chosen)
    for result in sorted(results, key=lambda one: one.digest not in wanted):
        too_large = bytes_max is not None and left > bytes_max
        if result.digest in keep or not (too_large or result.digest in wanted):
            continue
        result.path.unlink(missing_ok=True)
        left -= result.bytes
        removed.append(result.digest)
        for digest in parts[result.digest] or ():
            references[digest] -= 1
            if not references[digest] and digest not in keep and not unknown:
                left -= remove_object(digest)
    return Evicted(tuple(removed), before - left, left)


def _objects(folder: Path) -> dict[str, int]:
    """Return the sizes of the objects by digest."""
    found = {}
    for group in folder.iterdir():
        with contextlib.suppress(OSError):
            for path in group.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    found[group.name + path.name] = path.lstat().st_size
    return found


def _results(folder: Path) -> Iterator[_Result]:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            yield _Result(status.st_mtime_ns, path.name, path, status.st_size)


def _parts(result: _Result, sizes: dict[str, int]) -> set[str] | None:
    """Return the objects of a result that are in the store; ``None`` for a manifest that cannot be read."""
    try:
        with open(open_own(result.path), "rb") as file:  # noqa: PTH123 (of a descriptor)
            return {digest for digest in Manifest.decoded(result.digest, file.read()).digests() if digest in sizes}
    except (OSError, FastGPUError):
        return None
