"""What must be true of every state, whatever led to it; each finding is a sentence that names what is wrong.

Checked after every ``apply`` in tests and after recovery in production. A finding there is a bug: the pool then
grants nothing new, keeps kernels running and keeps accepting releases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ..model.entities import Device, Health, Lease, LogicalGPU, State, Tenant
from ..model.lifecycle import HAVING_PARKED_MEMORY, HOLDING_CAPACITY, OVER, RELEASING_CAPACITY, LeaseState
from ..placement import mig_partitions
from . import cluster_invariants, presence


def violations(state: State) -> Iterator[str]:
    """Every way in which ``state`` is wrong; nothing where all is well."""
    on_device: dict[str, dict[str, LogicalGPU]] = {}
    of_tenant: dict[str, list[LogicalGPU]] = {}
    for lease in state.leases.values():
        yield from _lease_violations(state, lease)
        if lease.state in HOLDING_CAPACITY and lease.logical_gpu is not None:
            if lease.logical_gpu.cluster is None:
                of_tenant.setdefault(lease.tenant, []).append(lease.logical_gpu)
            for device_id in lease.logical_gpu.local_device_ids:
                on_device.setdefault(device_id, {})[lease.id] = lease.logical_gpu
    for device in state.devices.values():
        yield from _device_violations(state, device, on_device.get(device.spec.id, {}))
    waiting = Counter(state.leases[lease_id].tenant for lease_id in state.queue)
    for name, tenant in state.tenants.items():
        yield from _tenant_violations(state, name, tenant, of_tenant.get(name, []), waiting[name])
        yield from _money_violations(state, name, tenant)
    yield from _book_violations(state)
    yield from _list_violations(state)
    yield from _queue_violations(state)
    yield from cluster_invariants.violations(state)


def _device_violations(state: State, device: Device, holders: dict[str, LogicalGPU]) -> Iterator[str]:
    name = device.spec.id
    if device.missing is not None and not device.present:
        yield f"{name}: is missing and gone at the same time"
    promised = sum(device.spec.memory_bytes if gpu.more_device_ids else gpu.memory_bytes for gpu in holders.values())
    if promised > device.spec.memory_bytes:
        yield f"{name}: {promised} bytes are promised of {device.spec.memory_bytes}"
    if promised != device.promised_bytes or set(holders) != set(device.lease_ids):
        yield f"{name}: its books say {device.promised_bytes} bytes to {list(device.lease_ids)}, leases say otherwise"
    leaving = sum(
        device.spec.memory_bytes if gpu.more_device_ids else gpu.memory_bytes
        for lease_id, gpu in holders.items()
        if state.leases[lease_id].state in RELEASING_CAPACITY
    )
    if leaving != device.releasing_bytes:
        yield f"{name}: its books say that {device.releasing_bytes} bytes are being given back, leases say {leaving}"
    whole = [lease_id for lease_id, gpu in holders.items() if gpu.whole]
    if whole and len(holders) > 1:
        yield f"{name}: {whole[0]} has it whole, yet {len(holders)} leases hold it"
    if device.whole_lease_id != (whole[0] if whole else None):
        yield f"{name}: its books say that {device.whole_lease_id} has it whole, leases say {whole}"
    yield from _partition_violations(device, holders)


def _partition_violations(device: Device, holders: dict[str, LogicalGPU]) -> Iterator[str]:
    """What the hardware keeps apart must lie side by side, one partition a lease."""
    name, profiles = device.spec.id, {one.name: one for one in device.spec.profiles}
    parts = {lease_id: gpu.partition for lease_id, gpu in holders.items() if gpu.partition is not None}
    if device.partitions != parts:
        yield f"{name}: its books say that leases have the partitions {device.partitions}, leases say {parts}"
    if mig_partitions.is_partitioned(device.spec) and len(parts) < len(holders):
        yield f"{name}: is divided, and a lease has something else than a partition of it"
    taken: dict[int, str] = {}
    for lease_id, part in parts.items():
        profile = profiles.get(part.profile)
        if profile is None or holders[lease_id].whole or holders[lease_id].more_device_ids:
            yield f"{lease_id}: has {part.profile} of {name}, which has no such partition"
            continue
        for slot in range(part.start, part.start + profile.length):
            if slot in taken:
                yield f"{name}: slot {slot} is in the partitions of {taken[slot]} and of {lease_id}"
            taken[slot] = lease_id


def _lease_violations(state: State, lease: Lease) -> Iterator[str]:
    holding = lease.state in HOLDING_CAPACITY
    if holding and (lease.logical_gpu is None or not state.devices.keys() >= set(lease.logical_gpu.local_device_ids)):
        yield f"{lease.id}: is {lease.state.value} without a device"
    if lease.state is LeaseState.WAITING and lease.logical_gpu is not None:
        yield f"{lease.id}: waits, yet has a logical GPU"
    missing = presence.missing_device(state, lease)
    paid = lease.state is LeaseState.ACTIVE and missing is None
    where = f" on {missing.spec.id}, which is missing" if missing else ""
    if paid != (lease.active_since_ms is not None):
        yield f"{lease.id}: is {lease.state.value}{where}, yet its open usage segment says otherwise"
    if paid != (lease.id in getattr(state.tenants.get(lease.tenant), "active", ())):
        yield f"{lease.id}: is {lease.state.value}{where}, yet its tenant's books say otherwise"
    if lease.active_since_ms is None and (lease.billed_micro_per_hour or lease.covered_milli):
        yield f"{lease.id}: is billed while it is not active, or its device is missing"
    if (lease.over_limit_since_ms is not None or lease.migration_requested) and lease.state is not LeaseState.ACTIVE:
        yield f"{lease.id}: is {lease.state.value}, and said to use too much, or to wait for a restart to move"
    if (lease.state is LeaseState.ENDED) != (lease.ended_at is not None):
        yield f"{lease.id}: is {lease.state.value}, yet its end says otherwise"
    if lease.state in OVER and lease.end_reason is None:
        yield f"{lease.id}: is {lease.state.value} for no reason"
    parked = lease.state in HAVING_PARKED_MEMORY
    may = parked or lease.state in (LeaseState.WAITING, LeaseState.PREPARING)
    if (parked and lease.image is None) or (lease.image is not None and not may):
        yield f"{lease.id}: is {lease.state.value}, yet its parked memory says otherwise"
    if lease.cost_numerator < 0 or lease.active_ms < 0:
        yield f"{lease.id}: has a negative bill"
    if lease.logical_gpu is not None and lease.logical_gpu.generation > state.generations:
        yield f"{lease.id}: has a generation that was never given"


def _book_violations(state: State) -> Iterator[str]:
    """Sums that are kept beside what they are sums of."""
    cpu_milli: Counter[str] = Counter()
    memory_bytes: Counter[str] = Counter()
    for lease in state.leases.values():
        gpu = lease.logical_gpu
        if lease.state in HOLDING_CAPACITY and gpu is not None and gpu.cluster is None:
            cpu_milli[gpu.host_id] += lease.request.cpu_milli
            memory_bytes[gpu.host_id] += lease.request.host_memory_bytes
    for host in state.hosts.values():
        held = cpu_milli[host.spec.id], memory_bytes[host.spec.id]
        if held != (host.held_cpu_milli, host.held_memory_bytes):
            yield f"host {host.spec.id!r}: its books of processors and memory are not what leases have of it"
        if host.held_cpu_milli > host.spec.cpu_milli or host.held_memory_bytes > host.spec.memory_bytes:
            yield f"host {host.spec.id!r}: more is promised of it than it has"
    held_milli: Counter[str | None] = Counter()
    waiting: Counter[str | None] = Counter()
    for tenant in state.tenants.values():
        held_milli[tenant.group] += tenant.held_milli
        waiting[tenant.group] += tenant.waiting
    for name, group in state.groups.items():
        if (group.held_milli, group.waiting) != (held_milli[name], waiting[name]):
            yield f"group {name}: does not hold and wait for what its tenants do"
    if bool(state.queue) != (state.contended_since_ms is not None):
        yield "the books say otherwise than the queue whether anybody waits"
    if state.parked_bytes != sum(lease.parked_bytes for lease in state.leases.values()):
        yield f"the books say that {state.parked_bytes} bytes are parked, leases say otherwise"


def _list_violations(state: State) -> Iterator[str]:
    """Compare the lists and counts of leases, which save scans, with the leases themselves."""
    lasting = [lease for lease in state.leases.values() if lease.ended_at is None]
    if {lease.id for lease in lasting if lease.request.budget_micro is not None} != state.budgeted.keys():
        yield "the list of leases that have a budget is not of those"
    if len(lasting) + len(state.ended) != len(state.leases) or not state.leases.keys() >= state.ended.keys():
        yield "the list of leases that ended is not of those"
    if {lease.id for lease in lasting if lease.resize_deferred is not None} != state.deferred.keys():
        yield "the list of leases whose larger size waits for room is not of those"
    if {name for name, device in state.devices.items() if device.health is Health.SUSPECT} != state.suspect.keys():
        yield "the list of suspect devices is not of those"
    seen = {LeaseState.ACTIVE, LeaseState.PARKING, LeaseState.PARKED}
    if {one.id for one in lasting if one.gpu_idle_since_ms is not None and one.state in seen} != state.idling.keys():
        yield "the list of leases that are known to be idle is not of those"
    of_tenant = Counter(lease.tenant for lease in lasting)
    for name, tenant in state.tenants.items():
        if tenant.leases != of_tenant[name]:
            yield f"{name}: its books say that it has {tenant.leases} leases, there are {of_tenant[name]}"


def _tenant_violations(state: State, name: str, tenant: Tenant, gpus: list[LogicalGPU], waiting: int) -> Iterator[str]:
    held = sum(
        gpu.milli_of(device.spec.memory_bytes)
        for gpu in gpus
        if (device := state.devices.get(gpu.device_id)) is not None
    )
    if held != tenant.held_milli:
        yield f"{name}: its books say that it holds {tenant.held_milli} thousandths, leases say {held}"
    if tenant.waiting != waiting:
        yield f"{name}: its books say that {tenant.waiting} of its tickets wait, the queue says otherwise"
    if tenant.used < 0:
        yield f"{name}: has used less than nothing"


def _money_violations(state: State, name: str, tenant: Tenant) -> Iterator[str]:
    active = [state.leases[lease_id] for lease_id in tenant.active if lease_id in state.leases]
    if len(active) < len(tenant.active) or any(
        lease.active_since_ms is None or lease.tenant != name for lease in active
    ):
        yield f"{name}: is billed for leases that are not active, or not its own"
    billed = sum(lease.billed_micro_per_hour for lease in active)
    if billed != tenant.billed_micro_per_hour:
        yield f"{name}: its books say that it is billed {tenant.billed_micro_per_hour} an hour, leases say {billed}"
    reserved = sum(one.milli for one in state.reservations.values() if one.tenant == name and one.runs)
    if reserved != tenant.reserved_milli:
        yield f"{name}: its books say that it has reserved {tenant.reserved_milli}, its reservations say {reserved}"
    covered = sum(lease.covered_milli for lease in active)
    if not 0 <= covered <= reserved:
        yield f"{name}: {covered} thousandths of devices are covered, and {reserved} reserved"
    if any(amount < 0 for amount in tenant.spent.values()):
        yield f"{name}: has spent less than nothing"


def _queue_violations(state: State) -> Iterator[str]:
    waiting = [one for one in state.leases.values() if one.state is LeaseState.WAITING and one.cluster_job is None]
    if {lease.id for lease in waiting} != set(state.queue):
        yield "the queue does not hold exactly the waiting leases"
        return
    arrivals = [state.leases[lease_id].arrival for lease_id in state.queue]
    if arrivals != sorted(set(arrivals)):
        yield "the queue is not in order of arrival"
