"""Leases that a browser requested for kernels that are started only when they are granted, as those on a cluster.

Such a kernel cannot start before it is known where. This process holds the lease meanwhile, under the id of the kernel
that the browser made up; the provisioner of that kernel adopts it. A lease that was granted and that no kernel took
within :data:`CLAIM_S` is released: it costs as much as one that is used.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.model.lifecycle import OVER, LeaseState
from ..errors import Conflict, FastGPUError, LimitReached, Message, NotFound
from ..messages import text_of
from ..text import printable
from ..units import parse_memory
from ..wire.client import PoolClient
from ..wire.options import ParsedRequest, merged, read_kernelspec
from .kernel_lease import KernelLease, Wanted
from .threads import in_thread
from .token_files import remove_token_file

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView

CLAIM_S = 600.0
CHECK_INTERVAL_S = 20.0
REQUESTED_MAX = 64


class _Requested(NamedTuple):
    user: str
    lease: KernelLease


class RequestedLeases:
    """The leases of kernels that do not run yet, by the id of the kernel."""

    def __init__(
        self,
        connect: Callable[[], PoolClient],
        runs: Callable[[str], bool],
        log: logging.Logger,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        """Take what returns a client, whether a kernel runs, and the wall clock."""
        self._connect = connect
        self._runs = runs
        self._log = log
        self._wall_s = wall_s
        self._requested: dict[str, _Requested] = {}

    async def request(self, kernel_id: str, user: str, wanted: Wanted) -> LeaseView:
        """Return the lease of a kernel that does not run yet, requested now unless it was before.

        Raises :class:`Conflict` for the id of another kernel, :class:`LimitReached`, and the errors of the client.
        """
        known = self._requested.get(kernel_id)
        if self._runs(kernel_id) or (known is not None and known.user != user):
            raise Conflict(Message.of("intent.id_taken"))
        if known is not None and known.lease.lease_id is not None:
            lease_id, token = known.lease.lease_id, known.lease.token
            return await in_thread(lambda: self._connect().lease(lease_id, token=token))
        if known is None:
            if len(self._requested) >= REQUESTED_MAX:
                raise LimitReached(Message.of("requested.too_many", count=REQUESTED_MAX))
            known = self._requested[kernel_id] = _Requested(user, KernelLease(kernel_id, self._log))
        try:
            _, view = await in_thread(partial(known.lease.acquire, wanted, automatic=False))
        except FastGPUError:
            if not known.lease.is_unanswered:
                self._requested.pop(kernel_id, None)
            raise
        return view

    async def adopt(self, kernel_id: str, user: str, lease_id: str) -> LeaseView:
        """Return a lease that was requested for a kernel that does not run yet; this process holds it from now on.

        Another kernel requested it for the one that takes its place, or this server did before the page was loaded
        again. Raises :class:`NotFound` if there is no such lease.
        """
        known = self._requested.get(kernel_id)
        if known is None or known.lease.lease_id != lease_id:
            lease = KernelLease(kernel_id, self._log)
            lease.adopt(lease_id)
            view = await in_thread(partial(self._connect().lease, lease_id, token=lease.token))
            if lease.token is None or view["holder"]["kernel_id"] != kernel_id or view["state"] in OVER:
                raise NotFound(Message.of("requested.no_lease"))
            await in_thread(lease.bind, None)
            self._requested[kernel_id] = known = _Requested(user, lease)
        if known.user != user:
            raise Conflict(Message.of("intent.id_taken"))
        return await in_thread(partial(self._connect().lease, lease_id, token=known.lease.token))

    async def run(self, interval_s: float = CHECK_INTERVAL_S) -> None:
        """Check again and again, until this is cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                await self.check()
            except FastGPUError as error:
                self._log.debug("Requested leases were not looked at: %s", printable(text_of(error)))

    async def check(self) -> None:
        """Forget the leases that a kernel took or that ended, and release those that no kernel took in time."""
        for kernel_id, (_, lease) in list(self._requested.items()):
            if self._runs(kernel_id):
                del self._requested[kernel_id]
                continue
            lease_id, token = lease.lease_id, lease.token
            if lease_id is None:
                continue
            view = await in_thread(partial(self._connect().lease, lease_id, token=token))
            if view["state"] in OVER:
                del self._requested[kernel_id]
                await in_thread(remove_token_file, kernel_id)
            elif view["state"] == LeaseState.ACTIVE and self._is_unclaimed(view):
                self._log.warning(
                    "Lease %s is released: no kernel was started on it in the %g s after its grant", lease_id, CLAIM_S
                )
                del self._requested[kernel_id]
                await in_thread(lease.release)

    def _is_unclaimed(self, view: LeaseView) -> bool:
        granted_ms = view["times"]["granted_at"]
        return granted_ms is not None and self._wall_s() * 1000 - granted_ms > CLAIM_S * 1000


def wanted_of(metadata: Mapping[str, Any], chosen: ParsedRequest, notebook: str | None, keep_ms: int = 0) -> Wanted:
    """Return the request of a kernelspec with ``metadata``, with what the user chose in its place.

    A granted lease is kept for ``keep_ms`` after the end of this server, as its kernel is.
    """
    own = read_kernelspec(metadata)
    options = merged(own.options, chosen.options)
    if keep_ms:
        options["keep_ms"] = keep_ms
    if chosen.size is None and own.memory.strip():
        return Wanted(None, parse_memory(own.memory), notebook, options)
    return Wanted(chosen.size or own.profile or "full", None, notebook, options)
