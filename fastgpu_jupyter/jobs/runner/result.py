"""The result of a job in the store of results: values, outputs, a notebook, and the files that the job saved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import FastGPUError, InvalidRequest, Message, StoreFault
from ..results import Manifest, ResultStore, Stored, StoredValue

#: The most files of one job.
FILES_MAX = 1000


def saved_files(patterns: Sequence[str], folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder`` that match; raise :class:`InvalidRequest` for a pattern of other folders."""
    found: set[Path] = set()
    for pattern in patterns:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise InvalidRequest(Message.of("jobs.save_outside", pattern=pattern))
        for path in folder.glob(pattern):
            if path.is_file() and path not in found:
                found.add(path)
                if len(found) > FILES_MAX:
                    raise InvalidRequest(Message.of("jobs.save_too_many", pattern=pattern, files_max=FILES_MAX))
                yield path


#: After so many results of calls the protection of the earlier ones ends, which the dispatcher knows by then.
_PROTECTED = 64


class ResultWriter:
    """Writes results, and keeps them from being evicted until :meth:`close`.

    One that does not sync is for calls: it writes many, and protects the last ones only.
    """

    def __init__(self, folder: Path, bytes_max: int, *, synced: bool) -> None:
        self._store = ResultStore(folder, synced=synced)
        self._bytes_max, self._synced, self._written = bytes_max, synced, 0
        self._kept = contextlib.ExitStack()

    def write(
        self,
        kind: str,
        parts: Mapping[str, Any],
        save: Sequence[str],
        folder: Path,
        *,
        gpu: Mapping[str, Any] | None,
        cost_micro: int | None,
    ) -> str | None:
        """Store the result, and return its digest; None where the job left nothing.

        Raises :class:`StoreFault` where it cannot be written, and :class:`InvalidRequest` where it is too large.
        """
        values = {name: StoredValue(**value) for name, value in parts.get("values", {}).items()}
        total = sum(value.bytes for value in values.values())
        files: dict[str, Stored] = {}
        for path in saved_files(save, folder):
            self._require_room(total + path.stat().st_size)
            try:
                files[str(path.relative_to(folder))] = stored = self._store.put_file(path)
            except OSError as error:
                reason = error.strerror or str(error)
                raise StoreFault(Message.of("jobs.save_unreadable", path=str(path), reason=reason)) from error
            total += stored.bytes
        self._require_room(total)
        if not (values or files or parts.get("outputs") or parts.get("notebook")):
            return None
        manifest = Manifest(
            kind, values, parts.get("outputs"), parts.get("notebook"), files, int(time.time() * 1000), gpu, cost_micro
        )
        digest = self._store.put_manifest(manifest)
        self._written += 1
        if self._synced:
            self._kept.enter_context(self._store.reading(digest))
        elif self._written % _PROTECTED == 0:
            self._store.release()
        return digest

    def _require_room(self, total_bytes: int) -> None:
        if total_bytes > self._bytes_max:
            raise InvalidRequest(
                Message.of("jobs.result_too_large", given_bytes=total_bytes, limit_bytes=self._bytes_max)
            )

    def close(self) -> None:
        """Let the result be evicted when its turn comes: the dispatcher knows it."""
        with contextlib.suppress(FastGPUError, OSError):
            self._kept.close()
            self._store.release()
