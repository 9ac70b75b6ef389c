"""What must be true of the leases of an engine in every state; see :mod:`.invariants`."""

from __future__ import annotations

from collections.abc import Iterator

from ..model.entities import Lease, State
from ..model.lifecycle import HOLDING_CAPACITY, LeaseState

_STATES = frozenset({LeaseState.WAITING, LeaseState.ACTIVE, LeaseState.DRAINING, LeaseState.ENDED})


def violations(state: State) -> Iterator[str]:
    """Yield every way in which the leases of an engine are wrong."""
    names: set[str] = set()
    jobs: set[str] = set()
    waiting: set[str] = set()
    orphaned: set[str] = set()
    for lease in state.leases.values():
        if lease.orphaned_since_ms is not None:
            orphaned.add(lease.id)
        job = lease.cluster_job
        if job is None:
            if lease.request.cluster is not None or (lease.logical_gpu and lease.logical_gpu.cluster):
                yield f"{lease.id}: an engine serves it without a job"
            continue
        yield from _of_lease(lease)
        if lease.state is LeaseState.WAITING:
            waiting.add(lease.id)
        if job.name in names or (job.job_id is not None and job.job_id in jobs and lease.ended_at is None):
            yield f"{lease.id}: its job {job.name} is another lease's as well"
        names.add(job.name)
        if job.job_id is not None and lease.ended_at is None:  # an engine may use the number of an old job again
            jobs.add(job.job_id)
    if waiting != state.cluster_waiting.keys():
        yield "the list of leases that wait for an engine is not of those"
    if orphaned != state.orphaned.keys():
        yield "the list of leases that are kept without a holder is not of those"


def _of_lease(lease: Lease) -> Iterator[str]:
    if lease.request.cluster is None:
        yield f"{lease.id}: has a job of an engine and did not request one"
    if lease.state not in _STATES:
        yield f"{lease.id}: is {lease.state.value}, which no lease of an engine is"
    if lease.state in HOLDING_CAPACITY and (lease.logical_gpu is None or lease.logical_gpu.cluster is None):
        yield f"{lease.id}: is {lease.state.value} without an allocation of the engine"
    if lease.last_segment is not None and lease.state is not LeaseState.DRAINING:
        yield f"{lease.id}: its bill may be shortened while it is {lease.state.value}"
    if lease.orphaned_since_ms is not None and lease.state is not LeaseState.ACTIVE:
        yield f"{lease.id}: is kept without a holder while it is {lease.state.value}"
