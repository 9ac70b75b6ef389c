"""The thread that notices the end of the process that started the kernel: its Jupyter server, in most cases.

A kernel that is not kept ends with its server, as ipykernel's do, here also behind a wrapper such as ``conda run`` or a
shell. A kernel that is kept (:mod:`..wire.kept_kernels`) goes on without a server until another one adopts it or its
time is over (:mod:`.orphan`). The server is observed by a pidfd, so that the thread sleeps while it lives.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages import say
from ..wire import variables
from ..wire.host_identity import running_system
from ..wire.process_identity import ProcessIdentity, identify, is_readable, write_own_identity
from .lease_client import IMPORT_ERRORS

if TYPE_CHECKING:
    from .orphan import Orphan
    from .output_buffer import OutputBuffer

#: The pause between two looks at a process that cannot be observed at the moment.
UNOBSERVABLE_PAUSE_S = 1.0
ANCESTORS_MAX = 64
#: When a kernel that is kept prepares for the end of its server: after its start, which does not wait for it.
PREPARE_AFTER_S = 1.5


class Keep(NamedTuple):
    """What a kernel that may outlive its server was started with."""

    orphan_after_s: float
    record: Path | None  #: beside it, the kernel writes which process it is


def start(app: Any) -> bool:
    """Make ``app.poller`` the thread that watches the server; False where ipykernel's own must be used.

    The variables of a kept kernel must be in the environment, and standard output and error still be those that the
    process was started with.
    """
    if not app.parent_handle or app.parent_handle == 1:
        return False
    keep = _keep_from(os.environ)
    try:
        server = _recorded_server(keep) or _ancestor(app.parent_handle)
        if server is None:
            return False
        app.poller = ParentWatch(app, server, keep)
    except OSError:
        return False
    if keep is not None:
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            # The terminal of the server may be closed. Not SIG_IGN, which the processes of cells would inherit.
            signal.signal(signal.SIGHUP, _ignore)
        if keep.record is not None:
            with suppress(OSError):
                write_own_identity(keep.record.with_suffix(".pid"))
    return True


class ParentWatch(threading.Thread):
    """Watches one server after the other. Raises :class:`OSError` where the first cannot be observed."""

    def __init__(self, app: Any, server: ProcessIdentity, keep: Keep | None) -> None:
        super().__init__(name="fastgpu-parent", daemon=True)
        self.server = server
        self._app = app
        self._keep = keep
        self._pidfd = _open(server)
        self._adopted = threading.Event()
        self._lock = threading.Lock()
        self._orphan: Orphan | None = None
        #: What the process was started with, before ipykernel captures it.
        self._streams = tuple(_stream_of(descriptor) for descriptor in range(3))

    def start(self) -> None:
        """Start the thread; from now on a kept kernel answers the messages of a server that adopts it."""
        if not hasattr(self.kernel, "gate"):
            self._keep = None  # the configuration names another kernel, which cannot be kept
        if self._keep is not None:
            for name in ("fastgpu_server_request", "fastgpu_keep_request", "fastgpu_deliver_request"):
                self.kernel.control_handlers[name] = self._handler(name)
        super().start()

    def run(self) -> None:
        """Wait for the end of the server, and of each that adopts the kernel."""
        if self._keep is not None and not is_readable(self._pidfd, PREPARE_AFTER_S):
            with suppress(*IMPORT_ERRORS):
                self.orphan()  # so that little output is lost between the server's end and its being noticed
        while True:
            self._wait_for_end()
            if self._keep is None:
                self._app.log.warning(say("kept.not"))
                os._exit(1)
            self._wait_for_adoption(self._keep)

    def orphan(self) -> Orphan:
        """Return what the kernel does without a server; the same object from the first call on."""
        from .orphan import Orphan

        with self._lock:
            if self._orphan is None:
                assert self._keep is not None
                self._orphan = Orphan(self.kernel, self._keep.record, self._streams)
            return self._orphan

    @property
    def kernel(self) -> Any:
        """Return the kernel of this process."""
        return self._app.kernel

    @property
    def is_orphaned(self) -> bool:
        """Whether the server has ended; False where that is not known."""
        with suppress(OSError):
            return self.server.has_ended()
        return False

    @property
    def output(self) -> OutputBuffer:
        """Return what keeps the output while there is no server."""
        return self.orphan().output

    @property
    def retention(self) -> str | None:
        """Return the retention that the lease has with a server; None where it is not known."""
        return self.orphan().lease.retention

    def accept(self, content: Mapping[str, Any]) -> str | None:
        """Watch the server in ``content`` from now on; refuse one that has ended, and any while another one lives."""
        try:
            given = content["server"]
            server = ProcessIdentity(str(given["boot_id"]), int(given["pid"]), int(given["start_time"]))
            if server.has_ended():
                return "UnknownServer"
        except (KeyError, TypeError, ValueError, OSError):
            return "UnknownServer"
        if server != self.server:
            try:
                ended = self.server.has_ended()
            except OSError:
                ended = False  # not known
            if not ended:
                return "ServerAlive"
            try:
                self.adopt(server)
            except OSError:
                return "UnknownServer"
        self.orphan().accept(server)
        return None

    def adopt(self, server: ProcessIdentity) -> None:
        """Watch ``server`` from now on. Raises :class:`OSError` if it cannot be observed."""
        pidfd = _open(server)
        with self._lock:
            old, self._pidfd, self.server = self._pidfd, pidfd, server
            # For what asks for the managing process, such as do_shutdown and packages of the user.
            os.environ["JPY_PARENT_PID"] = str(server.pid)
            self._adopted.set()
        os.close(old)

    def _wait_for_end(self) -> None:
        """Return when the server has ended; meanwhile do what was not finished when it adopted the kernel."""
        while not self.is_orphaned:
            pause_s = None if self._orphan is None else self._orphan.step()
            before = time.monotonic()
            if is_readable(self._pidfd, pause_s) and not self.is_orphaned:
                # Not the server's descriptor any more, or its end is not known yet.
                time.sleep(max(0.0, before + UNOBSERVABLE_PAUSE_S - time.monotonic()))

    def _wait_for_adoption(self, keep: Keep) -> None:
        with self._lock:
            if not self.is_orphaned:
                return  # adopted before this thread noticed the end
            self._adopted.clear()
        try:
            orphan = self.orphan()
            orphan.begin(keep.orphan_after_s)
        except IMPORT_ERRORS:  # the package was upgraded before what this needs was loaded
            self._app.log.exception(say("kept.upgraded"))
            os._exit(1)
        deadline_s = time.monotonic() + keep.orphan_after_s
        while not self._adopted.is_set():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                orphan.end_kernel()
            pause_s = orphan.step()
            self._adopted.wait(left_s if pause_s is None else min(left_s, pause_s))
        orphan.adopted()

    def _handler(self, name: str) -> Callable[..., Any]:
        def handle(stream: Any, ident: Any, parent: Any) -> None:
            from . import server_link

            server_link.answer(self, name, stream, ident, parent)

        return handle


def _keep_from(environ: Any) -> Keep | None:
    """Return how the kernel is kept; None for one that ends with its server."""
    if not environ.get(variables.KEEP):
        return None
    record = environ.get(variables.KEPT)
    if record and Path(record).parent.parent.name != running_system():
        return None  # in a container, which does not see the server's process
    try:
        after_s = float(environ.get(variables.ORPHAN_AFTER_S, ""))
    except ValueError:
        return None
    return Keep(after_s, Path(record) if record else None)


def _recorded_server(keep: Keep | None) -> ProcessIdentity | None:
    """Return the server that the record names, which may have ended already; None without a record."""
    if keep is None or keep.record is None:
        return None
    try:
        server = json.loads(keep.record.read_bytes())["server"]
        return ProcessIdentity(str(server["boot_id"]), int(server["pid"]), int(server["start_time"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _ancestor(pid: int) -> ProcessIdentity | None:
    """Return process ``pid`` if this one descends from it: its number may be one of another PID namespace."""
    ancestor = os.getppid()
    for _ in range(ANCESTORS_MAX):
        if ancestor == pid:
            return identify(pid)
        if ancestor <= 1:
            return None
        with suppress(OSError, ValueError, IndexError):
            stat = Path(f"/proc/{ancestor}/stat").read_text(errors="replace")
            ancestor = int(stat.rpartition(")")[2].split()[1])
            continue
        return None
    return None


def _open(server: ProcessIdentity) -> int:
    """Return a descriptor that is readable once ``server`` has ended."""
    try:
        return os.pidfd_open(server.pid)
    except ProcessLookupError:
        read, write = os.pipe2(os.O_CLOEXEC)
        os.close(write)  # at its end, like the pidfd of a process that has ended
        return read


def _stream_of(descriptor: int) -> tuple[int, int] | None:
    """Return what identifies an open file; None for a closed one."""
    with suppress(OSError):
        found = os.fstat(descriptor)
        return found.st_dev, found.st_ino
    return None


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """Handle SIGHUP of a kernel that is kept."""
