"""The gate: whether a cell may run now, and what its environment must say.

A :class:`Gate` holds the last known state of this kernel's lease. A daemon thread (:mod:`.follow`) keeps it current
from the pool's event stream, so that an open gate costs a cell one attribute read and no I/O. What the gate promises:

* a cell never waits while the lease is active, also when the pool manager does not answer;
* the process environment is changed only by :meth:`Gate.settle`, which the kernel calls between two cells;
* a lease that ended elsewhere, or was parked while a cell ran, is told to the user once;
* that cells run is noted here (:class:`.use.Use`), and told to the pool by another thread (:mod:`.activity`).

It must not talk to a GPU, and must not end the lease on its own account.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Conflict, FastGPUError, NotFound
from .use import Use

if TYPE_CHECKING:
    from ..wire.client import LeaseOptions, PoolClient
    from ..wire.schemas import LeaseView
    from .caps import Caps

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: In a grant whose memory limit libraries are told.
CAP = "FASTGPU_CAP_BYTES"
#: In a grant of a part of a GPU.
MEMORY = "FASTGPU_MEMORY_BYTES"
#: What is asked for where nobody said anything else.
FULL = "full"
#: States in which a cell has to wait.
HELD = frozenset({"waiting", "preparing", "parking", "parked", "resuming"})
#: States in which the lease serves nobody any more.
OVER = frozenset({"draining", "ended"})
#: States in which the lease's memory is not on a device, and nobody has asked for it back.
PARKED = frozenset({"parking", "parked"})


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
        granted: tuple[str, ...] = (),
    ) -> None:
        #: The one thing that the fast path reads: cells may run.
        self.open = lease_id is None or state not in HELD
        #: :meth:`settle` has something to do; read without the lock, too.
        self.unsettled = False
        self.lease_id = lease_id
        self.view: LeaseView | None = None
        #: This process has, or had, the lease's GPU: there is something to come back for when it is parked.
        self.had_gpu = lease_id is not None and state == "active"
        #: Why the pool could not be reached, while it cannot.
        self.trouble: str | None = None
        #: The user turned the gate off with ``%fastgpu cpu``.
        self.cpu_only = False
        #: A release by this process is under way: its end is no news to the user.
        self._leaving = False
        self._environ = environ
        self._connect = connect
        self._token_file = token_file
        #: A provisioner started this kernel and keeps its lease over a restart.
        self._provisioned = lease_id is not None
        self._kernel_id = kernel_id
        #: What a grant put into the environment; it is taken away with the grant.
        self._granted = {name: environ[name] for name in granted if name in environ}
        #: What the environment has to say before the next cell.
        self._next = dict(self._granted)
        #: What libraries are told of a memory limit; made when there is one for the first time.
        self._caps: Caps | None = None
        #: What libraries were told last: memory, ``None`` for a whole GPU, and those that cannot follow.
        self._told: tuple[str | None, tuple[str, ...]] | None = None
        #: Says something at once, in the output of the cell that runs, from any thread.
        self.speak: Callable[[str], None] | None = None
        self.unsettled = CAP in environ
        self._notes: list[str] = []
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
        #: The cells that run, for the thread that tells the pool.
        self.use = Use()
        #: When the lease was parked under a cell that runs.
        self._lent_at: float | None = None
        #: Set when the follower should look at once: a cell waits, or there is another lease.
        self.wanted = threading.Event()
        self.closed = threading.Event()

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Gate:
        """The gate of a process that a FastGPU provisioner started; an open one elsewhere."""
        env = os.environ if environ is None else environ
        token_file = env.get("FASTGPU_TOKEN_FILE")
        return cls(
            lease_id=env.get("FASTGPU_LEASE") or None,
            state=env.get("FASTGPU_LEASE_STATE", "waiting"),
            token_file=Path(token_file) if token_file else None,
            environ=env,
            connect=_connect,
            kernel_id=env.get("FASTGPU_KERNEL_ID") or None,
            granted=tuple(env.get("FASTGPU_GRANTED", "").split()),
        )

    # ---- for the kernel ------------------------------------------------------------------------------------------

    def hold(self) -> None:
        """A cell begins to wait for the gate: look at once, and tell the pool that it is wanted."""
        self.wanted.set()
        self.use.hurry()

    def explained(self) -> None:
        """The cell that waits says where the GPU is: it need not be said afterwards."""
        with self._lock:
            self._lent_at = None

    def settle(self) -> list[str]:
        """Bring the environment up to date; returns what the user has to be told, once. Call between two cells."""
        with self._lock:
            self.unsettled = False
            for name in self._granted:
                if name not in self._next:
                    self._environ.pop(name, None)
            self._environ.update(self._next)
            self._granted = dict(self._next)
            notes, self._notes = self._notes, []
            if self._caps is None and CAP in self._environ:
                from .caps import Caps  # late, as all that a start can do without

                self._caps = Caps()
            told = self._caps.settle(self._environ) if self._caps else None
            if self._caps is not None:
                self._told = self._environ.get(MEMORY), self._caps.stuck
                self.use.stirred.set()  # the pool may have to know
            return [*notes, told] if told else notes

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener``, from any thread, after each change; returns the function that ends it."""
        with self._lock:
            self._listeners.append(listener)

        def forget() -> None:
            with self._lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return forget

    def leave(self, heir: int | None) -> None:
        """This process is about to end: give the lease to process ``heir`` for a restart, or back to the pool."""
        self.closed.set()
        self.wanted.set()
        self.use.stirred.set()
        # The pool, and a provisioner, do their part without this, only later and with less to say about why.
        with contextlib.suppress(FastGPUError, OSError):
            token = self._token()
            if self.lease_id is None or token is None:
                return
            if heir is None:
                self._quick_client().release(self.lease_id, token)
            elif self._provisioned and heir > 1:
                self._quick_client().bind(self.lease_id, token, heir)

    # ---- for the magics ------------------------------------------------------------------------------------------

    def client(self) -> PoolClient:
        """A client of a pool that answers."""
        return self._connect()

    def refresh(self) -> LeaseView | None:
        """The lease as the pool sees it now; None without one."""
        if self.lease_id is None:
            return None
        view = self._connect().lease(self.lease_id)
        self.take_lease(view)
        return view

    def release(self, *, cpu_only: bool = False) -> LeaseView | None:
        """Give the lease or the place in the queue back; cells run without a GPU from now on."""
        with self._lock:
            lease_id, view = self.lease_id, self.view
            self._leaving = True
        try:
            if lease_id is not None:
                view = self._connect().release(lease_id, self._token())
        except NotFound:
            view = None
        finally:
            self._leaving = False
        with self._lock:
            self.cpu_only = cpu_only
            self.view = view
            self._withdraw()
        self._tell()
        return view

    def request(self, size: str | None = None, options: LeaseOptions | None = None) -> LeaseView:
        """Ask again, for another size if given, else for the last one; who waits already keeps its age.

        Refused while the kernel has a GPU. ``options`` are those of a new lease: one that waits, or is parked, keeps
        its own.
        """
        with self._lock:
            old, live = self.view, self.lease_id is not None
        if live and self.open:
            raise Conflict(
                "This kernel already has a GPU. `%fastgpu resize` changes its size. To get another one, run "
                "`%fastgpu release` first; memory that this process allocated is given back when the kernel restarts."
            )
        if live and options:
            raise Conflict(
                "This kernel already asked for a GPU, and what was asked beside the size cannot be changed. "
                "Run `%fastgpu release` first; that gives the place in the queue up."
            )
        if live and old is not None and old["state"] in PARKED and not size:
            return self.resume()
        if live:
            return self.resize(size or (old["profile"] if old else FULL))
        client = self._connect()
        token = self._token() or self._new_token()
        notebook = old["notebook"] if old else None
        wanted = size or (old["profile"] if old else FULL)
        view = client.request(wanted, None, self._kernel_id, notebook, token=token, options=options)
        with self._lock:
            self.lease_id, self.view, self.cpu_only, self.had_gpu = view["id"], None, False, False
            self.open = False
        self.take_lease(view)
        self.wanted.set()
        return view

    def resize(self, size: str) -> LeaseView:
        """Give the lease, active or waiting, another size; where that cannot be, nothing changes."""
        return self._change(lambda client, lease_id: client.resize(lease_id, size))

    def move(self) -> LeaseView:
        """Leave a GPU that is not well for another one; where that cannot be, nothing changes."""
        return self._change(lambda client, lease_id: client.move(lease_id))

    def park(self) -> LeaseView:
        """Move what this kernel has on its GPU to the host's memory, and give the GPU to others until it is wanted."""

        def park(client: PoolClient, lease_id: str) -> LeaseView:
            # The cell in which this is said is no reason to want the GPU back, and neither are those before it.
            self.use.forget()
            with self.use.saying:
                client.activity(lease_id, self._token(), busy=False)
                return client.park(lease_id)

        return self._change(park)

    def resume(self) -> LeaseView:
        """Want a parked lease back; it waits for a GPU like any other."""
        return self._change(lambda client, lease_id: client.resume(lease_id))

    def pin(self, *, pinned: bool) -> LeaseView:
        """Keep the GPU although idle, or let others have it meanwhile."""
        return self._change(lambda client, lease_id: client.pin(lease_id, pinned=pinned))

    def _change(self, change: Callable[[PoolClient, str], LeaseView]) -> LeaseView:
        lease_id = self.lease_id
        if lease_id is None:
            raise Conflict("This kernel has no GPU lease. `%fastgpu request` asks for one.")
        view = change(self._connect(), lease_id)
        self.take_lease(view)
        return view

    # ---- for the follower ----------------------------------------------------------------------------------------

    def take(self, message: dict[str, Any]) -> None:
        """One message of the pool's event stream."""
        for view in message.get("leases", ()):
            if view.get("id") == self.lease_id:
                if message["type"] == "usage":
                    self._take_usage(view)
                else:
                    self.take_lease(view, fresh=message["type"] == "snapshot")
        for ticket in message.get("queue", ()):
            if ticket.get("lease_id") == self.lease_id:
                self._take_place(ticket)

    def take_lease(self, view: LeaseView, *, fresh: bool = False) -> None:
        """The lease changed; a version older than the known one is ignored, but for a ``fresh`` snapshot."""
        with self._lock:
            self.trouble = None
            if view["id"] != self.lease_id:
                return
            if self.view is not None and view["version"] < self.view["version"] and not fresh:
                return
            self._hear(view)
            self.view = view
            if self._leaving:
                return  # release() draws the conclusions
            if view["state"] == "active":
                self._admit(view["environment"])
            elif view["state"] in OVER:
                self._end(view["end_reason"], view["pending_detail"])
            else:
                self._shut()
        self._tell()

    def take_trouble(self, sentence: str) -> None:
        """The pool cannot be reached. An open gate stays open."""
        with self._lock:
            if self.trouble == sentence:
                return
            self.trouble = sentence
        self._tell()

    def forget_lease(self) -> None:
        """The pool does not know the lease."""
        with self._lock:
            self._end("unknown")
        self._tell()

    # ---- inside --------------------------------------------------------------------------------------------------

    def _admit(self, environment: dict[str, str]) -> None:
        # The same grant again changes nothing: the user may have set the variables since.
        if environment != self._next:
            self._next = dict(environment)
            self.unsettled = True
        if self._lent_at is not None:
            self._say_lent(time.monotonic() - self._lent_at)
        self.open = self.had_gpu = True

    def _shut(self) -> None:
        if self.open and self.use.running:
            self._lent_at = time.monotonic()
        self.open = False

    def _hear(self, view: LeaseView) -> None:
        """A budget has come nearer to its end, a limit was passed, a fault is told: the user learns it, once."""
        for name in ("budget_message", "limit_message", "fault_message"):
            told = view.get(name)
            if told and (self.view is None or told != self.view.get(name)):
                if self.speak is not None and self.use.running:
                    self.speak(f"FastGPU: {told}")  # the cell may stand still, and not end by itself
                    continue
                self._notes.append(f"FastGPU: {told}")
                self.unsettled = True

    def _say_lent(self, away_s: float) -> None:
        from .sentences import lent  # late, as all that a start can do without

        self._notes.append(lent(self.view["park_reason"] if self.view else None, away_s))
        self._lent_at, self.unsettled = None, True

    def _end(self, reason: str | None, detail: str | None = None) -> None:
        if self.lease_id is None:
            return
        from .sentences import ended  # late, as all that a start can do without

        self._notes.append(ended(reason, detail))
        self._withdraw()

    def _withdraw(self) -> None:
        self.lease_id, self._lent_at = None, None
        self._next = {VISIBLE: ""}
        self.unsettled = True
        self.open = True

    def _take_usage(self, usage: dict[str, Any]) -> None:
        with self._lock:
            if self.view is not None:
                self.view.update({name: usage[name] for name in usage if name in self.view})  # type: ignore[typeddict-item]

    def _take_place(self, ticket: dict[str, Any]) -> None:
        with self._lock:
            if self.view is None or self.open:
                return
            place = {"place": ticket["place"], "pending_reason": ticket["reason"], "pending_detail": ticket["detail"]}
            self.view.update(place)  # type: ignore[typeddict-item]
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def say(self, *, busy: bool) -> None:
        """Tell the pool that cells run, or run no more; raises its errors. Starts no pool."""
        with self.use.saying:
            lease_id = self.lease_id
            if busy and not (self.use.running or self.use.began):
                return  # the user has parked it meanwhile
            view = self._quick_client().activity(lease_id, self._token(), busy=busy) if lease_id else None
        if view is not None:
            self.take_lease(view)

    @property
    def has_unreported_resize(self) -> bool:
        """Whether the pool must be told which libraries keep to the size of the lease, and which cannot."""
        view, told = self.view, self._told
        if view is None or told is None or view["id"] != self.lease_id or view["state"] != "active":
            return False
        applied = view.get("size_applied")
        known = applied == "applied" if not told[1] else applied == "needs_restart"
        return not known and view["environment"].get(MEMORY) == told[0]

    def say_libraries(self) -> None:
        """Tell it; raises its errors."""
        lease_id, told = self.lease_id, self._told
        if lease_id is not None and told is not None:
            memory_bytes = None if told[0] is None else int(told[0])
            self.take_lease(self._quick_client().libraries(lease_id, self._token(), memory_bytes, told[1]))

    def _token(self) -> str | None:
        try:
            return self._token_file.read_text().strip() if self._token_file else None
        except FileNotFoundError:
            return None

    def _new_token(self) -> str:
        from ..wire.client import new_token

        token = new_token()
        if self._token_file is None:
            return token  # not started by a provisioner: the lease ends with this process, nobody else needs it
        # The provisioner releases and hands over with the same file, so the next lease must have the token in it.
        with os.fdopen(os.open(self._token_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(token)
        return token

    def _quick_client(self) -> PoolClient:
        from ..wire.client import PoolClient
        from ..wire.locate import pool_socket

        return PoolClient(pool_socket(), timeout_s=2.0)


def _connect() -> PoolClient:
    # Imported late: the first cell of a granted kernel needs no client.
    from ..wire.spawn import ensure_pool

    return ensure_pool()
