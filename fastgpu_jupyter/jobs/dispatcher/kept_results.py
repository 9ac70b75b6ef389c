"""The results of jobs: described for their users, removed where they are too many, counted."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..results import ResultStore

if TYPE_CHECKING:
    from ..results import Manifest, StoreUsage

#: Outputs larger than that are not opened to be counted.
COUNTED_BYTES_MAX = 4 * 2**20


class Removed(NamedTuple):
    """The results that were removed, and how many bytes that freed."""

    digests: frozenset[str]
    freed_bytes: int


class KeptResults:
    """The store of results in ``folder``, which is opened when it is needed first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def _store(self) -> ResultStore:
        return ResultStore(self.folder)

    def describe(self, digest: str) -> Mapping[str, Any]:
        """Return what a result consists of; it counts as used now. Raises where it is not kept or is damaged."""
        manifest = self._store.manifest(digest, used=True)
        # Values and files have their sizes in the manifest: nothing else is looked at that could be evicted meanwhile.
        if manifest.outputs is None and manifest.notebook is None:
            return self._described(digest, manifest)
        with self._store.reading(digest) as protected:
            return self._described(digest, protected)

    def _described(self, digest: str, manifest: Manifest) -> Mapping[str, Any]:
        parts = [one for one in (manifest.outputs, manifest.notebook) if one]
        sizes = {one: self._store.size(one) for one in parts}
        return {
            "digest": digest,
            "bytes": sum(value.bytes for value in manifest.values.values())
            + sum(file.bytes for file in manifest.files.values())
            + sum(sizes.values()),
            "values": sorted(manifest.values),
            "files": sorted(manifest.files),
            "outputs": self._count(manifest, sizes),
            "notebook": manifest.notebook is not None,
        }

    def _count(self, manifest: Manifest, sizes: Mapping[str, int]) -> int:
        if manifest.outputs is None:
            return 0
        if sizes[manifest.outputs] > COUNTED_BYTES_MAX:
            return 1
        outputs = json.loads(self._store.content(manifest.outputs))
        return len(outputs) if isinstance(outputs, list) else 1

    def remove(self, digests: Collection[str], bytes_max: int | None) -> Removed:
        """Remove results, and then those that were not used for longest until ``bytes_max`` holds."""
        gone: set[str] = set()
        freed_bytes = 0
        if digests:
            removed = self._store.remove(digests)
            gone |= set(removed.results)
            freed_bytes += removed.bytes
        if bytes_max is not None and (not digests or removed.bytes_left > bytes_max):
            removed = self._store.evict(bytes_max)
            gone |= set(removed.results)
            freed_bytes += removed.bytes
        return Removed(frozenset(gone), freed_bytes)

    def usage(self) -> StoreUsage:
        """Return how many results are kept, and the bytes that they take."""
        return self._store.usage()
