"""Mutations of the life of a lease: one grant at a time, one recorded process, and ends for stated reasons."""

from __future__ import annotations

from fastgpu_jupyter.core.lease import ending, lookup, migration, parking, startup
from fastgpu_jupyter.core.model import effects
from fastgpu_jupyter.core.model.entities import Lease, Requirements
from fastgpu_jupyter.core.placement import idleness, parkability
from fastgpu_jupyter.core.scheduling import claims
from fastgpu_jupyter.core.scheduling.claims import Claimant, PreemptibleLease
from fastgpu_jupyter.pool.devices.driver_thread import DriverThread
from fastgpu_jupyter.pool.devices.nvidia.cuda_checkpoint import _Move
from fastgpu_jupyter.pool.devices.nvidia.parking import LeaseParker
from fastgpu_jupyter.pool.effects import presence
from fastgpu_jupyter.pool.effects.executor import EffectExecutor
from fastgpu_jupyter.pool.effects.host_memory import HostMemoryReservations
from fastgpu_jupyter.pool.effects.runner import EffectRunner
from fastgpu_jupyter.pool.host import process, single_instance
from fastgpu_jupyter.pool.host.attribution import Attribution
from tests.core import test_pool
from tests.core.lease import test_migration
from tests.core.scheduling import test_preemption
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation, Violates
from tests.pool.devices.nvidia import test_cuda_checkpoint
from tests.pool.effects import test_executor, test_host_memory
from tests.pool.host import test_host
from tests.pool.loop import test_command_loop
from tests.pool.monitors import test_processes

MUTATIONS = (
    Mutation(
        "a process is known by its number",
        Guarantee.IDENTITY,
        (Edit(process.open_holder, "_1 == holder", "_1.pid == holder.pid"),),
        Violates("the lease of a dead holder has not ended", first=3),
    ),
    Mutation(
        "holders are not watched after a restart",
        Guarantee.LIFECYCLE,
        (Edit(effects.outstanding, "yield WatchHolder(...)", "None"),),
        Violates("the lease of a dead holder has not ended"),
    ),
    Mutation(
        "a drain is not taken up after a restart",
        Guarantee.LIFECYCLE,
        (
            Edit(
                effects.outstanding,
                "_of_device(lease)",
                "() if lease.state is LeaseState.DRAINING else _of_device(lease)",
            ),
        ),
        Violates("the lease of a dead holder has not ended|a lease stays in a transient state"),
    ),
    Mutation(
        "a preparation is not taken up after a restart",
        Guarantee.LIFECYCLE,
        (
            Edit(
                effects.outstanding,
                "_of_device(lease)",
                "() if lease.state is LeaseState.PREPARING else _of_device(lease)",
            ),
        ),
        Violates("a lease stays in a transient state", first=1),
    ),
    Mutation(
        "the death of an earlier holder ends the lease",
        Guarantee.IDENTITY,
        (Edit(ending.holder_ended, "lease is None or _1", "lease is None"),),
        Fails(test_pool.test_the_end_of_an_earlier_holder_is_nothing, "LeaseDraining"),
    ),
    Mutation(
        "a lease outlives the boot",
        Guarantee.LIFECYCLE,
        (Edit(startup.start_pool, "command.boot_id == state.boot_id", "True"),),
        Violates("the lease of a dead holder has not ended|billed for less than the time seen active"),
    ),
    Mutation(
        "a device is free before the memory of its lease is",
        Guarantee.DOUBLE_GRANT,
        (
            Edit(
                EffectExecutor._drain,
                "found.is_absent",
                "True",
            ),
        ),
        Violates("had memory on the device", first=1),
    ),
    Mutation(
        "a list of processes that was begun earlier shows who is on the device now",
        Guarantee.DOUBLE_GRANT,
        (Edit(presence._Listing.is_since, "_1 >= since_s", "True"),),
        Fails(test_executor.test_process_list_from_before_is_not_used, "4711"),
    ),
    Mutation(
        "a driver that does not answer is called all the same",
        Guarantee.LIFECYCLE,
        (Edit(DriverThread.call, "if ...: raise HostFault(_1)", "pass"),),
        Fails(test_executor.test_call_that_hangs_is_given_up_with_all_calls_behind_it, "it waits for the driver"),
    ),
    Mutation(
        "capacity is given back before the lease has drained",
        Guarantee.DOUBLE_GRANT,
        (
            Edit(
                ending.apply_draining,
                "parking.drop_image(state, lease)",
                "parking.drop_image(state, lease)\nallocation.free(state, lease, lease.logical_gpu, at)",
            ),
            Edit(ending.apply_ended, "if lease.logical_gpu is not None: ...", "pass"),
        ),
        Violates("its books say .* bytes to"),
    ),
    Mutation(
        "a report of an earlier grant is taken for one of this grant",
        Guarantee.IDENTITY,
        (Edit(lookup.find_granted, "return lease if _1 else None", "return lease"),),
        Fails(test_pool.test_a_report_about_an_earlier_grant_is_ignored, "LeasePrepared"),
    ),
    Mutation(
        "the lock of the pool manager is shared",
        Guarantee.DOUBLE_GRANT,
        (Edit(single_instance.acquire_lock, "fcntl.LOCK_EX", "fcntl.LOCK_SH"),),
        Fails(test_host.test_second_lock_is_refused_with_the_owner, "DID NOT RAISE Conflict", error="Failed"),
    ),
    Mutation(
        "a process counts for any lease that it names",
        Guarantee.IDENTITY,
        (Edit(Attribution._find, "_1 is not None and _1.uid == _2", "_1 is not None"),),
        Fails(test_processes.test_process_that_names_the_lease_of_another_user_is_foreign, "Extra items"),
    ),
    Mutation(
        "a lease that is to hold its device is parked for others",
        Guarantee.LIFECYCLE,
        (Edit(claims.preemptible_by_device, "_1 and lease.request.retention is Retention.YIELD and _2", "_1 and _2"),),
        Fails(test_preemption.test_lease_that_may_not_be_parked_is_not, "'parking'"),
    ),
    Mutation(
        "a lease is parked on a device that cannot park",
        Guarantee.LIFECYCLE,
        (Edit(parkability.park_refusal, "if not can_park(...): ...", "pass"),),
        Fails(
            test_preemption.test_lease_on_a_device_that_cannot_park_is_left_alone,
            "DID NOT RAISE Conflict",
            error="Failed",
        ),
    ),
    Mutation(
        "a kernel that does not report its work is taken for idle",
        Guarantee.LIFECYCLE,
        (Edit(idleness.is_resting, "lease.busy is False", "not lease.busy"),),
        Fails(test_preemption.test_lease_that_may_not_be_parked_is_not, "'parking'"),
    ),
    Mutation(
        "a lease without a cell keeps its device from its own tenant's waiting cell until it is idle",
        Guarantee.QUEUE_ORDER,
        (
            Edit(
                Claimant.right_to, "if preemptible.idle or _1: ...", "if preemptible.idle:\n    return ParkReason.IDLE"
            ),
        ),
        Fails(
            test_preemption.test_lease_without_a_cell_keeps_its_device_while_no_request_needs_it_now,
            "'a': 'active'} != {'a': 'parking'",
        ),
    ),
    Mutation(
        "a lease without a cell is parked at once for another tenant",
        Guarantee.LIFECYCLE,
        (Edit(PreemptibleLease.of, "_1 and now_ms >= idle_at_ms", "_1"),),
        Fails(test_preemption.test_lease_without_a_cell_yields_to_other_tenants_only_when_idle, "parking"),
    ),
    Mutation(
        "a device is free before its lease is parked",
        Guarantee.DOUBLE_GRANT,
        (
            Edit(
                parking.apply_parking,
                "lease.image = _1",
                "lease.image = _1\nallocation.free(state, lease, gpu, at)",
            ),
        ),
        Fails(
            test_preemption.test_idle_lease_is_parked_for_a_waiting_request_and_resumes_for_its_next_cell,
            "its books say .* bytes to",
        ),
    ),
    Mutation(
        "parked memory goes to another process",
        Guarantee.IDENTITY,
        (
            Edit(
                Lease.has_image,
                "self.image is not None and self.image.holder == self.holder and _1",
                "self.image is not None and _1",
            ),
        ),
        Fails(test_preemption.test_kernel_that_restarts_while_parked_gets_a_device_without_its_image, "resuming"),
    ),
    Mutation(
        "a lease is parked though it has memory on the device",
        Guarantee.DOUBLE_GRANT,
        (Edit(EffectExecutor._require_gone, "if left.is_absent: ...", "return"),),
        Fails(test_command_loop.test_parking_that_leaves_memory_on_the_device_is_undone, "PARKED.* is .*ACTIVE"),
    ),
    Mutation(
        "a process that a driver lists for a moment after it was parked counts as still there",
        Guarantee.LIFECYCLE,
        (Edit(EffectExecutor._require_gone, "ends_s = clock() + GONE_S", "ends_s = clock()"),),
        Fails(
            test_command_loop.test_parking_waits_until_the_device_lists_no_process_of_the_lease,
            "a is one of .*PARKED.*it is active",
        ),
    ),
    Mutation(
        "a lease for whose memory there is no room ends",
        Guarantee.LIFECYCLE,
        (
            Edit(
                EffectExecutor.execute, "c.ResumePostponed(...)", "c.ResumeFailed(lease_id, generation, error.message)"
            ),
        ),
        Fails(
            test_command_loop.test_lease_without_enough_free_memory_waits_in_the_queue_until_there_is,
            "it was tried several times, and the lease did not end",
        ),
    ),
    Mutation(
        "a lease that was released is resumed",
        Guarantee.DOUBLE_GRANT,
        (Edit(EffectRunner._resume_again, "lease is None or _1", "lease is not None and _1"),),
        Fails(
            test_command_loop.test_lease_that_is_released_while_its_resume_is_postponed_is_not_resumed,
            "its memory was not moved to the device of another lease",
        ),
    ),
    Mutation(
        "parking that failed once is never tried again",
        Guarantee.LIFECYCLE,
        (Edit(parkability.is_resting_after_failure, "_1 and now_ms < _2", "_1"),),
        Fails(
            test_preemption.test_failed_parking_changes_nothing_and_is_tried_again_after_growing_pauses,
            "it is tried again",
        ),
    ),
    Mutation(
        "host memory of leases that are being parked is not counted",
        Guarantee.ENFORCEMENT,
        (Edit(HostMemoryReservations.reserve, "others_bytes += _1", "pass"),),
        Fails(
            test_host_memory.test_reserve_counts_leases_that_are_being_parked_and_those_that_are,
            "DID NOT RAISE HostFault",
            error="Failed",
        ),
    ),
    Mutation(
        "processes of a lease whose checkpoint hangs stay locked",
        Guarantee.LIFECYCLE,
        (Edit(_Move.let_run, "faults.pop(pid, None)\nattempt(...)", "faults.pop(pid, None)"),),
        Fails(
            test_cuda_checkpoint.test_park_with_a_checkpoint_that_hangs_kills_its_worker_and_restores_the_others,
            "all go on, and the lease is as it was",
        ),
    ),
    Mutation(
        "parked memory is restored where too little memory is free",
        Guarantee.LIFECYCLE,
        (Edit(LeaseParker._require_free, "if None not in free and _1: ...", "pass"),),
        Fails(
            test_cuda_checkpoint.test_lease_parker_resumes_only_where_enough_memory_is_free,
            "DID NOT RAISE NotNow",
            error="Failed",
        ),
    ),
    Mutation(
        "a lease is moved without being asked to",
        Guarantee.LIFECYCLE,
        (Edit(migration.rebound, "_1 and _2 and _3", "_2 and _3"),),
        Fails(test_migration.test_a_partition_is_offered_another_and_nothing_happens_that_is_not_asked_for, "PARKING"),
    ),
    Mutation(
        "a signal reaches a process that has the number of an earlier one",
        Guarantee.IDENTITY,
        (Edit(process.open_holder, "_1 == holder", "True"),),
        Fails(test_processes.test_signal_process_does_not_reach_a_reused_pid),
    ),
    Mutation(
        "parked memory resumes on a device of another kind",
        Guarantee.DOUBLE_GRANT,
        (Edit(Requirements.on_kind, "return _1", "return self"),),
        Fails(test_preemption.test_parked_memory_resumes_only_on_a_device_of_its_kind),
    ),
)
