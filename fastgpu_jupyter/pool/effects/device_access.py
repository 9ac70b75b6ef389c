"""Keeps each kernel that holds leases in a control group that opens the device files of those leases only.

Follows the state: after each write :meth:`Closing.follow` is told which leases changed, and a thread of its own has
the groups (:mod:`.host.lease_groups`) be what they should be. A lease's files are opened before it is told that it is
ready, so that its first cell finds them; they are closed when it is parked or over. Who must know waits for it
(:meth:`Closing.settled`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from ...core.model.entities import Holder, Lease, LeaseState, LogicalGPU, State
from ..host import lease_groups
from ..host.attribution import lease_of
from ..host.lease_groups import TOLD, Kept, LeaseGroups
from ..host.threads import DaemonThreads

T = TypeVar("T")
log = logging.getLogger("fastgpu.pool")
#: How long anybody waits for a group to be what it should be; it takes milliseconds.
SETTLED_S = 5.0
#: Between two looks at groups in which something runs that outlived its lease.
TIDY_S = 5.0
#: States in which it is not known yet what is made for a lease.
BEGINNING = frozenset({LeaseState.PREPARING, LeaseState.RESUMING})
OVER = frozenset({LeaseState.DRAINING, LeaseState.ENDED})


class Closing:
    """For the event loop's thread. ``nodes_of`` says which files a logical GPU needs, ``tell`` is called with a lease
    of which something else is known than before.
    """

    def __init__(
        self, groups: LeaseGroups, nodes_of: Callable[[LogicalGPU], Sequence[str]], tell: Callable[[str], None]
    ) -> None:
        self._groups = groups
        self._nodes_of = nodes_of
        self._tell = tell
        self._thread = DaemonThreads(1, "groups")
        self._holders: dict[str, Holder] = {}  #: of leases that are not over
        self._open: dict[str, tuple[str, ...]] = {}  #: by lease, what it may open
        self._leases: dict[Holder, set[str]] = {}
        self._kept: dict[str, Kept] = {}  #: by lease, what became of it
        self._due: dict[Holder, asyncio.Future[None]] = {}
        self._under_way: dict[Holder, asyncio.Future[None]] = {}
        self._wake = asyncio.Event()
        self._took_over = False

    def about(self, lease_id: str) -> Kept:
        """Whether other devices' files are closed to the lease's kernel, and what is to be said of that."""
        return self._kept.get(lease_id, TOLD)

    # -- what should be -----------------------------------------------------------------------------------------------

    def follow(self, state: State, lease_ids: Iterable[str]) -> None:
        """Those leases may be other ones than before."""
        for lease_id in lease_ids:
            self._follow(lease_id, state.leases.get(lease_id))

    def _follow(self, lease_id: str, lease: Lease | None) -> None:
        before, was_open = self._holders.get(lease_id), self._open.get(lease_id, ())
        holder = None if lease is None or lease.state in OVER else lease.holder
        begins = lease is not None and lease.state in BEGINNING
        now_open = was_open if begins else self._may_open(lease)
        if (holder, now_open) != (before, was_open):
            self._set(lease_id, holder, now_open)

    def _may_open(self, lease: Lease | None) -> tuple[str, ...]:
        return () if lease is None or lease.logical_gpu is None else tuple(self._nodes_of(lease.logical_gpu))

    def _set(self, lease_id: str, holder: Holder | None, nodes: tuple[str, ...]) -> None:
        before = self._holders.pop(lease_id, None)
        self._kept.pop(lease_id, None)
        self._open.pop(lease_id, None)
        if before is not None and before != holder:
            self._leases[before].discard(lease_id)
            self._mark(before)
        if holder is not None:
            self._holders[lease_id], self._open[lease_id] = holder, nodes
            self._leases.setdefault(holder, set()).add(lease_id)
            self._mark(holder)

    def _mark(self, holder: Holder) -> None:
        if holder not in self._due:
            self._due[holder] = asyncio.get_running_loop().create_future()
            self._wake.set()

    async def open(self, lease_id: str, gpu: LogicalGPU) -> None:
        """Open the files of what was made for a lease, before it is told so."""
        holder = self._holders.get(lease_id)
        if holder is not None:
            self._set(lease_id, holder, tuple(self._nodes_of(gpu)))
            await self.settled(lease_id)

    async def settled(self, lease_id: str) -> None:
        """Return once the group of the lease's kernel is what it should be, or after a while."""
        holder = self._holders.get(lease_id)
        done = self._due.get(holder) or self._under_way.get(holder) if holder is not None else None
        if done is not None:
            await asyncio.wait({done}, timeout=SETTLED_S)

    # -- making it so -------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Have the groups be what they should be, as soon as one is not."""
        if not self._took_over:
            await self._in_thread(self._groups.take_over, set(self._holders.values()))
            self._took_over = True
        if not self._due:
            await self._wake.wait()
        self._wake.clear()
        while self._due:
            holder = next(iter(self._due))
            done = self._under_way[holder] = self._due.pop(holder)
            try:
                await self._make(holder)
            except Exception:
                self._mark(holder)  # after a bug it is tried again
                raise
            finally:
                del self._under_way[holder]
                done.set_result(None)

    async def _make(self, holder: Holder) -> None:
        leases = self._leases.get(holder, set())
        if not leases:
            self._leases.pop(holder, None)
            await self._in_thread(self._groups.drop, holder)
            return
        nodes = {node for lease_id in leases for node in self._open[lease_id]}
        kept = await self._in_thread(self._keep, holder, frozenset(leases), nodes)
        for lease_id in [one for one in leases if self._holders.get(one) == holder and holder not in self._due]:
            self._kept[lease_id] = kept
            self._tell(lease_id)

    def _keep(self, holder: Holder, leases: frozenset[str], nodes: set[str]) -> Kept:
        """In the thread: a server, which holds leases of kernels to come, is left alone."""
        if not self._groups.has(holder) and lease_of(holder.pid) not in leases:
            return TOLD
        return self._groups.keep(holder, nodes)

    async def tidy(self) -> None:
        """After a pause, remove groups in which nothing runs any more."""
        await asyncio.sleep(TIDY_S)
        await self._in_thread(self._groups.tidy)

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    def close(self) -> None:
        """Groups stay as they are: their kernels go on."""
        self._thread.shutdown(cancel_futures=True)


def groups_of(state_dir: Path, boot_id: str, *, close: bool) -> LeaseGroups | None:
    """The groups of the pool with that journal, if it is to close device files and can; else that is said, once."""
    why = lease_groups.why_not()
    groups = LeaseGroups(state_dir, boot_id)
    if not close:
        if why is None:
            groups.forget()  # what a pool manager closed that was told to
        return None
    if why is not None:
        log.warning("The device files of other GPUs are told to leases and not closed to them: %s", why)
    return groups
