"""What the widgets of one kernel share: the thread that keeps them current, and the messages that they send.

The values come from the gate, which the follower of the lease keeps current. While a cell runs, the
tables of the widgets are updated by ``update_display_data`` at most every :data:`UPDATE_S` seconds, with the running
cell as its parent, and once more when the cell ends. While no cell runs nothing is sent, because a Jupyter server takes
any message of a kernel for activity of its user.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...errors import Conflict, Message
from ..gate import Gate
from .facts import facts_of
from .requests import WidgetRequests
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .gpu_widget import GPUWidget
    from .progress import LeaseProgress

#: Seconds between two updates of a table, in the first minute of a cell and later.
UPDATE_S = 2.0
UPDATE_LATER_S = 5.0
FREQUENT_FOR_S = 60.0
#: How many tables are updated: those that were displayed last.
SNAPSHOTS_MAX = 20

#: Send an output message of a kind with its content, as one of the cell that runs; callable from any thread.
Publish = Callable[[str, dict[str, Any]], None]


class KernelWidgets:
    """The widgets of one kernel. Safe to use from several threads."""

    def __init__(self, gate: Gate, publish: Publish, *, kernel_id: str | None, gated: bool) -> None:
        self.gate = gate
        self.kernel_id = kernel_id
        #: Whether cells of this kernel wait for a lease.
        self.gated = gated
        self.requests = WidgetRequests(self)
        self._publish = publish
        self._widgets: dict[str, GPUWidget] = {}
        self._snapshots: deque[Snapshot] = deque(maxlen=SNAPSHOTS_MAX)
        self._lines: list[LeaseProgress] = []
        self._changed = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    # ---- widgets -------------------------------------------------------------------------------------------------

    def add(self, widget: GPUWidget) -> None:
        """Keep ``widget`` current from now on."""
        with self._lock:
            self._widgets[widget.model_id] = widget
            self._start()

    def remove(self, model_id: str) -> None:
        """Forget a widget that was closed."""
        with self._lock:
            self._widgets.pop(model_id, None)

    def widget(self, model_id: str) -> GPUWidget | None:
        """Return the widget with that comm; None where it is none of these."""
        return self._widgets.get(model_id)

    def widgets(self) -> list[GPUWidget]:
        """Return the widgets that are not closed."""
        with self._lock:
            return list(self._widgets.values())

    def new_snapshot(self) -> Snapshot:
        """Return a table of the lease that is kept current while cells run."""
        snapshot = Snapshot(self.gate, gated=self.gated)
        with self._lock:
            self._snapshots.append(snapshot)
        return snapshot

    def add_line(self, line: LeaseProgress) -> None:
        """Keep a line of a cell's output current with each change of the lease."""
        with self._lock:
            self._lines.append(line)
            self._start()

    def remove_line(self, line: LeaseProgress) -> None:
        """Leave the line as it is."""
        with self._lock:
            self._lines.remove(line)

    # ---- for the kernel ------------------------------------------------------------------------------------------

    def take(self, content: dict[str, Any]) -> bool:
        """Serve the content of a ``comm_msg`` if it is a request of one of these widgets; return whether it is.

        Called in the thread that reads the shell channel.
        """
        widget, data = self._widgets.get(content.get("comm_id", "")), content.get("data")
        if widget is None or not isinstance(data, dict) or data.get("method") != "custom":
            return False
        return self.requests.submit(widget, data.get("content"))

    def end_cell(self, _result: object = None) -> None:
        """Show the lease as it is at the end of a cell."""
        self._update(self._snapshots)

    # ---- the thread ----------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Give the widgets the values of now."""
        facts = facts_of(self.gate, time.time_ns() // 1_000_000)
        for widget in self.widgets():
            widget.show(facts)

    def _start(self) -> None:
        """Start the thread, once; the lock is held."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="fastgpu-widgets", daemon=True)
            self.gate.add_listener(self._changed.set, readings=True)
            self._thread.start()

    def _run(self) -> None:
        pause_s: float | None = None
        began_at, updated_at = None, 0.0
        while not self.gate.closed.is_set():
            self._changed.wait(pause_s)
            self._changed.clear()
            self.refresh()
            self._update(self._lines)
            activity, now, pause_s = self.gate.activity, time.monotonic(), None
            if not (activity.running or activity.uncounted):
                began_at = None
                continue
            began_at = now if began_at is None else began_at
            every_s = UPDATE_S if now - began_at < FREQUENT_FOR_S else UPDATE_LATER_S
            if now - updated_at >= every_s:
                self._update(self._snapshots)
                updated_at = now
            else:
                pause_s = updated_at + every_s - now

    def _update(self, shown: Iterable[Snapshot | LeaseProgress]) -> None:
        with self._lock:
            for one in shown:
                content = one.content()
                if content is not None:
                    with suppress(OSError):  # the socket is closed, because the kernel ends
                        self._publish("update_display_data", content)


def current_widgets() -> KernelWidgets:
    """Return what the widgets of this kernel share. Raises :class:`Conflict` where there is no kernel."""
    from IPython import get_ipython

    shell = get_ipython()
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        raise Conflict(Message.of("widget.no_kernel"))
    kernel_widgets = getattr(kernel, "widgets", None)
    if not isinstance(kernel_widgets, KernelWidgets):
        kernel_widgets = kernel.widgets = _new_widgets(kernel)
        shell.events.register("post_run_cell", kernel_widgets.end_cell)
    return kernel_widgets


def _new_widgets(kernel: Any) -> KernelWidgets:
    from ...compat.ipykernel import iopub_topic

    def publish(kind: str, content: dict[str, Any]) -> None:
        # In another thread, the parent of a message would be the request that the thread was started by.
        parent, topic = kernel.get_parent("shell"), iopub_topic(kernel, kind)
        kernel.session.send(kernel.iopub_socket, kind, content, parent=parent, ident=topic)

    gate = getattr(kernel, "gate", None)
    if isinstance(gate, Gate):
        return KernelWidgets(gate, publish, kernel_id=gate.kernel_id, gated=True)
    return KernelWidgets(Gate.of_kernel_without_gate(), publish, kernel_id=None, gated=False)
