"""The scrubber: overwrites what a lease left in the memory of its device, before another lease can be there.

The effect executor calls it once no process of the lease is on the device, while the lease still holds its capacity. A
process of its own for each device, the driver's :class:`ScrubCommand`, does the work and is killed after a time limit.

A partition of the hardware is overwritten whatever happens on its neighbours. A device is overwritten if no other lease
is on it. If others are there, nothing is overwritten: only a process that takes all free memory can be sure to have
taken the right memory, and the allocations of the others would fail meanwhile. Memory that those others free passes
from one to the other as well.

From the first try to the last, leases that are granted on the device are not prepared. If a try fails, the pool records
it (:class:`~core.model.commands.ReportScrubFailure`) and grants nothing there. It is tried again until it works or an
administrator continues without (``jupyter fastgpu drain DEVICE --undo``).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from ...core.model import commands as c
from ...core.model.entities import GONE, LogicalGPU, ScrubOutcome, ScrubResult, State
from ...errors import HostFault, Message
from ...units import MIB
from ...wire.variables import OF_A_LEASE
from ..devices.driver import DeviceGone, ScrubCommand

log = logging.getLogger("fastgpu.pool")
#: What happens before others have the memory: the pool waits until no process of the lease has any, or it overwrites it
#: as well.
WAIT, OVERWRITE = "wait", "overwrite"
#: The pause between two tries.
RETRY_S = 5.0
#: How long a killed worker may take to end; one that does not is stuck in the driver.
KILL_S = 5.0
#: Free memory that a try may leave, in pieces too small to allocate; and never more than that fraction of all memory.
LEFT_BYTES_MAX, LEFT_PART = 256 * MIB, 64
_SAID_MAX = 300

OTHERS = Message.of("scrub.other_leases")
WENT_ON = Message.of("scrub.skipped")
DESTROYED = Message.of("scrub.partition_destroyed")


class DeviceOccupancy(NamedTuple):
    """The leases on a device, and whether its memory is still to be scrubbed."""

    leases: frozenset[str]
    scrub_pending: bool


def occupancy_of(state: State, device_id: str) -> DeviceOccupancy:
    """Return the occupancy of a device in ``state``."""
    device = state.devices.get(device_id)
    scrub_pending = device is not None and device.scrub_pending is not None
    return DeviceOccupancy(frozenset(device.lease_ids if device else ()), scrub_pending)


class Scrubber:
    """Scrubber of device memory for the leases of one pool, for the event loop's thread only.

    ``commands_of`` returns the driver's commands that overwrite a logical GPU, ``occupancy_of`` what the pool knows of
    a device, ``submit`` takes a command, and ``notify_lease`` is called with the id of a lease whose :meth:`status_of`
    changed. ``pids`` are the pool manager's own processes, which belong to no lease.
    """

    def __init__(
        self,
        mode: str,
        limit_s: float,
        *,
        commands_of: Callable[[LogicalGPU], Sequence[ScrubCommand]],
        occupancy_of: Callable[[str], DeviceOccupancy],
        submit: Callable[[c.Command], Awaitable[object]],
        notify_lease: Callable[[str], None],
    ) -> None:
        self._mode = mode
        self._limit_s = limit_s
        self._commands_of = commands_of
        self._occupancy_of = occupancy_of
        self._submit = submit
        self._notify_lease = notify_lease
        self._status: dict[str, Message] = {}
        self._scrubbing: dict[str, str] = {}  #: device -> lease
        self._failed_leases: dict[str, set[str]] = {}  #: device -> leases of which a scrub failed there
        self._free = asyncio.Condition()
        self._stuck: dict[str, asyncio.subprocess.Process] = {}  #: killed, and not gone
        self.pids: set[int] = {os.getpid()}

    def overwrites(self, gpu: LogicalGPU) -> bool:
        """Return whether memory of that logical GPU is overwritten before another lease has it."""
        return self._mode == OVERWRITE and bool(self._commands_of(gpu))

    def status_of(self, lease_id: str) -> Message | None:
        """Return a message for the lease's user while its device is scrubbed, or ``None``."""
        return self._status.get(lease_id)

    async def scrub(
        self, lease_id: str, gpu: LogicalGPU, require_unused: Callable[[], Awaitable[None]], *, ends: bool
    ) -> ScrubResult:
        """Overwrite what the lease left, if that is configured and possible, and return the result.

        ``require_unused`` raises :class:`DeviceGone` if the device is gone, and :class:`HostFault` if the lease still
        has processes there. ``ends``: its partition is destroyed afterwards.
        """
        if not self._commands_of(gpu):
            return GONE
        if self._mode != OVERWRITE:
            await self._clear_scrub_failure(lease_id, gpu)
            return ScrubResult(detail=DESTROYED if ends and gpu.partition and not gpu.partition.preexisting else None)
        devices = [] if gpu.partition is not None else list(gpu.device_ids)
        async with self._free:  # a lease that drains may be one that was just being parked
            await self._free.wait_for(lambda: not any(one in self._scrubbing for one in devices))
            # A lease that is granted some of it from here on waits before it is prepared.
            if any(self._occupancy_of(one).leases - {lease_id} for one in devices):
                return ScrubResult(detail=OTHERS)
            self._scrubbing.update(dict.fromkeys(devices, lease_id))
        try:
            return await self._scrub_until_done(lease_id, gpu, require_unused)
        finally:
            self._set_status(lease_id, None)
            async with self._free:
                for one in devices:
                    self._scrubbing.pop(one, None)
                self._free.notify_all()

    async def wait_until_scrubbed(self, lease_id: str, gpu: LogicalGPU) -> None:
        """Return once nothing is overwritten on the devices of a lease that was just granted."""
        mine = () if gpu.partition is not None else gpu.device_ids
        if not any(one in self._scrubbing for one in mine):
            return
        self._set_status(lease_id, Message.of("scrub.before_use"))
        try:
            async with self._free:
                await self._free.wait_for(lambda: not any(one in self._scrubbing for one in mine))
        finally:
            self._set_status(lease_id, None)

    async def _scrub_until_done(
        self, lease_id: str, gpu: LogicalGPU, require_unused: Callable[[], Awaitable[None]]
    ) -> ScrubResult:
        failed = False
        while True:
            self._set_status(lease_id, Message.of("scrub.in_progress"))
            try:
                await require_unused()
                scrub_result = await self._overwrite(gpu)
            except DeviceGone:
                await self._clear_scrub_failure(lease_id, gpu)
                return ScrubResult(ScrubOutcome.DEVICE_GONE)
            except HostFault as error:
                failed = True
                log.warning("The memory that lease %s left is not overwritten: %s", lease_id, error)
                self._set_status(lease_id, Message.of("scrub.retrying", detail=error.message))
                await self._mark_scrub_failure(lease_id, gpu, error.message)
            else:
                await self._clear_scrub_failure(lease_id, gpu)
                return scrub_result
            await asyncio.sleep(RETRY_S)
            if failed and not any(self._occupancy_of(one).scrub_pending for one in gpu.device_ids):
                await self._clear_scrub_failure(lease_id, gpu)
                return ScrubResult(detail=WENT_ON)

    async def _mark_scrub_failure(self, lease_id: str, gpu: LogicalGPU, detail: Message) -> None:
        reason = Message.of("scrub.pending", detail=detail)
        for device_id in gpu.device_ids:
            self._failed_leases.setdefault(device_id, set()).add(lease_id)
            await self._submit(c.ReportScrubFailure(device_id, reason))

    async def _clear_scrub_failure(self, lease_id: str, gpu: LogicalGPU) -> None:
        for device_id in gpu.device_ids:
            left = self._failed_leases.get(device_id, set())
            left.discard(lease_id)
            if not left and self._occupancy_of(device_id).scrub_pending:
                await self._submit(c.ReportScrubFailure(device_id, None))

    def _set_status(self, lease_id: str, what: Message | None) -> None:
        if what == self._status.get(lease_id):
            return
        if what is None:
            self._status.pop(lease_id, None)
        else:
            self._status[lease_id] = what
        self._notify_lease(lease_id)

    # -- the processes that do it -------------------------------------------------------------------------------------

    async def _overwrite(self, gpu: LogicalGPU) -> ScrubResult:
        """One try on all devices of a logical GPU. Raises :class:`HostFault`."""
        commands = self._commands_of(gpu)
        results = await asyncio.gather(*(self._overwrite_one(one) for one in commands), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        done = [result for result in results if not isinstance(result, BaseException)]
        overwritten, total = sum(one[0] for one in done), sum(one[1] for one in done)
        rest = Message.of("scrub.incomplete", left_bytes=total - overwritten)
        return ScrubResult(ScrubOutcome.OVERWRITTEN, overwritten, rest)

    async def _overwrite_one(self, command: ScrubCommand) -> tuple[int, int]:
        """Return how many bytes of a device or partition were overwritten, and how many it has."""
        name = command.target
        stuck = self._stuck.get(name)
        if stuck is not None and stuck.returncode is None:
            raise HostFault(f"Process {stuck.pid}, which was to do it, is stuck in the driver.")
        self._stuck.pop(name, None)
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=_environment(command.env),
            )  # fmt: skip
        except OSError as error:
            raise HostFault(f"The process for it cannot be started ({error.strerror}).") from error
        self.pids.add(process.pid)
        answer = asyncio.ensure_future(process.communicate())
        try:
            done, _ = await asyncio.wait({answer}, timeout=self._limit_s)
            if not done:
                raise HostFault(f"It was not done within {self._limit_s:g} seconds and was given up.")
            out, err = answer.result()
        finally:
            await self._end(name, process, answer)
        if process.returncode != 0:
            said = err.decode(errors="replace").strip().splitlines()
            raise HostFault((said[-1] if said else f"It ended with status {process.returncode}.")[:_SAID_MAX])
        return _read(out)

    async def _end(
        self, name: str, process: asyncio.subprocess.Process, answer: asyncio.Future[tuple[bytes, bytes]]
    ) -> None:
        """See that it is gone, or remember that it is not."""
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait({answer}, timeout=KILL_S)
        if process.returncode is None:
            self._stuck[name] = process
            log.error("Process %d, which overwrites %s, does not end though it was killed.", process.pid, name)
        else:
            self.pids.discard(process.pid)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """Return the pool manager's own environment with ``env``, without a kernel's lease: the process belongs to none."""
    kept = {key: value for key, value in os.environ.items() if key not in OF_A_LEASE}
    return {**kept, **env}


def _read(out: bytes) -> tuple[int, int]:
    try:
        said = json.loads(out)
        overwritten, left, total = (int(said[f"{name}_bytes"]) for name in ("overwritten", "left", "total"))
    except (ValueError, KeyError, TypeError) as error:
        raise HostFault("What overwrites memory did not say how much that was.") from error
    if left > min(LEFT_BYTES_MAX, total // LEFT_PART):
        raise HostFault(Message.of("scrub.too_much_left", left_bytes=left))
    return overwritten, total
