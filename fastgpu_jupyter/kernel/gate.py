"""The gate: whether a cell may run now, and what its environment must contain.

A :class:`Gate` holds the last known view of this kernel's lease. A daemon thread (:mod:`.lease_follower`) keeps the
view current from the pool's event stream, so that an open gate costs a cell one attribute read and no I/O. The gate
guarantees:

* a cell never waits while the lease is active, even if the pool manager does not answer;
* only :meth:`Gate.apply_changes`, which the kernel calls between two cells, changes the process environment;
* the user sees once that the lease ended elsewhere, or that it was parked while a cell ran.

The gate never talks to a GPU and never ends the lease by itself. The commands that users give (release, resize, ...)
are in :mod:`.lease_commands`.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..core.model.lifecycle import BLOCKING_CELLS, OVER
from ..errors import FastGPUError
from ..messages import render, say, sentence_of, sentences_of
from ..wire import variables, version
from ..wire.lease_view import explanation_of, with_reading
from .cell_activity import CellActivity
from .grant_environment import MEMORY, GrantEnvironment
from .lease_client import IMPORT_ERRORS, LeaseClient, connect_or_start

if TYPE_CHECKING:
    from ..wire.client import PoolClient
    from ..wire.schemas import LeaseView, MessageView

#: Code that does not count as use is taken for blocked, on a parked lease, once it has run for this time.
BLOCKED_AFTER_S = 2.0


class Gate:
    """The lease of this kernel as far as its cells are concerned. Safe to use from several threads."""

    def __init__(
        self,
        lease_id: str | None,
        state: str,
        token_file: Path | None,
        environ: MutableMapping[str, str],
        connect: Callable[[], PoolClient],
        *,
        kernel_id: str | None = None,
        granted: Mapping[str, str] | None = None,
        hidden: Mapping[str, str] | None = None,
        cluster: str = "",
    ) -> None:
        #: What the process environment contains of the grant.
        self.environment = GrantEnvironment(environ, granted or {}, hidden or {})
        #: Cells may run. The only attribute that the fast path reads.
        self.open = lease_id is None or state not in BLOCKING_CELLS
        #: :meth:`apply_changes` has something to do; read without the lock, too.
        self.has_changes = self.environment.has_cap or self.environment.is_outdated
        self.lease_id = lease_id
        self.kernel_id = kernel_id
        #: The kernel runs in its lease's job on a host of a cluster: ``keep`` if it outlives its server, or ``end``.
        self.cluster = cluster
        self.view: LeaseView | None = None
        #: The pool that leased the GPU, once it is known.
        self.pool_id: str | None = None
        #: This process has, or had, the lease's GPU: its memory is restored when a parked lease resumes.
        self.had_gpu = lease_id is not None and state == "active"
        #: Why the pool could not be reached; None while it answers.
        self.pool_error: str | None = None
        #: The user turned the gate off with ``%fastgpu cpu``.
        self.cpu_only = False
        self.pool = LeaseClient(token_file, connect, on_cluster=bool(cluster))
        #: The cells that run, for the thread that reports to the pool.
        self.activity = CellActivity()
        #: Print a sentence at once in the output of the running cell; callable from any thread.
        self.notify_now: Callable[[str], None] | None = None
        #: Set when the follower should ask the pool at once: a cell waits, or there is another lease.
        self.wake_follower = threading.Event()
        self.closed = threading.Event()
        #: A release by this process is in progress: the user need not hear of the lease's end.
        self._releasing = False
        #: A provisioner started this kernel and keeps its lease over a restart.
        self._provisioned = lease_id is not None
        self._pending_notes: list[str] = []
        #: The note that the last lease ended, which does not hold for the next one.
        self._end_note: str | None = None
        #: A cell ran without a device since the lease waits.
        self._runs_meanwhile = False
        #: When the lease was parked while a cell ran, on the monotonic clock.
        self._parked_at: float | None = None
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        #: Those that also want the readings of the device.
        self._reading_listeners: list[Callable[[], None]] = []

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Gate:
        """Return the gate of a process that a FastGPU provisioner started; elsewhere, an open gate without a lease.

        The variables of the lease are removed: a process that this one starts does not hold it.
        """
        env = os.environ if environ is None else environ
        given = {name: env.pop(name, "") for name in variables.KERNEL_ONLY}
        gate = cls(
            lease_id=given[variables.LEASE] or None,
            state=given[variables.LEASE_STATE] or "waiting",
            token_file=Path(given[variables.TOKEN_FILE]) if given[variables.TOKEN_FILE] else None,
            environ=env,
            connect=connect_or_start,
            kernel_id=given[variables.KERNEL_ID] or None,
            granted=json.loads(given[variables.GRANTED] or "{}"),
            hidden=json.loads(given[variables.HIDDEN] or "{}"),
            cluster=given[variables.CLUSTER],
        )
        if gate.lease_id is not None:
            env[variables.ANCESTOR_LEASES] = variables.with_lease(env.get(variables.ANCESTOR_LEASES, ""), gate.lease_id)
        server = version.read(given[variables.VERSION])
        if gate.lease_id is not None and not server.fits:
            gate.add_note(say("note.of_fastgpu", text=render(version.difference_from_server(server))))
        return gate

    @classmethod
    def of_kernel_without_gate(cls) -> Gate:
        """Return an open gate in a kernel that is not FastGPU's, with the lease that this process holds, if any.

        The environment only names the lease, because child processes inherit it: the pool manager says who holds it.
        """
        gate = cls.from_environment()
        with contextlib.suppress(FastGPUError, OSError):
            for lease_id in gate.environment.ancestors[-1:]:
                view = gate.pool.quick().lease(lease_id)
                if view["holder"]["pid"] == os.getpid() and view["state"] not in OVER:
                    gate.lease_id, gate.view = lease_id, view
        return gate

    # ---- for the kernel ------------------------------------------------------------------------------------------

    def add_note(self, note: str) -> None:
        """Show ``note`` to the user before the next cell."""
        with self._lock:
            self._pending_notes.append(note)
            self.has_changes = True

    def begin_wait(self) -> None:
        """Note that a cell begins to wait: the follower asks the pool at once and the pool learns of the cell."""
        self.wake_follower.set()
        self.activity.report_now()

    def end_wait(self) -> None:
        """Note that no cell waits any more."""
        self.activity.waits = False

    def wait_was_shown(self) -> None:
        """Note that the waiting cell shows where the GPU is, so that no note about it follows."""
        with self._lock:
            self._parked_at = None

    @property
    def runs_on_cpu(self) -> bool:
        """Whether a cell runs now although the gate is closed: without a device, until the waiting lease is granted."""
        view = self.view
        if self.open or view is None or view["id"] != self.lease_id:
            return False
        return view["state"] == "waiting" and view.get("cpu_meanwhile", False)

    def begin_on_cpu(self) -> None:
        """Note that a cell runs without a device; the first one says so, and the first one after the grant, too."""
        with self._lock:
            if not self._runs_meanwhile:
                self._runs_meanwhile = True
                self.add_note(say("note.on_cpu"))

    def apply_changes(self, *, with_notes: bool = True) -> list[str]:
        """Bring the environment up to date and return the notes for the user, each once. Call between two cells.

        With ``with_notes`` false, the notes are kept for a later call.
        """
        with self._lock:
            self._pending_notes += self.environment.apply(self.lease_id)
            if self.environment.applied_caps is not None:
                self.activity.changed.set()  # the reporter compares it with what the pool knows
            notes = self._pending_notes if with_notes else []
            if with_notes:
                self._pending_notes = []
            self.has_changes = bool(self._pending_notes)
            return notes

    @contextlib.contextmanager
    def not_counted(self) -> Iterator[None]:
        """Inside the block, code runs that does not count as use of the GPU.

        It counts once it has run for :data:`BLOCKED_AFTER_S` on a parked lease: it may use memory that is not on the
        device, and would then end only after the lease has resumed.
        """
        code = self.activity.begin_uncounted()
        try:
            self._count_blocked_code()
            yield
        finally:
            self.activity.end_uncounted(code)

    def only_waits(self) -> None:
        """Record that the code that runs and does not count as use only waits from now on, for something else.

        It does not use memory that is not on the device, so that it is no reason to resume a parked lease.
        """
        for code in self.activity.uncounted:
            self.activity.end_uncounted(code)

    def add_listener(self, listener: Callable[[], None], *, readings: bool = False) -> Callable[[], None]:
        """Call ``listener``, from any thread, after each change; return the function that removes it.

        With ``readings``, it is also called after each reading of the device, which may be each second.
        """
        lists = (self._listeners, self._reading_listeners) if readings else (self._listeners,)
        with self._lock:
            for listeners in lists:
                listeners.append(listener)

        def remove() -> None:
            with self._lock:
                for listeners in lists:
                    if listener in listeners:
                        listeners.remove(listener)

        return remove

    def close(self, successor_pid: int | None) -> None:
        """Bind the lease to process ``successor_pid`` for a restart, or release it; this process is about to end."""
        self.closed.set()
        self.wake_follower.set()
        self.activity.changed.set()
        # The pool and a provisioner do the same without this call, only later and with a less precise reason.
        with contextlib.suppress(FastGPUError, OSError, *IMPORT_ERRORS):
            token = self.pool.token()
            if self.lease_id is None or token is None:
                return
            if successor_pid is None:
                self.pool.quick().release(self.lease_id, token)
            elif self._provisioned and successor_pid > 1:
                self.pool.quick().bind(self.lease_id, token, successor_pid)

    def abandon(self) -> None:
        """Forget the lease in a process that the kernel has forked, which does not hold it."""
        self._lock = threading.RLock()  # another thread of the kernel may have held it
        self._listeners, self._reading_listeners, self.activity = [], [], CellActivity()
        self.lease_id, self.view, self.open = None, None, True
        self.pool = LeaseClient(None, self.pool.connect)
        self.closed.set()

    # ---- for the commands of the user ----------------------------------------------------------------------------

    def refresh(self) -> LeaseView | None:
        """Return the lease as the pool sees it now; None without a lease."""
        if self.lease_id is None:
            return None
        view = self.pool.connect().lease(self.lease_id, token=self.pool.token())
        self.update_lease(view)
        return view

    @contextlib.contextmanager
    def releasing(self) -> Any:
        """Suppress, inside the block, the note that the lease ended: the user asked for it."""
        self._releasing = True
        try:
            yield
        finally:
            self._releasing = False

    def set_released(self, view: LeaseView | None, *, cpu_only: bool) -> None:
        """Record that the user released the lease; cells run without a GPU from now on."""
        self.pool.take_requested()  # of before the release
        with self._lock:
            self.cpu_only = cpu_only
            self.view = view
            self._clear_lease()
        self._notify_listeners()

    def set_requested(self, view: LeaseView) -> None:
        """Record a new lease; cells wait until it is active."""
        with self._lock:
            self._begin_lease(view["id"])
        self.update_lease(view)
        self.wake_follower.set()

    def adopt_requested(self) -> None:
        """Take over the lease that the server requested for this kernel, which has none; its cells wait for it."""
        lease_id = self.pool.take_requested() if self.lease_id is None else None
        if lease_id is None:
            return
        with self._lock:
            self._begin_lease(lease_id)
        self._notify_listeners()
        self.wake_follower.set()

    # ---- for the follower ----------------------------------------------------------------------------------------

    def handle_message(self, message: dict[str, Any]) -> None:
        """Apply one message of the pool's event stream."""
        if "pool" in message:
            self.pool_id = message["pool"]["id"]
        for view in message.get("leases", ()):
            if view.get("id") == self.lease_id:
                if message["type"] == "usage":
                    self._update_usage(view)
                else:
                    self.update_lease(view, fresh=message["type"] == "snapshot")
        for entry in message.get("queue", ()):
            if entry.get("lease_id") == self.lease_id:
                self._update_queue_entry(entry)

    def update_lease(self, view: LeaseView, *, fresh: bool = False) -> None:
        """Replace the known view; ignore one with a lower version unless it is of a ``fresh`` snapshot."""
        with self._lock:
            self.pool_error = None
            if view["id"] != self.lease_id:
                return
            if self.view is not None and view["version"] < self.view["version"] and not fresh:
                return
            self._collect_notices(view)
            self.view = view
            self.environment.hidden = view["hidden_environment"]
            if self._releasing:
                return  # set_released() follows
            if view["state"] == "active":
                # While its GPU is missing the pool may not know the environment: what there is stays.
                missing = self.had_gpu and view["health"]["missing_since"] is not None
                self._open_gate(None if missing else view["environment"])
            elif view["state"] in OVER:
                self._end(sentence_of(view["end_reason"]), sentences_of(explanation_of(view)))
            else:
                self._close_gate()
        self._notify_listeners()

    def report_pool_error(self, sentence: str) -> None:
        """Record why the pool cannot be reached. An open gate stays open."""
        with self._lock:
            if self.pool_error == sentence:
                return
            self.pool_error = sentence
        self._notify_listeners()

    def forget_lease(self) -> None:
        """End the lease here, because the pool does not know it."""
        with self._lock:
            self._end(None)
        self._notify_listeners()

    # ---- for the reporter ----------------------------------------------------------------------------------------

    def report_activity(self, *, busy: bool) -> None:
        """Report to the pool whether cells run. Raises the client's errors; starts no pool."""
        with self.activity.report_lock:
            lease_id = self.lease_id
            if busy and not (self.activity.running or self.activity.began):
                return  # the user has parked the lease meanwhile
            view = None if lease_id is None else self._report(lease_id, busy=busy)
        if view is not None:
            self.update_lease(view)

    def _report(self, lease_id: str, *, busy: bool) -> LeaseView:
        """Report whether cells run; with the end of cells, how many ended and what frameworks count of their memory."""
        client, token = self.pool.quick(), self.pool.token()
        if busy:
            return client.activity(lease_id, token, busy=True)
        ended, counters = self.activity.ended, None
        if ended:
            from . import framework_memory  # late, like everything that a start does not need

            memory = framework_memory.read()
            counters = None if memory is None else memory._asdict()
        view = client.activity(lease_id, token, busy=False, cells=ended, frameworks=counters)
        self.activity.ended -= ended
        return view

    @property
    def has_unreported_resize(self) -> bool:
        """Whether the pool does not know yet which libraries follow the lease's size and which need a restart."""
        view, applied = self.view, self.environment.applied_caps
        if view is None or applied is None or view["id"] != self.lease_id or view["state"] != "active":
            return False
        size_applied = view["size"]["applied"]
        known = size_applied == "applied" if not applied[1] else size_applied == "needs_restart"
        return not known and view["environment"].get(MEMORY) == applied[0]

    def report_libraries(self) -> None:
        """Report to the pool which libraries need a restart for the lease's size. Raises the client's errors."""
        lease_id, applied = self.lease_id, self.environment.applied_caps
        if lease_id is not None and applied is not None:
            memory_bytes = None if applied[0] is None else int(applied[0])
            self.update_lease(self.pool.quick().libraries(lease_id, self.pool.token(), memory_bytes, applied[1]))

    # ---- inside; the lock is held --------------------------------------------------------------------------------

    def _begin_lease(self, lease_id: str) -> None:
        self.lease_id, self.view, self.cpu_only, self.had_gpu = lease_id, None, False, False
        self.open = False
        self._pending_notes = [note for note in self._pending_notes if note != self._end_note]

    def _open_gate(self, environment: dict[str, str] | None) -> None:
        """Open the gate; ``None`` leaves the environment as it is."""
        if environment is not None and self.environment.set_target(environment):
            self.has_changes = True
        if self._parked_at is not None:
            self._note_parked_while_running(time.monotonic() - self._parked_at)
        if self._runs_meanwhile:
            self._runs_meanwhile = False
            self.add_note(say("note.granted_meanwhile"))
        self.open = self.had_gpu = True

    def _close_gate(self) -> None:
        if self.open and self.activity.running:
            self._parked_at = time.monotonic()
        self.open = False
        self._count_blocked_code()

    def _count_blocked_code(self) -> None:
        codes = self.activity.uncounted
        if codes and self.had_gpu and not self.open:
            timer = threading.Timer(BLOCKED_AFTER_S, self.activity.count, (codes,))
            timer.daemon = True
            timer.start()

    def _collect_notices(self, view: LeaseView) -> None:
        """Note each message about budget, memory limit or faults that the last view did not have.

        One about a budget is not shown with the next cell if the budget was raised meanwhile.
        """
        known = [] if self.view is None else _notices(self.view)
        current = _notices(view)
        budget = _note(self.view["money"]["message"]) if self.view is not None else None
        if budget is not None and budget not in current:
            self._pending_notes = [note for note in self._pending_notes if note != budget]
        for note in current:
            if note not in known:
                if self.notify_now is not None and self.activity.running:
                    self.notify_now(note)  # the cell may be stopped and never end by itself
                    continue
                self._pending_notes.append(note)
                self.has_changes = True

    def _note_parked_while_running(self, parked_s: float) -> None:
        from .sentences import parked_while_running  # late, like everything that a start does not need

        reason = sentence_of(self.view["parking"]["reason"]) if self.view else None
        self._pending_notes.append(parked_while_running(reason, parked_s))
        self._parked_at, self.has_changes = None, True

    def _end(self, reason: str | None, detail: str | None = None) -> None:
        if self.lease_id is None:
            return
        from .sentences import ended  # late, like everything that a start does not need

        self._end_note = ended(reason, detail)
        self._pending_notes.append(self._end_note)
        self._clear_lease()

    def _clear_lease(self) -> None:
        self.lease_id, self._parked_at, self._runs_meanwhile = None, None, False
        self.environment.set_target(self.environment.hidden)
        self.has_changes = True
        self.open = True

    def _update_usage(self, usage: dict[str, Any]) -> None:
        with self._lock:
            if self.view is not None:
                self.view = cast("LeaseView", with_reading(self.view, usage))
            listeners = list(self._reading_listeners)
        for listener in listeners:
            listener()

    def _update_queue_entry(self, entry: dict[str, Any]) -> None:
        with self._lock:
            if self.view is None or self.open:
                return
            names = ("position", "reason", "holder", "estimate_ms", "estimate_basis")
            self.view = cast("LeaseView", {**self.view, "queue": {name: entry[name] for name in names}})
        self._notify_listeners()

    def _notify_listeners(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener()


def _notices(view: LeaseView) -> list[str]:
    """Return the notes on what the user has to know about budget, memory limit and faults."""
    messages = (view["money"]["message"], view["enforcement"]["message"], view["health"]["message"])
    return [note for note in map(_note, messages) if note]


def _note(message: MessageView | None) -> str | None:
    text = sentence_of(message)
    return say("note.of_fastgpu", text=text) if text else None
