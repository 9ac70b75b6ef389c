"""Leases that use more device memory than they have: told, then parked, then ended, as the policy says.

Only where nobody stricter keeps the limit: what the hardware or the driver keeps cannot be passed. The shell measures
and says so (:class:`~core.model.commands.ReportMemory`); a lease that is within its limit again starts anew.
"""

from __future__ import annotations

from ...units import format_duration, format_memory
from ..model import commands as c
from ..model import events as e
from ..model.entities import EndReason, Enforcement, Instant, Lease, LogicalGPU, OverLimit, ParkReason, State
from ..model.events import Event
from ..model.lifecycle import PARKED_OR_RETURNING, RETURNING, LeaseState
from ..placement import parkability

#: Who keeps a limit only as far as programs play along.
WATCHED = frozenset({Enforcement.COOPERATIVE, Enforcement.USERSPACE})


def is_watched(gpu: LogicalGPU) -> bool:
    """Whether what a lease uses must be compared with what it has."""
    return not gpu.whole and gpu.enforcement in WATCHED


def report_memory(state: State, command: c.ReportMemory, at: Instant) -> list[Event]:
    """What a lease uses of its device was measured."""
    lease = state.leases.get(command.lease_id)
    gpu = lease.logical_gpu if lease is not None else None
    if lease is None or gpu is None or lease.state is not LeaseState.ACTIVE or gpu.generation != command.generation:
        return []
    if not is_watched(gpu) or command.used_bytes <= gpu.memory_bytes:
        return [e.LeaseWithinLimit(lease.id)] if lease.over_limit_since_ms is not None or lease.over_limit_parks else []
    if lease.over_limit_since_ms is None:
        return [e.LeaseOverLimit(lease.id, command.used_bytes)]
    if at.ms - lease.over_limit_since_ms < state.policy.over_limit_grace_ms:
        return []
    return _act(state, lease, gpu, command.used_bytes)


def _act(state: State, lease: Lease, gpu: LogicalGPU, used_bytes: int) -> list[Event]:
    """It was told, and had time."""
    policy = state.policy.over_limit
    again = policy is OverLimit.REVOKE and lease.over_limit_parks > 0
    if policy is not OverLimit.WARN and not again and parkability.park_refusal(state, lease) is None:
        return [e.LeaseParking(lease.id, ParkReason.OVER_LIMIT)]
    if policy is OverLimit.REVOKE:
        used, had = format_memory(used_bytes), format_memory(gpu.memory_bytes)
        return [e.LeaseDraining(lease.id, EndReason.OVER_LIMIT, f"It used {used} of its GPU, and it had {had}.")]
    return []


def message(state: State, lease: Lease) -> str | None:
    """What the lease's user is to be told of its limit, or ``None``."""
    gpu = lease.logical_gpu
    if lease.state in PARKED_OR_RETURNING and lease.park_reason is ParkReason.OVER_LIMIT and lease.over_limit_bytes:
        return _parked(state, lease)
    if lease.state is not LeaseState.ACTIVE or gpu is None:
        return None
    if lease.over_limit_since_ms is None:
        return lease.limit_detail
    used, has = format_memory(lease.over_limit_bytes), format_memory(gpu.memory_bytes)
    told = f"It uses {used} of its GPU, more than the {has} that it has. Free memory, or give it a larger size"
    next_step = _next_step(state, lease)
    grace = format_duration(state.policy.over_limit_grace_ms)
    return f"{told}; otherwise it is {next_step} after {grace}." if next_step else f"{told}."


def _parked(state: State, lease: Lease) -> str:
    """What it was parked for, what is kept, and every way out of it."""
    grace = format_duration(state.policy.over_limit_grace_ms)
    again = "ended" if state.policy.over_limit is OverLimit.REVOKE else "parked again"
    back = "It waits to come back." if lease.state in RETURNING else "It stays so until you choose."
    return (
        f"It was parked because it used {format_memory(lease.over_limit_bytes)} of its GPU, more than its size "
        f"({lease.request.name}). Its variables, and what they have on the GPU, are kept in the host's memory; a cell "
        f"that runs stands still at its next call to the GPU. {back} Give it a larger size by `%fastgpu resize SIZE`, "
        f"or while a cell runs by `jupyter fastgpu resize {lease.id} SIZE` in a terminal: it comes back and goes on. "
        f"Interrupt the kernel: it comes back as it was, and is {again} unless memory is freed within {grace}. Restart "
        "the kernel: what it has on the GPU is given up."
    )


def _next_step(state: State, lease: Lease) -> str | None:
    policy = state.policy.over_limit
    if policy is OverLimit.WARN:
        return None
    again = policy is OverLimit.REVOKE and lease.over_limit_parks > 0
    if not again and parkability.park_refusal(state, lease) is None:
        return "parked"
    return "ended" if policy is OverLimit.REVOKE else None
