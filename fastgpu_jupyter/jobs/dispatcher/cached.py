"""Which results are in the cache: the index of keys, and what it decides for a job that has one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec.structs import replace

from ...errors import FastGPUError, Message
from ...messages import text_of, view_of
from ..cache import explanation
from ..cache.ingredients import Ingredient
from ..model import CacheOutcome, JobKind, JobState
from . import transitions
from .record import JobRecord
from .store import JobStore

if TYPE_CHECKING:
    from ...wire.schemas.jobs import JobOutcome

log = logging.getLogger("fastgpu.jobs")
#: Entries of the index that a miss is compared with.
CANDIDATES_MAX = 20


class CachedResult(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the index: the result of a key, what the key was made of, and how it was computed."""

    digest: str
    ingredients: list[dict[str, Any]]
    computed_at: int
    gpu: dict[str, Any] | None
    cost_micro: int | None
    currency: str | None
    job_id: int


class CacheIndex:
    """The index in the store. ``describe`` returns the view of a kept result, and raises where it is not kept."""

    def __init__(
        self, store: JobStore, describe: Callable[[str], Mapping[str, Any]], now_ms: Callable[[], int]
    ) -> None:
        self._store, self._describe, self._now_ms = store, describe, now_ms

    def find(self, job: JobRecord, ingredients: Sequence[Mapping[str, Any]]) -> JobRecord | None:
        """Return a queued job as done where its result is kept, else None."""
        entry = self._entry(job)
        if entry is None or not explanation.same(_read(entry.ingredients), _read(ingredients)):
            return None
        try:
            result = self._describe(entry.digest)
        except (FastGPUError, OSError) as error:
            why = text_of(error) if isinstance(error, FastGPUError) else str(error)
            log.info("The cached result of job %d cannot be used: %s", job.id, why)
            return None
        self._store.use_cached(str(job.key), self._now_ms())
        cache = {
            "outcome": CacheOutcome.HIT.value,
            "message": dict(view_of(explanation.why_hit())),
            "computed_at": entry.computed_at,
            "saved_micro": entry.cost_micro,
        }
        found = replace(job, gpu=entry.gpu, currency=entry.currency)
        return transitions.found_in_cache(found, result, cache, self._now_ms())

    def _entry(self, job: JobRecord) -> CachedResult | None:
        if job.key is None or job.refresh:
            return None
        row = self._store.cached(job.key)
        return None if row is None else msgspec.json.decode(row, type=CachedResult)

    def missed(self, job: JobRecord, ingredients: Sequence[Mapping[str, Any]], *, waits: bool) -> JobRecord:
        """Return a queued job that is not in the cache, with why it is not."""
        if job.key is None or job.cache is None:
            return job
        outcome = CacheOutcome.WAITING if waits else CacheOutcome.MISS
        message = None if waits else dict(view_of(self._why_missed(job, _read(ingredients))))
        return replace(job, cache={**job.cache, "outcome": outcome.value, "message": message})

    def _why_missed(self, job: JobRecord, ingredients: list[Ingredient]) -> Message:
        if job.refresh:
            return Message.of("jobs.computed_again")
        entry = self._entry(job)
        if entry is not None and not explanation.same(_read(entry.ingredients), ingredients):
            return explanation.collision()
        rows = self._store.cached_like(job.kind.value, CANDIDATES_MAX)
        entries = [msgspec.json.decode(row, type=CachedResult) for row in rows]
        found = explanation.closest(ingredients, ((one.digest, _read(one.ingredients)) for one in entries))
        return explanation.why_miss([] if found is None else explanation.difference(found[1], ingredients))

    def record(self, job: JobRecord, outcome: JobOutcome | None) -> JobRecord:
        """Enter the result of a job that has ended, or return the job with why its result is not cached."""
        digest = outcome.get("result") if outcome else None
        if job.key is None or job.state is not JobState.DONE or outcome is None or not digest:
            return job
        opened = outcome.get("opened")
        if opened is None and job.kind is not JobKind.COMMAND:  # what a command opens is never watched
            return transitions.not_cached(job, Message.of("jobs.not_watched"))
        why = explanation.not_cached(cast("list[dict[str, Any]]", opened or []))
        if why is not None:
            return transitions.not_cached(job, why)
        entry = CachedResult(
            digest=digest,
            ingredients=self._store.body(job.id)["cache"]["ingredients"],
            computed_at=job.ended_at or self._now_ms(),
            gpu=job.gpu,
            cost_micro=job.cost_micro,
            currency=job.currency,
            job_id=job.id,
        )
        self._store.put_cached(job.key, job.kind.value, digest, msgspec.json.encode(entry), self._now_ms())
        return job


def _read(ingredients: Sequence[Mapping[str, Any]]) -> list[Ingredient]:
    return cast("list[Ingredient]", list(ingredients))
