"""The effect runner: begins the effects of durable events and submits the commands that report their outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from ...core.lease import parking, preparation, presence
from ...core.lease.lookup import find_granted
from ...core.model import commands as c
from ...core.model import effects as fx
from ...core.model.entities import Holder, Instant, Lease, LogicalGPU, State
from ...core.model.lifecycle import LeaseState
from ...errors import HostFault
from ..host.process import HolderWatcher
from ..protocols import CommandSink, InventoryRefresher, StateReader, TaskSupervisor
from .executor import EffectExecutor

#: The pause between two tries to unmake what a failed preparation left.
UNDO_RETRY_S = 0.25
#: The pause between two looks whether a missing device is back.
MISSING_POLL_S = 1.0
#: The pause between two tries to resume a lease for which there is too little free memory.
RESUME_POLL_S = 0.5


class EffectRunner:
    """The link between the command loop and the effect executor."""

    def __init__(
        self,
        boot_id: str,
        executor: EffectExecutor,
        *,
        commands: CommandSink,
        state: StateReader,
        inventory: InventoryRefresher,
        supervisor: TaskSupervisor,
        on_cluster_effect: Callable[[fx.ClusterEffect], None] | None = None,
    ) -> None:
        """``on_cluster_effect`` is called with what an engine is to do, and returns at once."""
        self._executor = executor
        self._commands = commands
        self._state = state
        self._inventory = inventory
        self._supervisor = supervisor
        self._on_cluster_effect = on_cluster_effect
        self._watcher = HolderWatcher(boot_id, self._on_holder_ended)

    def run(self, effect: fx.Effect) -> None:
        """Begin to carry out ``effect``; returns at once."""
        match effect:
            case fx.WatchHolder(lease_id=lease_id, holder=holder):
                self._watcher.watch(lease_id, holder)
            case fx.UnwatchHolder(lease_id=lease_id):
                self._watcher.forget(lease_id)
            case fx.SubmitJob() | fx.CancelJob():
                if self._on_cluster_effect is not None:
                    self._on_cluster_effect(effect)
            case _:
                self._supervisor.run_once(self._execute(effect))

    def close(self) -> None:
        """Watch no holder any more."""
        self._watcher.close()

    def _on_holder_ended(self, lease_id: str, holder: Holder) -> None:
        self._supervisor.run_once(self._commands.submit_until_durable(c.HolderEnded(lease_id, holder)))

    async def _execute(self, effect: fx.DeviceEffect) -> None:
        report = await self._resume_again(await self._executor.execute(effect), effect)
        while isinstance(report, c.ResumeFailed) and await self._device_came_back(report):
            report = await self._resume_again(await self._executor.execute(effect), effect)
        if isinstance(report, c.PrepareFailed):
            await self._undo_preparation(report, effect.logical_gpu)
        await self._commands.submit_until_durable(report)

    async def _device_came_back(self, failed: c.ResumeFailed) -> bool:
        """Wait while a device that the lease resumes on is missing, and return whether it was and is back."""
        was_missing = await self._state.read(lambda state, _: _resumes_on_missing_device(state, failed))
        await self._inventory.refresh_once()
        while await self._state.read(lambda state, _: _resumes_on_missing_device(state, failed)):
            was_missing = True
            await asyncio.sleep(MISSING_POLL_S)
        return was_missing and await self._state.read(lambda state, _: _resumes(state, failed) is not None)

    async def _resume_again(self, report: c.Command, effect: fx.DeviceEffect) -> c.Command:
        """Try again for a while to resume a lease whose resuming was postponed; return the last report."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        while isinstance(report, c.ResumePostponed):
            lease = await self._state.read(partial(_find_resuming, report))
            if lease is None or clock() - began_s >= parking.resume_pause_ms(lease) / 1000:
                break
            await asyncio.sleep(RESUME_POLL_S)
            report = await self._executor.execute(effect)
        return report

    async def _undo_preparation(self, failed: c.PrepareFailed, gpu: LogicalGPU) -> None:
        """Unmake what was made, refresh the inventory, and pause, before the failure is reported."""
        pause_s = 0.0
        while lease := await self._state.read(lambda state, _: preparation.current(state, failed)):
            # While the lease is prepared, no other lease has its place. Once it drains, draining unmakes it.
            pause_s = preparation.pause_ms(lease) / 1000
            with suppress(HostFault):
                if gpu.partition is not None:
                    await self._executor.release(gpu)
                break
            await asyncio.sleep(UNDO_RETRY_S)
        await self._inventory.refresh_once()
        await asyncio.sleep(pause_s)


def _resumes(state: State, report: c.ResumeFailed | c.ResumePostponed) -> Lease | None:
    return find_granted(state, report.lease_id, report.generation, LeaseState.RESUMING)


def _find_resuming(report: c.ResumePostponed, state: State, _: Instant) -> Lease | None:
    return _resumes(state, report)


def _resumes_on_missing_device(state: State, failed: c.ResumeFailed) -> bool:
    lease = _resumes(state, failed)
    return lease is not None and presence.missing_device(state, lease) is not None
