"""Checks of what a simulated pool manager shows: nothing that was durable is undone, billed twice or ended falsely."""

from __future__ import annotations

from fastgpu_jupyter.core.accounting import meter
from fastgpu_jupyter.core.lease import presence
from fastgpu_jupyter.core.lease.invariants import violations
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    IdleStep,
    Instant,
    Lease,
    ScrubOutcome,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from tests.sim.state import ObservedLease, SimulationState, require

#: How much of a lease a reboot may leave unbilled: one tick, and the time until it is written.
UNBILLED_MS_MAX = 60_000 + 10_000
#: How long a request may wait while capacity is free.
UNGRANTED_MS_MAX = 15_000
#: How long it may take to notice that the disk is writable again.
DEGRADED_S_MAX = 10.0


class Checks(SimulationState):
    """The checks of the state of the pool manager against the truth of the host."""

    def observe(self, state: State) -> None:
        """Check that a state that was read is sound, and that nothing that was read before is undone."""
        now_ms = self.host.true_ms
        broken = list(violations(state))
        require(not broken, "an invariant is broken:", broken)
        pool_ms = max(self.host.boot_ms() - state.clock_epoch_ms, state.last.ms)
        before = {name for name, lease_seen in self.observed.items() if lease_seen.ended_unknown}
        for lease in state.leases.values():
            lease_seen = self.observed.get(lease.id)
            if lease_seen is None:
                lease_seen = self.observed[lease.id] = ObservedLease(requested_ms=now_ms, boot=self.host.boots)
            require(lease.version >= lease_seen.version, "a state that was read is undone:", lease)
            generation = lease.logical_gpu.generation if lease.logical_gpu else None
            if generation is not None:
                require(
                    lease_seen.generation is None or lease_seen.generation <= generation,
                    "the generation went back:",
                    lease,
                )
                if lease_seen.generation != generation or lease_seen.park_retry_ms != lease.park_retry_ms:
                    lease_seen.first_active_ms = lease_seen.last_active_ms = (
                        None  # it may not have been active all the time
                    )
                if lease_seen.generation is None and lease.park_reason is None:
                    lease_seen.first_generation = generation
                lease_seen.generation = generation
            lease_seen.version, lease_seen.park_retry_ms = lease.version, lease.park_retry_ms
            if lease.logical_gpu is not None:
                lease_seen.granted_on.update(lease.logical_gpu.device_ids)
            if lease.state in (LeaseState.DRAINING, LeaseState.ENDED) and lease_seen.state is not LeaseState.ENDED:
                self._check_end(lease, lease_seen)
            if lease.state is LeaseState.ENDED and lease_seen.state is not LeaseState.ENDED:
                left = [child.pid for child in self.children if child.alive and child.lease_id == lease.id]
                known = lease.scrub is not ScrubOutcome.UNKNOWN
                hidden = {one.pid for one in self.children if one.hidden and not (known and one.device_ids)}
                left = [pid for pid in left if pid not in hidden]
                require(not left, f"{lease.id} ended while its processes {left} had memory on the device")
                lease_seen.ended_unknown = not known
            if generation is not None and generation not in self.generations_seen:
                self._check_grant(lease, before)
            lease_seen.state = lease.state
            self._check_bill(state, lease, lease_seen, pool_ms)

    def _check_grant(self, lease: Lease, ended_unknown: set[str]) -> None:
        """Check that no device was granted on which a lease that ended before still has memory."""
        gpu = lease.logical_gpu
        assert gpu is not None
        self.generations_seen.add(gpu.generation)
        left = [
            child.pid
            for child in self.children
            if child.alive and child.lease_id in ended_unknown and set(child.device_ids) & set(gpu.device_ids)
        ]
        require(not left, f"{lease.id} was granted a device on which processes {left} of an ended lease have memory")

    def _check_partitions(self, state: State) -> None:
        """Check that each partition of the pool has a lease, and each active lease the partition that it names."""
        promised_partitions = self.promised_partitions()
        for made in (one for device in self.host.partitions.there.values() for one in device if one.by_pool):
            require(made.place in promised_partitions, "a partition is left without a lease:", made)
        for lease in state.leases.values():
            gpu = lease.logical_gpu
            if lease.state is LeaseState.ACTIVE and gpu is not None and gpu.partition is not None:
                one = self.host.partitions.find((gpu.device_id, gpu.partition.profile, gpu.partition.start))
                require(
                    one is not None and one.uuid == gpu.driver_handle,
                    "the partition of an active lease does not exist:",
                    (lease, one),
                )

    def _check_end(self, lease: Lease, lease_seen: ObservedLease) -> None:
        """Check that the reason of an end is true."""
        reason = lease.end_reason
        allowed = {
            EndReason.RELEASED: lease_seen.release_sent,
            EndReason.CANCELLED: lease_seen.release_sent,
            EndReason.HOLDER_DIED: not self.host.is_alive(lease.holder),
            EndReason.DEVICE_LOST: any(map(self.host.may_be_lost, lease_seen.granted_on)),
            EndReason.PREPARE_FAILED: lease_seen.generation in self.host.refused,
            EndReason.RESUME_FAILED: lease_seen.generation in self.host.refused,
            EndReason.IDLE: lease.busy is False and lease.idle_step in (IdleStep.RELEASE, IdleStep.SHUT_DOWN),
            EndReason.EXPIRED: lease.request.wait_ms_max is not None
            and self.host.true_ms - lease_seen.requested_ms >= lease.request.wait_ms_max - 5000,
        }
        require(reason is not None and allowed[reason], "the end reason is not true:", lease)

    def _check_bill(self, state: State, lease: Lease, lease_seen: ObservedLease, pool_ms: int) -> None:
        """Check that the billed time lies between the time seen active and the time that capacity was held."""
        now_ms, billed_ms = self.host.true_ms, meter.active_ms(lease, pool_ms)
        if presence.missing_device(state, lease) is not None:
            require(lease.active_since_ms is None, "a lease on a missing device is billed:", lease)
            lease_seen.first_active_ms = lease_seen.last_active_ms = None  # it was not billed all the time
        elif lease.state is LeaseState.ACTIVE:
            lease_seen.first_active_ms = now_ms if lease_seen.first_active_ms is None else lease_seen.first_active_ms
            lease_seen.last_active_ms = now_ms
        elif lease.state in (LeaseState.DRAINING, LeaseState.ENDED) and lease_seen.ended_ms is None:
            lease_seen.ended_ms = now_ms
        if lease_seen.first_active_ms is not None and lease_seen.last_active_ms is not None:
            seen_ms = lease_seen.last_active_ms - lease_seen.first_active_ms
            slack_ms = 2 if self.host.boots == lease_seen.boot else UNBILLED_MS_MAX
            require(
                billed_ms >= seen_ms - slack_ms,
                "billed for less than the time seen active (ms seen, ms billed):",
                (seen_ms, billed_ms, lease),
            )
        if lease_seen.first_generation is not None:
            began_ms = self.host.prepared_ms.get(lease_seen.first_generation)
            most_ms = 0 if began_ms is None else max(0, (lease_seen.ended_ms or now_ms) - began_ms)
            require(
                billed_ms <= most_ms + 2,
                "billed for more than the time held (ms billed, ms held):",
                (billed_ms, most_ms, lease),
            )

    def check(self) -> None:
        """Check the state after a step, unless a write is in progress."""
        services = self.services
        if services is None:
            self.degraded_since_s = None
        if services is None or services.store.commit_lock.locked():
            return
        faults, now_s = self.host.faults, self.host.time.now_s
        stuck = services.faults.message is not None and not (self.has_bug or faults.disk_full or faults.late)
        self.degraded_since_s = (self.degraded_since_s or now_s) if stuck else None
        if self.degraded_since_s is not None:
            require(
                now_s - self.degraded_since_s <= DEGRADED_S_MAX,
                "granting stays stopped though the disk is writable:",
                services.faults.message,
            )
        state = services.store.state
        self.observe(state)
        require(
            not self.host.partitions.foreign_destroyed,
            "the pool destroyed partitions of others:",
            self.host.partitions.foreign_destroyed,
        )
        if services.faults.message is None and not self.has_bug and not services.commands._calls.qsize():
            at = Instant(max(state.last.ms, services.store.now().ms), 0)
            grants = services.store.pool.advance(at)
            self.grantable_since_ms = (self.grantable_since_ms or self.host.true_ms) if grants else None
            # Once the disk is writable again, waiting requests are granted within a tick.
            waited_ms = self.host.true_ms - (self.grantable_since_ms or self.host.true_ms)
            require(waited_ms <= UNGRANTED_MS_MAX, "a request waits though capacity is free:", grants)
        else:
            self.grantable_since_ms = None
        for call in self.calls:
            if call.answer is not None:
                lease_seen = self.observed[call.answer]
                there = call.answer in state.leases or lease_seen.state is LeaseState.ENDED
                require(there, "an acknowledged lease is missing:", call.answer)
        for name, lease_seen in self.observed.items():
            if lease_seen.release_answered:
                require(
                    lease_seen.state in (LeaseState.DRAINING, LeaseState.ENDED),
                    "an acknowledged release is missing:",
                    (name, lease_seen),
                )
