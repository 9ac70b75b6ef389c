"""What the shell must do after events are on disk. Each is safe to repeat; recovery derives them from the state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .entities import Enforcement, Holder, Lease, LogicalGPU, ParkReason, State
from .events import (
    Event,
    HolderBound,
    LeaseDraining,
    LeaseEnded,
    LeaseGranted,
    LeaseLimitSet,
    LeaseParking,
    LeasePrepared,
    LeaseRequested,
    LeaseResized,
    LeaseResumed,
    LeaseResuming,
)
from .lifecycle import LeaseState


@dataclass(frozen=True, slots=True)
class WatchHolder:
    """Say ``HolderEnded`` when that process ends, and stop watching any earlier holder of the lease."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class UnwatchHolder:
    """The lease is over: watch nobody for it."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the logical GPU, then say ``PrepareSucceeded`` or ``PrepareFailed``."""

    lease_id: str
    logical_gpu: LogicalGPU


@dataclass(frozen=True, slots=True)
class Park:
    """Move the holder's memory from the device to the host, then say ``ParkSucceeded`` or ``ParkFailed``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class Vacate:
    """Unmake the logical GPU once no process of the lease has memory on it, then say ``ParkSucceeded``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class Resume:
    """Move the holder's memory to the device, then say ``ResumeSucceeded`` or ``ResumeFailed``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder
    origin: tuple[str, ...] = ()  #: the devices that it was on


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Have the holder's processes kept within the lease's memory, then say ``LimitSet``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class Drain:
    """Unmake the logical GPU once no process of the lease has memory on it, then say ``DrainSucceeded``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


DeviceEffect = Prepare | SetLimit | Park | Vacate | Resume | Drain
Effect = WatchHolder | UnwatchHolder | DeviceEffect


def effects(state: State, events: Iterable[Event]) -> Iterator[Effect]:
    """What the events ask of the shell; ``state`` is the one after them."""
    for event in events:
        match event:
            case LeaseRequested(lease_id=lease_id, holder=holder) | HolderBound(lease_id=lease_id, holder=holder):
                yield WatchHolder(lease_id, holder)
                yield from _limit(state.leases[lease_id])
            case LeasePrepared(lease_id=lease_id) | LeaseResumed(lease_id=lease_id) | LeaseResized(lease_id=lease_id):
                yield from _limit(state.leases[lease_id])
            case LeaseLimitSet(lease_id=lease_id, driver_handle=handle) if handle:
                lease = state.leases[lease_id]  # which may have got all of its device while its limit was set
                yield from _limit(lease) if lease.logical_gpu and lease.logical_gpu.whole else ()
            case LeaseGranted(lease_id=lease_id, logical_gpu=granted):
                yield Prepare(lease_id, granted)
            case LeaseParking(lease_id=lease_id) | LeaseResuming(lease_id=lease_id) | LeaseDraining(lease_id=lease_id):
                yield from _of_device(state.leases[lease_id])
            case LeaseEnded(lease_id=lease_id):
                yield UnwatchHolder(lease_id)


def outstanding(state: State) -> Iterator[Effect]:
    """What is still owed for a state that was just recovered."""
    for lease in state.leases.values():
        if lease.state is LeaseState.ENDED:
            continue
        yield WatchHolder(lease.id, lease.holder)
        yield from _of_device(lease)
        yield from _limit(lease)


def _limit(lease: Lease) -> Iterator[Effect]:
    """A limit that the driver keeps is set for a process, so anew for each and for each size; or it is lifted."""
    gpu = lease.logical_gpu
    if (
        lease.state is LeaseState.ACTIVE
        and gpu is not None
        and (gpu.enforcement is Enforcement.DRIVER or gpu.driver_handle)
    ):
        yield SetLimit(lease.id, gpu, lease.holder)


def _of_device(lease: Lease) -> Iterator[Effect]:
    """What the lease's device owes it in its state."""
    gpu = lease.logical_gpu
    if gpu is None:
        return
    match lease.state:
        case LeaseState.PREPARING:
            yield Prepare(lease.id, gpu)
        case LeaseState.PARKING if lease.image is not None and lease.park_reason is ParkReason.RESTART:
            yield Vacate(lease.id, gpu, lease.image.holder)
        case LeaseState.PARKING if lease.image is not None:
            yield Park(lease.id, gpu, lease.image.holder)
        case LeaseState.RESUMING if lease.image is not None:
            yield Resume(lease.id, gpu, lease.image.holder, lease.image.device_ids)
        case LeaseState.DRAINING:
            yield Drain(lease.id, gpu, lease.holder)
