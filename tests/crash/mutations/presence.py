"""Mutations of which devices a pool has: those that are missing, and those that are not left to it."""

from __future__ import annotations

from fastgpu_jupyter.core.accounting.ledger import Ledger
from fastgpu_jupyter.core.lease import presence
from fastgpu_jupyter.core.model.entities import Device
from fastgpu_jupyter.jobs import lease_environment
from fastgpu_jupyter.pool import carry_over
from fastgpu_jupyter.pool.devices.driver_thread import DriverThread
from fastgpu_jupyter.pool.devices.nvidia.driver import NvidiaDriver
from fastgpu_jupyter.pool.devices.nvidia.health import NvmlHealthWatcher
from fastgpu_jupyter.pool.effects.presence import PresenceFinder
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from fastgpu_jupyter.pool.shutdown import ShutdownMonitor
from fastgpu_jupyter.wire import host_identity, locate
from tests.core.lease import test_presence
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation, Violates
from tests.pool import test_carry_over
from tests.pool.devices import test_driver_thread
from tests.pool.devices.nvidia import test_nvml_health, test_visibility
from tests.pool.effects import test_executor
from tests.pool.monitors import test_health
from tests.server import test_provisioner
from tests.wire import test_locate

BILLING, LIFECYCLE = Guarantee.BILLING, Guarantee.LIFECYCLE

MUTATIONS = (
    Mutation(
        "a host that is renamed has another pool",
        Guarantee.DOUBLE_GRANT,
        (Edit(host_identity.running_system, "'' if _1 else socket.gethostname()", "socket.gethostname()"),),
        Fails(test_locate.test_names_stay_when_the_host_name_changes),
    ),
    Mutation(
        "a server changes to the system's pool while it has leases of its own one",
        Guarantee.DOUBLE_GRANT,
        (Edit(locate.pool_socket, "_chosen_socket(_1, _2)", "_1 if _1.exists() else _2"),),
        Fails(test_locate.test_process_keeps_the_socket_that_it_began_with),
    ),
    Mutation(
        "a pool manager that is started on demand does not have the settings of a killed one",
        LIFECYCLE,
        (Edit(carry_over.has_live_holders, "pidfd is not None", "False"),),
        Fails(test_carry_over.test_settings_of_a_killed_pool_hold_until_its_leases_have_ended),
        in_processes=True,
    ),
    Mutation(
        "the settings of a killed pool manager hold although its leases have ended",
        LIFECYCLE,
        (Edit(ShutdownMonitor.check, "self._for_leases and _1", "False"),),
        Fails(test_carry_over.test_settings_of_a_killed_pool_hold_until_its_leases_have_ended, "last lease"),
        in_processes=True,
    ),
    Mutation(
        "a driver that an administrator has released is used",
        Guarantee.AVAILABILITY,
        (Edit(DriverThread.release, "self._unresponsive_message = RELEASED", "pass"),),
        Fails(
            test_driver_thread.test_released_driver_is_closed_once_and_refuses_calls_until_it_is_used_again,
            "DID NOT",
            error="Failed",
        ),
    ),
    Mutation(
        "a pool serves GPUs that its environment does not leave to it",
        Guarantee.DOUBLE_GRANT,
        (Edit(NvidiaDriver._select, "self._visible.restricts", "False"),),
        Fails(test_visibility.test_pool_serves_only_the_gpus_of_its_environment_and_setting),
        in_processes=True,
    ),
    Mutation(
        "the variables of a kernelspec go before those of the lease",
        Guarantee.ENFORCEMENT,
        (Edit(lease_environment.with_grant, "{**own, **granted}", "{**granted, **own}"),),
        Fails(test_provisioner.test_launch_puts_the_lease_before_the_variables_of_the_kernelspec),
    ),
    Mutation(
        "a device that is missing for a moment ends its leases",
        LIFECYCLE,
        (Edit(presence.set_devices, "not device.lease_ids or _is_due(_1, _2)", "True"),),
        Violates("the end reason is not true"),
    ),
    Mutation(
        "a device is given up although its driver did not answer meanwhile",
        LIFECYCLE,
        (Edit(presence.apply_missing, "Missing(_1, since, at.ms)", "Missing(_1, since, since.ms)"),),
        Fails(test_presence.test_minute_counts_only_while_the_driver_answers),
    ),
    Mutation(
        "a device is given up although no pool manager asked for it",
        LIFECYCLE,
        (Edit(presence.restart_countdown, "device.missing is not None", "False"),),
        Fails(test_presence.test_minute_begins_again_with_another_pool_manager),
    ),
    Mutation(
        "a device that the driver does not find is taken for lost at once",
        LIFECYCLE,
        (Edit(NvmlHealthWatcher.check, "error.value == _1", "True"),),
        Fails(test_nvml_health.test_check_of_a_gpu_reports_it_lost_only_where_the_driver_says_so),
    ),
    Mutation(
        "a driver that does not answer at the start is not noticed",
        Guarantee.DOUBLE_GRANT,
        (Edit(DriverAtStartup.observe, "[c.ReportNoAnswer()]", "[]"),),
        Fails(test_executor.test_start_with_an_unresponsive_driver_keeps_leases),
    ),
    Mutation(
        "a missing device is granted",
        Guarantee.DOUBLE_GRANT,
        (Edit(Device.grantable, "self.present and self.missing is None and _1", "self.present and _1"),),
        Fails(test_presence.test_nothing_is_granted_on_a_missing_device),
    ),
    Mutation(
        "a lease is billed while its device is missing",
        BILLING,
        (Edit(presence.apply_missing, "meter.close_segment(...)", "None"),),
        Violates("an invariant is broken"),
    ),
    Mutation(
        "a statement bills the time in which a device was missing",
        BILLING,
        (Edit(Ledger._read_device, "yield from self._stop(lease, at)", "pass"),),
        Fails(test_presence.test_lease_on_a_missing_device_keeps_its_place_unbilled),
    ),
    Mutation(
        "a lease on a missing device ends although its memory may still be there",
        Guarantee.SCRUB,
        (Edit(PresenceFinder.find, "self._may_come_back(device_id)", "False"),),
        Fails(test_health.test_lease_of_two_devices_drains_on_the_remaining_one),
    ),
)
