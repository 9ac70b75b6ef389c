"""Views of the engine of a pool, of the job of a lease in it, and of the kernel on its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.model.entities import ClusterRequest, Instant, Lease
from ....core.model.lifecycle import LeaseState
from ....errors import Message
from ....messages import view_of
from ....wire.schemas import (
    ClusterKindView,
    LeaseClusterView,
    LeaseQueueView,
    PoolClusterView,
    RemoteKernelView,
)

if TYPE_CHECKING:
    from ...clusters.board import BoardEntry, HostKernel
    from ...clusters.engine import GPUKind
    from ...clusters.service import ClusterService

MINUTE_MS = 60_000
_NO_OPTIONS = ClusterRequest()
#: What sentences call the engines.
_NAMES = {"slurm": Message.of("cluster_engine.slurm"), "fake": Message.of("cluster_engine.fake")}


def pool_cluster_view(cluster: ClusterService) -> PoolClusterView:
    """Return the engine, and what it offered when it was last asked."""
    kinds = cluster.offers.kinds()
    return {
        "engine": cluster.engine.name,
        "version": cluster.offers.version,
        "simulated": cluster.is_simulated,
        "unanswered_since": cluster.thread.unanswered_since,
        "message": view_of(cluster.message),
        "kinds": None if kinds is None else [_kind(kind) for kind in kinds],
        "partitions": list(dict.fromkeys(kind.partition for kind in kinds or ())),
        "time_limit_default_ms": cluster.options.defaults.time_limit_ms,
    }


def lease_cluster_view(cluster: ClusterService, lease: Lease, at: Instant) -> LeaseClusterView | None:
    """Return the job of a lease, ``None`` of a lease of local devices."""
    job = lease.cluster_job
    if job is None:
        return None
    known, options = cluster.known_of(lease.id), lease.request.cluster or _NO_OPTIONS
    allocation = lease.logical_gpu.cluster if lease.logical_gpu else None
    kernel, waits = known.kernel, lease.state is LeaseState.WAITING
    return {
        "engine": cluster.engine.name,
        "job_id": job.job_id,
        "job_name": job.name,
        "host": allocation.host if allocation else known.host,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "constraint": options.constraint,
        "time_limit_ms": options.time_limit_ms,
        "ends_at": known.ends_at_ms or (allocation.ends_at_ms if allocation else None),
        "state": _state(lease, known),
        "reason": view_of(_reason(cluster, lease, known)),
        "position": known.position if waits else None,
        "starts_at": known.starts_at_ms if waits else None,
        "message": view_of(_message(cluster, lease, known, at)),
        "kernel": None if kernel is None else _kernel(kernel),
        "launcher": cluster.launcher_of(lease.id) if lease.state is LeaseState.ACTIVE else None,
    }


def cluster_queue_view(cluster: ClusterService, lease: Lease, at: Instant) -> LeaseQueueView | None:
    """Return the place of a waiting lease in the queue of the engine; a position of 0 is one that it does not say."""
    if lease.state is not LeaseState.WAITING:
        return None
    known = cluster.known_of(lease.id)
    starts_at_ms = known.starts_at_ms
    engine = engine_name(cluster)
    basis = Message.of("cluster.estimate", engine=engine) if starts_at_ms else _no_estimate(engine)
    reason = _reason(cluster, lease, known)
    assert reason is not None
    return {
        "position": known.position or 0,
        "reason": view_of(reason),
        "holder": None,
        "estimate_ms": _wait_ms(starts_at_ms, at) if starts_at_ms else None,
        "estimate_basis": view_of(basis),
    }


def _wait_ms(starts_at_ms: int, at: Instant) -> int:
    """Return the expected wait in whole minutes: what follows a request writes a line for each other one."""
    return -(-max(0, starts_at_ms - at.wall_ms) // MINUTE_MS) * MINUTE_MS


def _no_estimate(engine: Message) -> Message:
    return Message.of("cluster.no_estimate", engine=engine)


def engine_name(cluster: ClusterService) -> Message:
    """Return the name of the engine as a part of a sentence."""
    return _NAMES[cluster.engine.name]


def _kind(kind: GPUKind) -> ClusterKindView:
    return {
        "partition": kind.partition,
        "model": kind.model,
        "per_node_max": kind.per_node_max,
        "nodes": kind.nodes,
        "shards_per_gpu": kind.shards_per_gpu,
        "mig": list(kind.mig),
        "time_limit_max_ms": kind.time_limit_max_ms,
        "default_partition": kind.default_partition,
        "memory_bytes": kind.memory_bytes,
    }


def _kernel(kernel: HostKernel) -> RemoteKernelView:
    return {
        "state": kernel.state,
        "generation": kernel.generation,
        "pid": kernel.pid,
        "exit_code": kernel.exit_code,
        "started_at": kernel.started_at,
    }


def _state(lease: Lease, known: BoardEntry) -> str:
    match lease.state:
        case LeaseState.WAITING if lease.cluster_job is not None and lease.cluster_job.job_id is None:
            return "submitting"
        case LeaseState.WAITING:
            return "starting" if known.host is not None else "queued"
        case LeaseState.DRAINING:
            return "ending"
        case LeaseState.ENDED:
            return "over"
        case _:
            return "running"


def _reason(cluster: ClusterService, lease: Lease, known: BoardEntry) -> Message | None:
    """Return why a lease waits or has ended."""
    if lease.state is not LeaseState.WAITING:
        return lease.end_detail
    engine = engine_name(cluster)
    if lease.cluster_job is not None and lease.cluster_job.job_id is None:
        fault = cluster.message or cluster.submissions.fault_of(lease.cluster_job.name)
        return fault or Message.of("cluster.submitting", engine=engine)
    if known.host is not None:
        return Message.of("cluster.starting", engine=engine, host=known.host)
    return known.reason or Message.of("cluster.not_asked", engine=engine)


def _message(cluster: ClusterService, lease: Lease, known: BoardEntry, at: Instant) -> Message | None:
    """Return what the user of a lease should know now."""
    if lease.state is LeaseState.ENDED:
        return None
    since, ends_at_ms = cluster.thread.unanswered_since, known.ends_at_ms
    if known.late:
        return Message.of("cluster.not_reached", host=known.host or "", address=cluster.address())
    if known.ends_soon and ends_at_ms is not None and lease.state is LeaseState.ACTIVE:
        left_ms = max(0, ends_at_ms - at.wall_ms)
        return Message.of("cluster.ends_soon", engine=engine_name(cluster), left_ms=left_ms)
    if since is not None:
        silent_ms = max(0, at.wall_ms - since)
        return Message.of("cluster.engine_silent", engine=engine_name(cluster), silent_ms=silent_ms)
    if known.is_suspended:
        return Message.of("cluster.suspended", engine=engine_name(cluster))
    if known.agent_silent:
        return Message.of("cluster.host_silent", host=known.agent_host or "", engine=engine_name(cluster))
    return None
