"""The result of a job in the store of results: values, outputs, a notebook, and the files that the job saved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import FastGPUError, InvalidRequest, Message, StoreFault
from ...messages import text_of
from ...messages.language import ENGLISH
from ...wire.job_states import JobState
from ..results import Manifest, ResultStore, Stored, StoredValue
from .work_end import WorkEnd, end_not_kept

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobBody

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
        self._folder, self._bytes_max, self._synced, self._written = folder, bytes_max, synced, 0
        self._store: ResultStore | None = None
        self._kept = contextlib.ExitStack()

    def keep(self, body: JobBody, end: WorkEnd, *, gpu: Mapping[str, Any] | None, cost_micro: int | None) -> WorkEnd:
        """Store the result of a job, and return its end with the digest; as failed where that cannot be done."""
        try:
            return end._replace(result=self._write(body, end, gpu, cost_micro))
        except FastGPUError as error:
            return end_not_kept(end, type(error).__name__, text_of(error, ENGLISH))
        except OSError as error:
            return end_not_kept(end, "StoreFault", f"{error.strerror or error}.")

    def _write(self, body: JobBody, end: WorkEnd, gpu: Mapping[str, Any] | None, cost_micro: int | None) -> str | None:
        """Return the digest of the stored result; None where the job left nothing, and is not cached."""
        store = self._store = self._store or ResultStore(self._folder, synced=self._synced)
        kind, parts, folder = body["kind"], end.parts, Path(body["environment"]["cwd"])
        save = body.get("save", []) if end.state in (JobState.DONE, JobState.FAILED) else []
        values = {name: StoredValue(**value) for name, value in parts.get("values", {}).items()}
        total = sum(value.bytes for value in values.values())
        files: dict[str, Stored] = {}
        for path in saved_files(save, folder):
            self._require_room(total + path.stat().st_size)
            try:
                files[str(path.relative_to(folder))] = stored = store.put_file(path)
            except OSError as error:
                reason = error.strerror or str(error)
                raise StoreFault(Message.of("jobs.save_unreadable", path=str(path), reason=reason)) from error
            total += stored.bytes
        self._require_room(total)
        cache = body.get("cache")
        is_cached = cache is not None and cache["key"] is not None and end.state is JobState.DONE
        if not (values or files or parts.get("outputs") or parts.get("notebook") or is_cached):
            return None
        manifest = Manifest(
            kind, values, parts.get("outputs"), parts.get("notebook"), files, int(time.time() * 1000), gpu, cost_micro
        )
        digest = store.put_manifest(manifest)
        self._written += 1
        if self._synced:
            self._kept.enter_context(store.reading(digest))
        elif self._written % _PROTECTED == 0:
            store.release()
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
            if self._store is not None:
                self._store.release()
