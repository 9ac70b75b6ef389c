"""The device files that a kernel may open, by the state of its leases, with simulated groups."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, cast

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Holder, LogicalGPU
from fastgpu_jupyter.pool import supervisor as supervisor_module
from fastgpu_jupyter.pool.effects import device_access as device_access_module
from fastgpu_jupyter.pool.effects.device_access import DeviceAccessController
from fastgpu_jupyter.pool.host.lease_groups import NOT_ENFORCED, DeviceAccess, LeaseGroups
from fastgpu_jupyter.pool.supervisor import Supervisor
from tests.core.world import World, holder, spec
from tests.waiting import async_wait_until

KERNELS = range(100, 200)  #: numbers of processes that are kernels of the lease that they are named for


class Groups:
    """What each process may open now."""

    def __init__(self) -> None:
        self.open: dict[int, set[str]] = {}
        self.story: list[tuple[int, tuple[str, ...]]] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    def adopt(self, holders: Iterable[Holder]) -> None:
        self.taken_over = {one.pid for one in holders}

    def has(self, one: Holder) -> bool:
        return one.pid in self.open

    def restrict(self, one: Holder, nodes: Collection[str]) -> DeviceAccess:
        assert self.goes_on.wait(20)
        self.open[one.pid] = set(nodes)
        self.story.append((one.pid, tuple(sorted(nodes))))
        return DeviceAccess(enforced=True)

    def release(self, one: Holder) -> None:
        self.open.pop(one.pid, None)

    def remove_empty(self) -> bool:
        return False


class Closed(World):
    """A pool under test whose device files are closed."""

    def __init__(self) -> None:
        self.groups, self.notified = Groups(), list[str]()
        self.device_access: DeviceAccessController | None = None
        super().__init__(*(spec(f"gpu-{n}", index=n, parkable=True) for n in range(2)))

    def do(self, command: c.Command) -> Any:
        events = super().do(command)
        if self.device_access is not None:
            changed = {str(event.lease_id) for event in events if hasattr(event, "lease_id")}
            self.device_access.update(self.state, changed)
        return events

    def nodes_of(self, gpu: LogicalGPU) -> list[str]:
        return [*gpu.device_ids, *filter(None, [gpu.driver_handle])]

    async def settled(self) -> dict[int, set[str]]:
        assert self.device_access is not None
        while self.device_access._pending or self.device_access._in_progress:
            await asyncio.wait(
                [*self.device_access._pending.values(), *self.device_access._in_progress.values()], timeout=20
            )
        return self.groups.open

    def gpu(self, name: str) -> LogicalGPU:
        gpu = self.state.leases[name].logical_gpu
        assert gpu is not None
        return gpu


@pytest.fixture(autouse=True)
def _kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_access_module, "lease_of", lambda pid: "a" if pid in KERNELS else None)


def play(story: Callable[[Closed, DeviceAccessController], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        world = Closed()
        device_access = world.device_access = DeviceAccessController(
            cast(LeaseGroups, world.groups), world.nodes_of, world.notified.append
        )
        supervisor = Supervisor(lambda: None, lambda _: None)
        supervisor.run_forever("files", device_access.apply_pending)
        try:
            await story(world, device_access)
        finally:
            await supervisor.stop()
            device_access.close()

    asyncio.run(run())


def test_apply_pending_after_an_error_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "RETRY_S", 0.01)

    async def story(world: Closed, device_access: DeviceAccessController) -> None:
        restrict, failures = world.groups.restrict, iter([ZeroDivisionError(), KeyError("x")])

        def fail(one: Holder, nodes: Collection[str]) -> DeviceAccess:
            for bug in failures:
                raise bug
            return restrict(one, nodes)

        world.groups.restrict = fail  # type: ignore[method-assign]
        world.ask("a", "half")
        world.do(c.BindHolder("a", holder(100)))
        await async_wait_until(lambda: device_access.access_of("a").enforced, "it is tried again")

    play(story)


def test_kernel_may_open_the_devices_of_its_lease_while_it_holds_them() -> None:
    async def story(world: Closed, device_access: DeviceAccessController) -> None:
        world.ask("a", "half")
        assert await world.settled() == {}, "its holder is a server"
        world.do(c.BindHolder("a", holder(100)))
        assert await world.settled() == {100: set()}, "not before it is made"
        gpu = world.gpu("a")
        await device_access.open_devices("a", gpu)
        assert world.groups.open == {100: {gpu.device_id}}, "and then before that is said"
        assert device_access.access_of("a").enforced
        world.prepared("a")
        world.do(c.ResizeLease("a", "quarter"))
        assert await world.settled() == {100: {gpu.device_id}}
        world.do(c.ParkLease("a"))
        assert await world.settled() == {100: {gpu.device_id}}, "its memory is still there"
        world.parked("a")
        assert await world.settled() == {100: set()}
        world.do(c.DrainDevice(gpu.device_id, drained=True))
        world.do(c.ResumeLease("a"))
        other = world.gpu("a")
        assert other.device_id != gpu.device_id
        assert await world.settled() == {100: set()}
        await device_access.open_devices("a", other)
        assert world.groups.open == {100: {other.device_id}}, "it moved"
        world.resumed("a")
        world.do(c.BindHolder("a", holder(101)))
        assert await world.settled() == {101: {other.device_id}}, "its kernel was restarted"
        world.do(c.ReleaseLease("a"))
        assert await world.settled() == {}
        assert device_access.access_of("a") == NOT_ENFORCED

    play(story)


def test_open_devices_includes_what_the_driver_created() -> None:
    async def story(world: Closed, device_access: DeviceAccessController) -> None:
        world.ask("a")
        world.do(c.BindHolder("a", holder(100)))
        gpu = world.gpu("a")
        made = LogicalGPU(
            **{name: getattr(gpu, name) for name in gpu.__slots__ if name != "driver_handle"}, driver_handle="cap-7"
        )
        await device_access.open_devices("a", made)
        assert world.groups.open == {100: {gpu.device_id, "cap-7"}}
        world.do(c.PrepareSucceeded("a", gpu.generation, "cap-7"))
        assert await world.settled() == {100: {gpu.device_id, "cap-7"}}

    play(story)


def test_kernel_with_two_leases_opens_both_then_the_remaining_one() -> None:
    async def story(world: Closed, device_access: DeviceAccessController) -> None:
        for name in ("a", "b"):
            world.active(name)
            world.do(c.BindHolder(name, holder(100)))
        assert await world.settled() == {100: {"gpu-0", "gpu-1"}}
        gone = world.gpu("a").device_id
        world.do(c.ReleaseLease("a"))
        assert await world.settled() == {100: {"gpu-0", "gpu-1"} - {gone}}
        assert device_access.access_of("b").enforced

    play(story)


def test_wait_until_applied_returns_after_the_group_is_changed() -> None:
    async def story(world: Closed, device_access: DeviceAccessController) -> None:
        world.active("a")
        world.groups.goes_on.clear()
        world.do(c.BindHolder("a", holder(100)))
        waiting = asyncio.create_task(device_access.wait_until_applied("a"))
        done, _ = await asyncio.wait({waiting}, timeout=0.05)
        assert not done
        assert not device_access.access_of("a").enforced, "nothing is claimed before it is so"
        world.groups.goes_on.set()
        await waiting
        assert device_access.access_of("a").enforced
        assert world.notified == ["a"]
        await device_access.wait_until_applied("a")
        await device_access.wait_until_applied("no such lease")

    play(story)


def test_controller_at_start_adopts_existing_groups() -> None:
    async def story(world: Closed, device_access: DeviceAccessController) -> None:
        world.device_access = None
        world.active("a")
        world.do(c.BindHolder("a", holder(100)))
        device_access.update(world.state, list(world.state.leases))
        world.device_access = device_access
        assert await world.settled() == {100: set(world.gpu("a").device_ids)}
        assert world.groups.taken_over == {100}

    play(story)
