"""The gate: whether a cell may run now, and what its environment must say.

A :class:`Gate` holds the last known state of this kernel's lease. A daemon thread (:mod:`.follow`) keeps it current
from the pool's event stream, so that an open gate costs a cell one attribute read and no I/O. What the gate promises:

* a cell never waits while the lease is active, also when the pool manager does not answer;
* the process environment is changed only by :meth:`Gate.settle`, which the kernel calls between two cells;
* a lease that ended elsewhere is told to the user once, and cells go on without a GPU.

It must not talk to a GPU, and must not end the lease on its own account.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Conflict, FastGPUError, NotFound

if TYPE_CHECKING:
    from ..wire.client import PoolClient
    from ..wire.views import LeaseView

VISIBLE = "CUDA_VISIBLE_DEVICES"
#: What is asked for where nobody said anything else.
FULL = "full"
#: States in which a cell has to wait.
HELD = frozenset({"waiting", "preparing", "parking", "parked", "resuming"})
#: States in which the lease serves nobody any more.
OVER = frozenset({"draining", "ended"})

_ENDED = {
    "released": "was released",
    "cancelled": "was cancelled",
    "revoked": "was taken back by an administrator of the pool",
    "device_lost": "ended because its GPU failed",
    "prepare_failed": "ended because its GPU could not be prepared",
    "holder_died": "ended because the pool took this kernel for dead",
    "unknown": "is unknown to the pool manager",
}


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
        self._notes: list[str] = []
        self._lock = threading.RLock()
        self._listeners: list[Callable[[], None]] = []
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
            return notes

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

    def request(self, size: str | None = None) -> LeaseView:
        """Ask again, for another size if given, else for the last one; who waits already keeps its age.

        Refused while the kernel has a GPU.
        """
        with self._lock:
            old, live = self.view, self.lease_id is not None
        if live and self.open:
            raise Conflict(
                "This kernel already has a GPU. `%fastgpu resize` changes its size. To get another one, run "
                "`%fastgpu release` first; memory that this process allocated is given back when the kernel restarts."
            )
        if live:
            return self.resize(size or (old["profile"] if old else FULL))
        client = self._connect()
        token = self._token() or self._new_token()
        notebook = old["notebook"] if old else None
        wanted = size or (old["profile"] if old else FULL)
        view = client.request(wanted, None, self._kernel_id, notebook, token=token)
        with self._lock:
            self.lease_id, self.view, self.cpu_only = view["id"], None, False
            self.open = False
        self.take_lease(view)
        self.wanted.set()
        return view

    def resize(self, size: str) -> LeaseView:
        """Give the lease, active or waiting, another size; where that cannot be, nothing changes."""
        if self.lease_id is None:
            raise Conflict("This kernel has no GPU lease. `%fastgpu request` asks for one.")
        view = self._connect().resize(self.lease_id, size)
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
            self.view = view
            if self._leaving:
                return  # release() draws the conclusions
            if view["state"] == "active":
                self._admit(view["environment"])
            elif view["state"] in OVER:
                self._end(view["end_reason"])
            else:
                self.open = False
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
        self.open = True

    def _end(self, reason: str | None) -> None:
        if self.lease_id is None:
            return
        said = _ENDED.get(reason or "", "ended")
        self._notes.append(
            f"FastGPU: the GPU lease of this kernel {said}. "
            "Cells run without a GPU; `%fastgpu request` asks for one again."
        )
        self._withdraw()

    def _withdraw(self) -> None:
        self.lease_id = None
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
