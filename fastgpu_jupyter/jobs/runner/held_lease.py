"""The lease that this process holds: a thread follows it, and the holder reads its changes by a descriptor."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...core.model.lifecycle import OVER, PARKED_OR_RETURNING, LeaseState
from ...errors import Conflict, FastGPUError, LimitReached, NotFound, PoolUnreachable
from ...wire.lease_view import value_of
from ...wire.spawn import ensure_pool

if TYPE_CHECKING:
    from ...wire.client import PoolClient
    from ...wire.schemas import LeaseView

#: How long a request for a change may wait at the pool manager: a position in the queue changes without one.
FOLLOW_MS, FOLLOW_WAITING_MS = 25_000, 1000
PAUSE_FIRST_S, PAUSE_MOST_S = 0.1, 5.0
#: The time limit of the call with which a lease ends; it ends with its holder in any case.
RELEASE_S = 5.0
#: A lease that was parked for one of these reasons stays parked until its user resumes it.
_PARKED_FOR_GOOD = ("requested", "budget")


class HeldLease:
    """A lease of this process, followed from :meth:`follow` on.

    :meth:`changes` returns what the thread has found out: a view of the lease, or an error of the pool manager, which
    is asked again. The thread starts the user's pool manager where none serves.
    """

    def __init__(self, view: LeaseView, token: str) -> None:
        self.view = view
        self.token = token
        self._found: queue.SimpleQueue[LeaseView | FastGPUError] = queue.SimpleQueue()
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._ended = threading.Event()
        self._busy = False

    @property
    def lease_id(self) -> str:
        """Return the id of the lease."""
        return self.view["id"]

    def fileno(self) -> int:
        """Return the descriptor that is readable while there are changes."""
        return self._reader

    def follow(self) -> None:
        """Start the thread that asks the pool manager for changes."""
        threading.Thread(target=self._run, name="fastgpu-lease", daemon=True).start()

    def changes(self) -> list[LeaseView | FastGPUError]:
        """Return what is new, and note the newest view."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        found: list[LeaseView | FastGPUError] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._found.get_nowait())
        for one in found:
            if not isinstance(one, FastGPUError):
                self.view = one
        return found

    def changes_until_end(self, timeout_s: float) -> Iterator[LeaseView | FastGPUError]:
        """Yield what is new until the lease has ended, or the time is over."""
        deadline_s = time.monotonic() + timeout_s
        while not self.is_over and (left_s := deadline_s - time.monotonic()) > 0:
            select.select([self], [], [], left_s)
            yield from self.changes()

    def compute(self) -> None:
        """Report, now and whenever another pool manager serves, that the holder computes; a parked lease resumes."""
        self._busy = True

    def set_resting(self, *, resting: bool) -> None:
        """Report that the holder waits for work, or computes again: the pool manager may give the device to others."""
        self._busy = not resting
        with contextlib.suppress(FastGPUError, OSError):
            ensure_pool().activity(self.lease_id, self.token, busy=self._busy)

    @property
    def is_over(self) -> bool:
        """Whether the lease has ended."""
        return self.view["state"] in OVER

    @property
    def is_parked(self) -> bool:
        """Whether the lease was granted and is not on a device now."""
        return self.view["state"] in PARKED_OR_RETURNING and self.view["times"]["granted_at"] is not None

    @property
    def stays_parked(self) -> bool:
        """Whether the lease is parked until its user resumes it."""
        return self.view["state"] == LeaseState.PARKED and is_parked_for_good(self.view)

    def cost_micro(self) -> int:
        """Return what the lease has cost, as the pool manager says it now or said it last."""
        if not self.is_over:
            with contextlib.suppress(FastGPUError):
                return ensure_pool().lease(self.lease_id, token=self.token)["money"]["cost_micro"]
        return self.view["money"]["cost_micro"]

    def release(self) -> None:
        """Release the lease and stop following it; where that fails the lease ends with this process."""
        self._ended.set()
        if not self.is_over:
            with contextlib.suppress(FastGPUError):
                self.view = ensure_pool(RELEASE_S).release(self.lease_id, self.token)

    def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        view = self.view
        while not self._ended.is_set():
            try:
                client = ensure_pool()
                while not self._ended.is_set():
                    view = self._next(client, view)
                    pause_s = PAUSE_FIRST_S
                    if view["state"] in OVER:
                        return
            except NotFound:
                self._report(_ended(view))
                return
            except (FastGPUError, OSError) as error:
                self._report(error if isinstance(error, FastGPUError) else PoolUnreachable(str(error)))
                self._ended.wait(pause_s)
                pause_s = min(pause_s * 2, PAUSE_MOST_S)

    def _next(self, client: PoolClient, known: LeaseView) -> LeaseView:
        """Return the lease after what it needs was done, or else once it has changed."""
        view = self._do_what_is_needed(client, known)
        if view["version"] == known["version"]:
            quick = not self._busy or view["state"] == LeaseState.WAITING
            wait_ms = FOLLOW_WAITING_MS if quick else FOLLOW_MS
            view = client.lease(self.lease_id, wait_ms, known["version"], token=self.token)
        if view["version"] != known["version"] or view["queue"] != known["queue"]:
            self._report(view)
        return view

    def _do_what_is_needed(self, client: PoolClient, view: LeaseView) -> LeaseView:
        if not self._busy:
            return view
        if view["state"] == LeaseState.ACTIVE and view["usage"]["busy"] is not True:
            return client.activity(self.lease_id, self.token, busy=True)
        if view["state"] == LeaseState.PARKED and not is_parked_for_good(view):
            with contextlib.suppress(Conflict, LimitReached):  # the next view says why
                return client.resume(self.lease_id)
        return view

    def _report(self, change: LeaseView | FastGPUError) -> None:
        self._found.put(change)
        with contextlib.suppress(OSError):  # the reader has enough to read
            os.write(self._writer, b"x")


def is_parked_for_good(view: LeaseView) -> bool:
    """Return whether the lease was parked by its user, or because its budget is spent."""
    return value_of(view["parking"]["reason"]) in _PARKED_FOR_GOOD


def _ended(view: LeaseView) -> LeaseView:
    """Return the view of a lease that the pool manager does not know any more."""
    return {**view, "state": LeaseState.ENDED.value}
