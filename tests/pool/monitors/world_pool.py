"""A world in place of the state, the commands and the telemetry that a monitor of the pool manager has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Instant, State
from fastgpu_jupyter.errors import StoreFault
from fastgpu_jupyter.pool.devices.driver import DeviceUsage, Sample
from tests.core.world import World, spec


class WorldPool:
    """A pool with one device that can park; what the monitor submits is done and kept."""

    def __init__(self) -> None:
        self.world = World(spec("gpu", parkable=True))
        self.submitted: list[c.Command] = []
        self.fails = False

    def observe(self, observer: Callable[[Sample, Instant], None]) -> None:
        """Keep what the monitor calls for each sample."""
        self._observer = observer

    async def read(self, view: Callable[[State, Instant], Any]) -> Any:
        """Return what the monitor looks at."""
        return view(self.world.state, self.world.at)

    async def submit(self, command: c.Command, key: str | None = None) -> None:
        """Do a command, unless the pool fails."""
        if self.fails:
            raise StoreFault("The disk is full.")
        self.submitted.append(command)
        self.world.do(command)

    def take_readings(
        self, monitor: Any, count: int, pass_time: Callable[[], Any], read: Callable[[], DeviceUsage | None]
    ) -> None:
        """Let time pass, take a reading of the lease ``a`` and let the monitor look, several times."""

        async def take() -> None:
            for _ in range(count):
                pass_time()
                usage = read()
                self._observer(Sample(leases={} if usage is None else {"a": usage}), self.world.at)
                await monitor.check()

        asyncio.run(take())
