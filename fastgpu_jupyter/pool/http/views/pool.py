"""The view of the pool manager itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .... import __version__
from ....core.model.entities import State
from ....errors import Message
from ....messages import view_of
from ....wire.host_identity import slurm_job
from ....wire.schemas import PoolView
from .cluster import pool_cluster_view

if TYPE_CHECKING:
    from ...clusters.service import ClusterService


def pool_view(
    state: State,
    *,
    pool_id: str,
    scope: str,
    currency: str,
    started_at: int,
    message: Message | None,
    fault: str | None,
    silent_since: int | None,
    carried_over: tuple[str, ...],
    cluster: ClusterService | None = None,
) -> PoolView:
    """Return the pool manager itself; ``fault`` is why it accepts no requests.

    ``carried_over``: settings of a pool manager that was killed.
    """
    return {
        "id": pool_id,
        "version": __version__,
        "scope": "system" if scope == "system" else "user",
        "simulated": any(device.spec.simulated for device in state.devices.values())
        or (cluster is not None and cluster.is_simulated),
        "currency": currency,
        "started_at": started_at,
        "message": view_of(Message.of_optional(fault) or message or (_job_message() if cluster is None else None)),
        "accepting": fault is None,
        "counters_silent_since": silent_since,
        "carried_over": view_of(Message.of("pool.carried_over", settings=carried_over)) if carried_over else None,
        "cluster": None if cluster is None else pool_cluster_view(cluster),
    }


def _job_message() -> Message | None:
    """Return that the pool is the allocation of a Slurm job, if it is."""
    job = slurm_job()
    return None if job is None else Message.of("pool.in_slurm_job", job=job)
