"""Mutations of scrubbing, hidden processes, device access, partitions and MPS daemons."""

from __future__ import annotations

from fastgpu_jupyter.core.lease import ending, invariants, unaccounted_memory
from fastgpu_jupyter.core.model.entities import Device
from fastgpu_jupyter.core.placement import inventory, mig_partitions
from fastgpu_jupyter.pool.devices.mechanisms.mig import MigMechanism
from fastgpu_jupyter.pool.devices.nvidia import scrub_worker
from fastgpu_jupyter.pool.devices.nvidia.mps.mechanism import MpsMechanism
from fastgpu_jupyter.pool.effects import presence
from fastgpu_jupyter.pool.effects.device_access import DeviceAccessController
from fastgpu_jupyter.pool.effects.executor import EffectExecutor
from fastgpu_jupyter.pool.effects.presence import PresenceFinder
from fastgpu_jupyter.pool.effects.runner import EffectRunner
from fastgpu_jupyter.pool.effects.scrubber import Scrubber
from fastgpu_jupyter.pool.loop import recovery
from fastgpu_jupyter.pool.monitors.inventory import Inventory
from fastgpu_jupyter.pool.monitors.processes import ProcessMonitor
from tests.core.lease import test_device_health, test_unaccounted_memory
from tests.core.placement import test_mig_partitions, test_placer
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation, Violates
from tests.pool.devices.nvidia import test_mig_pool, test_mps
from tests.pool.effects import test_device_access_states, test_executor, test_scrubber
from tests.pool.loop import test_command_loop
from tests.pool.monitors import test_processes

SCRUB, PARTITION, ENFORCEMENT = Guarantee.SCRUB, Guarantee.PARTITION, Guarantee.ENFORCEMENT
VISIBILITY = Guarantee.VISIBILITY

MUTATIONS = (
    Mutation(
        "memory is reported as overwritten and is not",
        SCRUB,
        (Edit(scrub_worker.overwrite, 'cuda("cuMemsetD8_v2", _1, _2, _3)', "None"),),
        Fails(test_scrubber.test_memory_of_a_lease_is_readable_unless_overwritten, "look_for_it"),
        in_processes=True,
    ),
    Mutation(
        "a device is granted before its memory is overwritten",
        SCRUB,
        (Edit(Scrubber.scrub, "self._scrubbing.update(...)", "pass"),),
        Fails(test_scrubber.test_lease_granted_during_a_scrub_waits_for_it),
        in_processes=True,
    ),
    Mutation(
        "the scrub worker is reported as a process without a lease",
        SCRUB,
        (Edit(ProcessMonitor._find_foreign, "_1 not in self._own_pids", "True"),),
        Fails(test_processes.test_process_that_scrubs_is_not_reported_as_one_without_a_lease, "Differing items"),
    ),
    Mutation(
        "what was made for a lease passes to the next",
        PARTITION,
        (Edit(EffectExecutor._drain, "await self._release(...)", "None"),),
        Fails(test_processes.test_driver_limit_follows_the_lease),
    ),
    Mutation(
        "a lease is active before its device files are open",
        ENFORCEMENT,
        (Edit(EffectExecutor._prepare, "await self._device_access.open_devices(...)", "None"),),
        Fails(test_executor.test_executor_opens_device_files_before_ready_and_waits_before_limit),
    ),
    Mutation(
        "a kernel may open a device that is not prepared for it yet",
        ENFORCEMENT,
        (Edit(DeviceAccessController._update, "was_open if begins else _1", "_1"),),
        Fails(test_device_access_states.test_kernel_may_open_the_devices_of_its_lease_while_it_holds_them),
    ),
    Mutation(
        "the driver does not learn at the start what leases hold",
        PARTITION,
        (Edit(recovery.recover, "inventory.adopt(...)", "None"),),
        Fails(test_mig_pool.test_pool_killed_before_journalling_a_partition_adopts_it),
        in_processes=True,
    ),
    Mutation(
        "a partition that the pool did not make is destroyed with its lease",
        PARTITION,
        (Edit(MigMechanism.release, "if ...: self._destroy(_1)", "self._destroy(_1)"),),
        Fails(test_mig_pool.test_partition_of_an_administrator_is_leased_as_it_is_and_stays),
        in_processes=True,
    ),
    Mutation(
        "a partition is made where another lease has one",
        PARTITION,
        (Edit(mig_partitions.place_partition, "held | _1", "_1"),),
        Fails(test_mig_partitions.test_mixture_of_sizes_fills_a_device_and_one_more_waits),
    ),
    Mutation(
        "an existing partition is leased twice",
        PARTITION,
        (Edit(mig_partitions.place_partition, "_1.usable and _2 and not _3 & _4", "_1.usable and _2"),),
        Fails(test_mig_partitions.test_existing_partition_is_leased_as_it_is),
    ),
    Mutation(
        "a lease that holds another partition than its own is not noticed",
        PARTITION,
        (Edit(invariants._device_violations, "yield from _partition_violations(...)", "None"),),
        Fails(test_mig_partitions.test_invariants_find_leases_with_overlapping_partitions),
    ),
    Mutation(
        "a lease goes on although its GPU was divided",
        PARTITION,
        (Edit(inventory._is_switched, "_1 != _2", "False"),),
        Fails(test_mig_partitions.test_mig_mode_switched_under_leases_ends_them),
    ),
    Mutation(
        "a partition stays after the end of its lease",
        PARTITION,
        (Edit(MigMechanism.release, "self._destroy(gpu)", "pass"),),
        Violates("a partition is left without a lease"),
    ),
    Mutation(
        "the remains of a failed preparation stay",
        PARTITION,
        (Edit(EffectRunner._undo_preparation, "gpu.partition is not None", "False"),),
        Fails(test_command_loop.test_failed_preparation_is_undone_before_the_retry),
    ),
    Mutation(
        "the partition in the place of a lost one is destroyed for it",
        PARTITION,
        (
            Edit(
                MigMechanism._destroy,
                "if mine: ...",
                "self._devices.destroy(gpu.device_id, there.profile, there.start)",
            ),
        ),
        Fails(test_mig_pool.test_partition_created_again_by_others_is_not_the_leases),
        in_processes=True,
    ),
    Mutation(
        "the loss of a partition is not noticed",
        PARTITION,
        (Edit(Inventory.refresh, "why is not None", "False"),),
        Violates("the partition of an active lease does not exist", first=1),
    ),
    Mutation(
        "a partition is leased in the place of a lost one",
        PARTITION,
        (Edit(mig_partitions.place_partition, "not _1 & _2", "(one.profile, one.start) not in held"),),
        Fails(test_placer.test_partition_reported_lost_is_not_leased_until_reconciled),
    ),
    Mutation(
        "a partition stays after its lease has migrated",
        PARTITION,
        (
            Edit(
                EffectExecutor.execute,
                "c.ParkSucceeded(lease_id, generation, 0, _1)",
                "c.ParkSucceeded(lease_id, generation, 0)",
            ),
        ),
        Fails(test_mig_pool.test_lease_on_an_unhealthy_gpu_migrates_with_the_kernels_restart),
        in_processes=True,
    ),
    Mutation(
        "an MPS daemon ends with the first of its leases",
        ENFORCEMENT,
        (Edit(MpsMechanism.release, "_1 and not _2.generations", "_1"),),
        Fails(test_mps.test_daemon_serves_a_users_leases_until_the_last),
    ),
    Mutation(
        "an MPS daemon is started again after a crash",
        ENFORCEMENT,
        (Edit(MpsMechanism.prepare, "self._find_running(gpu) or _1", "_1"),),
        Fails(test_mps.test_daemon_is_adopted_after_a_restart),
    ),
    Mutation(
        "an MPS daemon of a killed pool manager is not ended",
        ENFORCEMENT,
        (Edit(MpsMechanism.end_unused, "self._folders()", "[]"),),
        Fails(test_mps.test_daemon_without_a_lease_is_ended),
    ),
    Mutation(
        "a lease goes on after its MPS daemon has ended",
        ENFORCEMENT,
        (Edit(MpsMechanism.loss_reason, "return None if _1 else LOST", "return None"),),
        Fails(test_mps.test_killed_daemon_loses_its_leases_and_is_replaced),
    ),
    Mutation(
        "the memory of a parked lease is not overwritten",
        SCRUB,
        (
            Edit(
                EffectExecutor.execute,
                "c.ParkSucceeded(_1, _2, await self._park(effect), _3)",
                "c.ParkSucceeded(_1, _2, await self._park(effect))",
            ),
        ),
        Fails(
            test_command_loop.test_memory_of_a_parked_lease_is_scrubbed_before_the_next_grant, "PARKED.* is .*PARKING"
        ),
    ),
    Mutation(
        "a partition is destroyed before its memory is overwritten",
        SCRUB,
        (Edit(EffectExecutor._drain, "if _1 and effect.logical_gpu.partition is not None: ...", "pass"),),
        Fails(test_executor.test_executor_scrubs_a_partition_before_and_a_device_after_the_release, "At index 0 diff"),
    ),
    Mutation(
        "a device is overwritten although other leases are on it",
        SCRUB,
        (Edit(Scrubber.scrub, "if ...: return ScrubResult(detail=OTHERS)", "pass"),),
        Fails(test_scrubber.test_device_with_other_leases_is_not_scrubbed_and_reported),
        in_processes=True,
    ),
    Mutation(
        "a device whose memory could not be overwritten is granted",
        SCRUB,
        (Edit(Device.grantable, "self.scrub_pending is None and _1", "_1"),),
        Fails(test_device_health.test_device_with_pending_scrub_is_not_granted),
    ),
    Mutation(
        "a device with memory in use that no visible process has is granted",
        VISIBILITY,
        (Edit(Device.grantable, "_1 and self.unaccounted is None", "_1"),),
        Fails(test_unaccounted_memory.test_unused_device_with_memory_in_use_is_granted_up_to_what_a_display_takes),
    ),
    Mutation(
        "a lease that ended without a list of its processes gives its device to the next",
        VISIBILITY,
        (Edit(ending.drain_succeeded, "unaccounted_memory.left_by(...)", "[]"),),
        Fails(test_unaccounted_memory.test_lease_that_ends_unknown_gives_its_device_to_no_lease_until_the_baseline),
    ),
    Mutation(
        "a process that cannot be seen is taken for one that has ended",
        VISIBILITY,
        (Edit(presence._own, "hidden.add(pid)", "pass"),),
        Violates("had memory on the device", first=43),
    ),
    Mutation(
        "a lease of which nothing is known is recorded as gone",
        VISIBILITY,
        (Edit(EffectExecutor._unknown, "ScrubResult(ScrubOutcome.UNKNOWN, detail=_1)", "GONE"),),
        Violates("had memory on the device", first=30),
    ),
    Mutation(
        "a driver that lists no processes is taken for an empty device",
        VISIBILITY,
        (Edit(PresenceFinder._why_unknown, "next(_1, _2)", "None"),),
        Violates("had memory on the device", first=19),
    ),
    Mutation(
        "a measurement from before the end of a lease puts its device back",
        VISIBILITY,
        (Edit(unaccounted_memory.report, "_was_left(device) and _1", "False"),),
        Fails(test_unaccounted_memory.test_measurement_from_before_the_end_of_a_lease_does_not_put_its_device_back),
    ),
    Mutation(
        "what other leases may use explains what an ended one left",
        VISIBILITY,
        (Edit(unaccounted_memory.assess, "device.lease_ids and not _1", "device.lease_ids"),),
        Fails(test_unaccounted_memory.test_what_another_lease_may_use_does_not_explain_what_an_ended_one_left),
    ),
)
