"""Effects: what must be done outside after events are on disk. Each is safe to repeat; recovery derives them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .entities import EndReason, Enforcement, Holder, Lease, LogicalGPU, ParkReason, State
from .events import (
    DeviceAppeared,
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
    """Report ``HolderEnded`` when that process ends, and stop watching any earlier holder of the lease."""

    lease_id: str
    holder: Holder


@dataclass(frozen=True, slots=True)
class UnwatchHolder:
    """Stop watching the holder of a lease that is over."""

    lease_id: str


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make the logical GPU, then report ``PrepareSucceeded`` or ``PrepareFailed``."""

    lease_id: str
    logical_gpu: LogicalGPU


@dataclass(frozen=True, slots=True)
class Park:
    """Move the memory of the holder from the device to the host, then report ``ParkSucceeded`` or ``ParkFailed``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class Vacate:
    """Destroy the logical GPU once no process of the lease has memory on it, then report ``ParkSucceeded``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class Resume:
    """Move the memory of the holder to the device, then report ``ResumeSucceeded``, ``…Failed`` or ``…Postponed``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder
    origin: tuple[str, ...] = ()  #: the devices that it was on
    memory_bytes: int = 0  #: how much it is


@dataclass(frozen=True, slots=True)
class SetLimit:
    """Have the memory limit enforced for the processes of the holder, then report ``LimitSet``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class Drain:
    """Destroy the logical GPU once no process of the lease has memory on it, then report ``DrainSucceeded``."""

    lease_id: str
    logical_gpu: LogicalGPU
    holder: Holder


@dataclass(frozen=True, slots=True)
class SubmitJob:
    """Submit the job unless the engine has one with that name; report ``ClusterJobSubmitted`` or ``…Refused``.

    A lease that has ended by then has its job cancelled instead.
    """

    lease_id: str
    name: str


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Cancel the job, again and again until the engine says that it is over, then report ``ClusterJobEnded``.

    ``job_id`` is ``None`` where the engine had not answered: the job is looked for by its name.
    """

    lease_id: str
    name: str
    job_id: str | None


DeviceEffect = Prepare | SetLimit | Park | Vacate | Resume | Drain
ClusterEffect = SubmitJob | CancelJob
Effect = WatchHolder | UnwatchHolder | DeviceEffect | ClusterEffect


def effects(state: State, events: Iterable[Event]) -> Iterator[Effect]:
    """Yield the effects of the events; ``state`` is the one after them."""
    for event in events:
        match event:
            case LeaseRequested(lease_id=lease_id, holder=holder) | HolderBound(lease_id=lease_id, holder=holder):
                yield WatchHolder(lease_id, holder)
                yield from _limit(state.leases[lease_id])
                if isinstance(event, LeaseRequested):
                    yield from _submit(state.leases[lease_id])
            case LeasePrepared(lease_id=lease_id) | LeaseResumed(lease_id=lease_id) | LeaseResized(lease_id=lease_id):
                yield from _limit(state.leases[lease_id])
            case LeaseLimitSet(lease_id=lease_id, driver_handle=handle) if handle:
                lease = state.leases[lease_id]  # it may have got all of its device while its limit was set
                yield from _limit(lease) if lease.logical_gpu and lease.logical_gpu.whole else ()
            case DeviceAppeared(spec=spec):  # it may have been missing while a limit was to be set
                for lease_id in state.devices[spec.id].lease_ids:
                    yield from _limit(state.leases[lease_id])
            case LeaseGranted(lease_id=lease_id, logical_gpu=granted) if granted.cluster is None:
                yield Prepare(lease_id, granted)
            case LeaseParking(lease_id=lease_id) | LeaseResuming(lease_id=lease_id) | LeaseDraining(lease_id=lease_id):
                yield from _of_device(state.leases[lease_id])
            case LeaseEnded(lease_id=lease_id):
                yield UnwatchHolder(lease_id)
                yield from _cancel_request(state.leases[lease_id])


def outstanding(state: State) -> Iterator[Effect]:
    """Yield the effects that are due for a state that was just recovered."""
    for lease in state.leases.values():
        if lease.state is LeaseState.ENDED:
            continue
        yield WatchHolder(lease.id, lease.holder)
        yield from _submit(lease)
        yield from _of_device(lease)
        yield from _limit(lease)


def _submit(lease: Lease) -> Iterator[Effect]:
    """Yield the submission of the job of a waiting lease for which the engine has not answered yet."""
    job = lease.cluster_job
    if job is not None and job.job_id is None and lease.state is LeaseState.WAITING:
        yield SubmitJob(lease.id, job.name)


def _cancel_request(lease: Lease) -> Iterator[Effect]:
    """Yield the end of the job of a lease that ended before it was granted, unless the engine said that it is over.

    It is not among the outstanding effects: after a restart the jobs that the engine lists for no lease are cancelled.
    """
    job = lease.cluster_job
    if job is None or lease.granted_at is not None or lease.end_reason is EndReason.ALLOCATION_LOST:
        return
    if job.job_id is not None or lease.end_reason is not EndReason.CLUSTER_REFUSED:
        yield CancelJob(lease.id, job.name, job.job_id)


def _limit(lease: Lease) -> Iterator[Effect]:
    """Yield the effect of a limit that the driver enforces: it is set for each process and size, or removed."""
    gpu = lease.logical_gpu
    if (
        lease.state is LeaseState.ACTIVE
        and gpu is not None
        and (gpu.enforcement is Enforcement.DRIVER or gpu.driver_handle)
    ):
        yield SetLimit(lease.id, gpu, lease.holder)


def _of_device(lease: Lease) -> Iterator[Effect]:
    """Yield what is to be done on the devices of the lease in its state."""
    gpu, job = lease.logical_gpu, lease.cluster_job
    if job is not None and lease.state is LeaseState.DRAINING:
        yield CancelJob(lease.id, job.name, job.job_id)
    if gpu is None or job is not None:
        return
    match lease.state:
        case LeaseState.PREPARING:
            yield Prepare(lease.id, gpu)
        case LeaseState.PARKING if lease.image is not None and lease.park_reason is ParkReason.RESTART:
            yield Vacate(lease.id, gpu, lease.image.holder)
        case LeaseState.PARKING if lease.image is not None:
            yield Park(lease.id, gpu, lease.image.holder)
        case LeaseState.RESUMING if lease.image is not None:
            yield Resume(lease.id, gpu, lease.image.holder, lease.image.device_ids, lease.parked_bytes)
        case LeaseState.DRAINING:
            yield Drain(lease.id, gpu, lease.holder)
