"""What every driver guarantees, for GPUs of any vendor.

A driver is held to it by a class that inherits :class:`DriverConformance` and has a fixture ``bench``: the driver, and
what a test can do to the hardware behind it. A bench that cannot do something raises :class:`Cannot`, and the test says
that it was skipped for that. Nothing here knows NVIDIA, UUIDs or sizes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

import pytest

from fastgpu_jupyter.core.model.entities import (
    Device,
    DeviceSpec,
    Enforcement,
    Health,
    Isolation,
    LogicalGPU,
    Mechanism,
    Requirements,
)
from fastgpu_jupyter.core.model.size import parse_size
from fastgpu_jupyter.core.placement import logical_gpus, mechanisms
from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.devices.driver import DeviceGone, Driver, ListedProcesses
from fastgpu_jupyter.units import GIB

#: Who keeps a limit, the strictest first.
STRICTNESS = (
    Enforcement.HARDWARE, Enforcement.DRIVER, Enforcement.USERSPACE, Enforcement.COOPERATIVE, Enforcement.NONE,
)  # fmt: skip


class Cannot(Exception):
    """The bench has no way to do that."""


class Bench(Protocol):
    """Devices, real or simulated."""

    def driver(self) -> Driver:
        """A driver as a pool manager that starts now would have it."""

    def occupy(self, device_id: str, memory_bytes: int) -> int:
        """Have a process take memory of a device; its number."""

    def leave(self, pid: int) -> None:
        """Have it give that back."""

    def lose(self, device_id: str) -> None:
        """The device answers nothing any more, but is still counted."""

    def mend(self, device_id: str) -> None:
        """The device answers again."""

    def remove(self, device_id: str) -> None:
        """The device is gone."""

    def confuse(self, device_id: str) -> None:
        """What the device says of itself cannot be true."""

    def divide(self, device_id: str) -> None:
        """Put the device, as another program, into a mode in which it cannot be leased as before."""

    def own_group(self) -> int:
        """A process that is alone in its control group, or whatever else a limit of the driver needs."""

    def limit_bytes(self, device_id: str) -> int | None:
        """The limit that the driver keeps there now, or ``None``."""


class Nothing:
    """A bench that can do nothing to its hardware."""

    def _cannot(self, *_: object) -> int:
        raise Cannot

    occupy = leave = lose = mend = remove = confuse = divide = own_group = limit_bytes = _cannot


def reserve_nothing(memory_bytes: int) -> None:
    """Let a lease take as much host memory as it needs; in a function that is found in another process, too."""


def allocate(
    spec: DeviceSpec, size: str, *more: DeviceSpec, isolation: Isolation = Isolation.NONE, generation: int = 1
) -> LogicalGPU:
    """What the pool would grant of a device that is free."""
    requirements = Requirements(parse_size(size), isolation)
    return logical_gpus.make_logical_gpu(requirements, tuple(Device(one) for one in (spec, *more)), generation)


@contextmanager
def where_it_can() -> Iterator[None]:
    """Skip, saying so, what the bench cannot do."""
    try:
        yield
    except Cannot:
        pytest.skip("there is no way to do that to this hardware")


class DriverConformance:
    """Inherit, and give a fixture ``bench``."""

    @pytest.fixture
    def driver(self, bench: Bench) -> Iterator[Driver]:
        driver = bench.driver()
        yield driver
        driver.close()

    @pytest.fixture
    def specs(self, driver: Driver) -> list[DeviceSpec]:
        specs, _ = driver.inventory()
        assert specs, "the bench of a conformance test has devices"
        return specs

    # -- what there is ------------------------------------------------------------------------------------------------

    def test_inventory_names_each_device_once_with_its_size(self, specs: list[DeviceSpec]) -> None:
        assert len({spec.id for spec in specs}) == len(specs)
        for spec in specs:
            assert 0 < len(spec.id) <= 128
            assert spec.id.isprintable()
            assert spec.model
            assert spec.memory_bytes > 0
            assert spec.rate_micro_per_hour >= 0

    def test_inventory_is_the_same_again_and_for_the_next_pool_manager(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        assert driver.inventory()[0] == specs
        other = bench.driver()
        assert other.inventory()[0] == specs
        other.close()

    def test_inventory_offers_only_what_can_be_leased(self, specs: list[DeviceSpec]) -> None:
        for spec in specs:
            capabilities = mechanisms.capabilities_of(spec)
            assert capabilities
            if spec.capabilities:
                assert tuple(capability.mechanism for capability in spec.capabilities) == spec.mechanisms
            assert len({capability.mechanism for capability in capabilities}) == len(capabilities)
            whole = allocate(spec, "full")
            assert 0 < whole.memory_bytes <= spec.memory_bytes
            assert whole.whole or whole.partition is not None
            assert whole.partition is not None or whole.memory_bytes == spec.memory_bytes
            for capability in capabilities:
                simulated = capability.mechanism is Mechanism.SIMULATED
                assert (capability.enforcement is Enforcement.NONE) == simulated == spec.simulated

    def test_health_of_a_listed_device_is_healthy(self, driver: Driver, specs: list[DeviceSpec]) -> None:
        for spec in specs:
            assert driver.health(spec.id) == (Health.HEALTHY, None)

    # -- logical GPUs -------------------------------------------------------------------------------------------------

    def logical_gpus(self, specs: list[DeviceSpec]) -> list[LogicalGPU]:
        """One of each kind that can be had."""
        shared = [spec for spec in specs if mechanisms.is_shareable(spec)]
        together = [spec for spec in specs if not spec.profiles]
        return [
            *(allocate(spec, "full") for spec in specs),
            *(allocate(spec, "half") for spec in shared),
            *(allocate(spec, profile.name) for spec in specs for profile in spec.profiles),
            *([allocate(together[0], "2xfull", together[1])] if len(together) > 1 else []),
        ]

    def test_prepare_limit_and_release_are_safe_to_repeat(self, driver: Driver, specs: list[DeviceSpec]) -> None:
        for gpu in self.logical_gpus(specs):
            driver.release(gpu)  # never prepared
            made = driver.prepare(gpu)
            ready = replace(gpu, driver_handle=made)
            assert driver.prepare(ready) == made
            driver.release(ready)
            driver.release(ready)
            driver.release(replace(gpu, driver_handle=driver.prepare(gpu)))

    def test_env_and_device_nodes_answer_from_memory(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        gpus = self.logical_gpus(specs)
        before = [(dict(driver.env(gpu)), list(driver.device_nodes(gpu))) for gpu in gpus]
        for environment, nodes in before:
            assert environment
            assert all(isinstance(part, str) for pair in environment.items() for part in pair)
            assert all("=" not in name for name in environment)
            assert all(node.startswith("/dev/") for node in nodes)
        with where_it_can():
            for spec in specs:
                bench.lose(spec.id)
        heard: list[object] = []

        def ask() -> None:  # the event loop is another thread
            heard.extend((dict(driver.env(gpu)), list(driver.device_nodes(gpu))) for gpu in gpus)

        asking = threading.Thread(target=ask)
        asking.start()
        asking.join(20)
        assert heard == before

    def test_env_and_device_nodes_differ_between_real_devices(self, driver: Driver, specs: list[DeviceSpec]) -> None:
        whole = [allocate(spec, "full") for spec in specs if not spec.simulated]
        real = [replace(gpu, driver_handle=driver.prepare(gpu)) for gpu in whole]
        environments = [tuple(sorted(driver.env(gpu).items())) for gpu in real]
        files = [frozenset(driver.device_nodes(gpu)) for gpu in real]
        assert len(set(environments)) == len(set(files)) == len(real)
        assert all(files)

    def test_limit_is_not_stronger_than_offered(self, bench: Bench, driver: Driver, specs: list[DeviceSpec]) -> None:
        for spec in specs:
            if not mechanisms.is_shareable(spec):
                continue
            gpu = allocate(spec, "half")
            ready = replace(gpu, driver_handle=driver.prepare(gpu))
            limited = driver.limit(ready, 1)  # a process that is no kernel
            assert STRICTNESS.index(limited.enforcement) >= STRICTNESS.index(gpu.enforcement)
            if limited.enforcement is not gpu.enforcement:
                assert limited.detail
            driver.release(replace(ready, driver_handle=limited.driver_handle))

    def test_limit_of_the_driver_is_set_changed_and_removed(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        of_driver = [
            spec
            for spec in specs
            if any(capability.enforcement is Enforcement.DRIVER for capability in mechanisms.capabilities_of(spec))
        ]
        if not of_driver:
            pytest.skip("this driver keeps no limits")
        with where_it_can():
            pid = bench.own_group()
        gpu = allocate(of_driver[0], "half", isolation=Isolation.LIMITED)
        gpu = replace(gpu, driver_handle=driver.prepare(gpu))
        limited = driver.limit(gpu, pid)
        assert limited.enforcement is Enforcement.DRIVER, limited.detail
        assert bench.limit_bytes(gpu.device_id) == gpu.memory_bytes
        smaller = replace(
            allocate(of_driver[0], "quarter", isolation=Isolation.LIMITED), driver_handle=limited.driver_handle
        )
        driver.limit(smaller, pid)
        driver.limit(smaller, pid)
        assert bench.limit_bytes(gpu.device_id) == smaller.memory_bytes
        whole = driver.limit(replace(allocate(of_driver[0], "full"), driver_handle=limited.driver_handle), pid)
        assert (whole.enforcement, whole.detail) == (Enforcement.HARDWARE, None)
        assert bench.limit_bytes(gpu.device_id) is None, "all of the device is the lease's again"
        driver.limit(smaller, pid)
        after_a_restart = bench.driver()
        after_a_restart.inventory()
        after_a_restart.release(smaller)
        assert bench.limit_bytes(gpu.device_id) is None
        after_a_restart.release(smaller)
        after_a_restart.close()

    def test_partition_exists_until_released_or_destroyed_by_others(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        divided = [spec for spec in specs if spec.profiles]
        if not divided:
            pytest.skip("this hardware is not divided")
        gpu = allocate(divided[0], "half")
        gpu = replace(gpu, driver_handle=driver.prepare(gpu))
        assert gpu.driver_handle
        assert driver.loss_reason(gpu) is None
        assert driver.inventory()[0] == specs, "it is the pool's own"
        after_a_restart = bench.driver()
        after_a_restart.adopt([gpu])
        assert after_a_restart.inventory()[0] == specs
        assert after_a_restart.prepare(gpu) == gpu.driver_handle
        after_a_restart.release(gpu)
        after_a_restart.close()
        assert driver.loss_reason(gpu)
        another = bench.driver()
        kept = allocate(divided[0], "half")
        kept = replace(kept, driver_handle=driver.prepare(kept))
        assert another.inventory()[0] != specs, "it has not adopted any lease"
        another.close()
        driver.release(kept)
        assert driver.inventory()[0] == specs

    def test_daemon_of_a_user_runs_until_the_last_lease_is_released(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        together = [spec for spec in specs if Mechanism.MPS in spec.mechanisms]
        if not together:
            pytest.skip("this hardware does not serve several leases together")
        one, two = (allocate(together[0], "quarter", generation=number) for number in (1, 2))
        one, two = replace(one, driver_handle=driver.prepare(one)), replace(two, driver_handle=driver.prepare(two))
        assert one.driver_handle == two.driver_handle != ""
        assert driver.env(one) == driver.env(two)
        with pytest.raises(HostFault):
            driver.park(one, 1, reserve_nothing)
        after_a_restart = bench.driver()
        after_a_restart.adopt([one, two])
        assert after_a_restart.inventory()[0] == specs
        assert after_a_restart.prepare(one) == one.driver_handle
        after_a_restart.release(one)
        assert after_a_restart.loss_reason(two) is None
        after_a_restart.release(two)
        assert after_a_restart.loss_reason(two)
        after_a_restart.close()

    # -- processes ----------------------------------------------------------------------------------------------------

    def test_processes_lists_each_process_once_with_its_memory(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        device_id = specs[-1].id
        with where_it_can():
            one = bench.occupy(device_id, GIB)
            two = bench.occupy(device_id, 2 * GIB)
        listed = driver.processes(device_id)
        assert isinstance(listed, ListedProcesses)
        assert {process.pid for process in listed.processes} == {one, two}
        assert len(listed.processes) == 2
        assert all(process.memory_bytes in (None, GIB, 2 * GIB) for process in listed.processes)
        assert (listed.unowned_bytes or 0) < GIB, "what they have is theirs"
        bench.leave(one)
        bench.leave(two)
        none = driver.processes(device_id)
        assert isinstance(none, ListedProcesses)
        assert none.processes == ()

    def test_processes_of_a_silent_device_raises_a_fault(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        with where_it_can():
            bench.lose(specs[0].id)
        with pytest.raises(HostFault) as raised:
            driver.processes(specs[0].id)
        assert not isinstance(raised.value, DeviceGone), "it may come back, with what was on it"

    # -- what goes wrong ----------------------------------------------------------------------------------------------

    def test_prepare_on_a_lost_device_is_refused_and_others_work(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        with where_it_can():
            bench.lose(specs[0].id)
        assert driver.health(specs[0].id)[0] is not Health.HEALTHY
        with pytest.raises(HostFault):
            driver.prepare(allocate(specs[0], "full"))
        assert driver.inventory()[0] == specs, "it is counted, so it is not taken for gone"
        assert driver.knows(specs[0].id)
        for spec in specs[1:]:
            assert driver.health(spec.id)[0] is Health.HEALTHY
            driver.prepare(allocate(spec, "full"))
        bench.mend(specs[0].id)
        assert driver.health(specs[0].id) == (Health.HEALTHY, None)
        driver.prepare(allocate(specs[0], "full"))

    def test_inventory_without_a_removed_device_lists_the_others(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        with where_it_can():
            bench.remove(specs[-1].id)
        assert specs[-1].id not in {spec.id for spec in driver.inventory()[0]}
        assert {spec.id for spec in specs[:-1]} == {spec.id for spec in driver.inventory()[0]}
        assert not driver.knows(specs[-1].id)
        with pytest.raises(HostFault):
            driver.prepare(allocate(specs[-1], "full"))
        with pytest.raises(DeviceGone):
            driver.processes(specs[-1].id)
        driver.release(allocate(specs[-1], "full"))  # what was made there went with it

    def test_inventory_with_impossible_answers_keeps_the_known_device(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        with where_it_can():
            bench.confuse(specs[0].id)
        assert driver.inventory()[0] == specs, "what is known of it stands"
        assert driver.health(specs[0].id)[0] is not Health.HEALTHY
        fresh = bench.driver()
        assert specs[0].id not in {spec.id for spec in fresh.inventory()[0]}, "nothing was known of it"
        assert fresh.inventory()[1], "and it says why"
        assert fresh.knows(specs[0].id), "its leases wait for it as long as it does not answer"
        fresh.close()

    def test_prepare_on_a_device_divided_by_others_is_refused(
        self, bench: Bench, driver: Driver, specs: list[DeviceSpec]
    ) -> None:
        with where_it_can():
            bench.divide(specs[0].id)
        with pytest.raises(HostFault):
            driver.prepare(allocate(specs[0], "full"))
        now = {spec.id: spec for spec in driver.inventory()[0]}
        assert now.get(specs[0].id) != specs[0]

    def test_hidden_env_shows_none_of_the_devices(self, driver: Driver, specs: list[DeviceSpec]) -> None:
        hidden = driver.hidden_env()
        assert hidden, "without a variable every device is visible"
        for spec in specs:
            shown = driver.env(allocate(spec, "full"))
            assert hidden.keys() <= shown.keys(), "a grant replaces what hid the devices"
            assert not any(spec.id in value for value in hidden.values())

    def test_calls_for_an_unknown_device_raise_only_faults(self, driver: Driver, specs: list[DeviceSpec]) -> None:
        gpu = replace(allocate(specs[0], "full"), device_id="no such device")
        calls: list[Callable[[], object]] = [
            lambda: driver.prepare(gpu),
            lambda: driver.limit(gpu, 1),
            lambda: driver.release(gpu),
            lambda: driver.env(gpu),
            lambda: driver.device_nodes(gpu),
            lambda: driver.processes(gpu.device_id),
            lambda: driver.health(gpu.device_id),
        ]
        for call in calls:
            try:
                call()
            except HostFault as fault:
                assert len(str(fault)) > 10  # noqa: PT017 (not every driver raises)

    # -- parking ------------------------------------------------------------------------------------------------------

    def test_park_without_the_capability_is_refused(self, driver: Driver, specs: list[DeviceSpec]) -> None:
        for spec in specs:
            if not spec.parkable:
                with pytest.raises(HostFault):
                    driver.park(allocate(spec, "full"), 1, reserve_nothing)
                with pytest.raises(HostFault):
                    driver.resume(allocate(spec, "full"), 1, (spec.id,), 0)
