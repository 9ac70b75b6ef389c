"""The widget that a notebook shows: ``from fastgpu_jupyter import GPUWidget; GPUWidget()`` or ``%fastgpu widget``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from IPython import display

from ...messages import language, say
from ..lease_commands import LeaseCommands
from .facts import LeaseFacts
from .kernel_widgets import current_widgets
from .state import asked_state
from .translations import translations_for

if TYPE_CHECKING:
    from ...wire.schemas import LeaseView

STATIC = Path(__file__).parent / "static"
_publish: Any = display.publish_display_data  # it carries no types
VIEW = "application/vnd.jupyter.widget-view+json"
#: What a source tree shows whose front end was not built.
NOT_BUILT = "export default { render({ el }) { el.textContent = %r; } };"


def _built(name: str, otherwise: str) -> str:
    """Return a file that the front end's build makes; ``otherwise`` where it was not built."""
    try:
        return (STATIC / name).read_text(encoding="utf-8")
    except FileNotFoundError:
        return otherwise


class GPUWidget(anywidget.AnyWidget):
    """The GPU lease of this kernel, with a chart, the sizes to choose from, and buttons.

    The traits below follow the lease, also while a cell runs. They are read-only: :meth:`resize` and the other methods
    change the lease. A function that observes a trait is called in a background thread, and must not block::

        widget = GPUWidget()
        widget.observe(lambda change: print(change.new), "state")

    A value is None where it is not known: without a lease, before the first answer of the pool manager, and readings
    while it does not answer. Several widgets of one kernel show the same.

    Raises :class:`~fastgpu_jupyter.errors.Conflict` where it is not made in the kernel of a notebook.
    """

    #: The state of the lease, as in ``waiting``, ``active``, ``parked`` or ``ended``.
    state = traitlets.Unicode(None, allow_none=True, read_only=True)
    #: The size that was requested, as the user wrote it.
    size = traitlets.Unicode(None, allow_none=True, read_only=True)
    #: The position in the queue; None unless the lease waits.
    position = traitlets.Int(None, allow_none=True, read_only=True)
    #: Device memory in use, in bytes.
    memory_bytes = traitlets.Int(None, allow_none=True, read_only=True)
    #: The most device memory that the lease may use, in bytes.
    memory_limit_bytes = traitlets.Int(None, allow_none=True, read_only=True)
    #: Utilization of the logical GPU, in percent.
    utilization = traitlets.Int(None, allow_none=True, read_only=True)
    #: The cost of the lease so far, in units of ``currency``.
    cost = traitlets.Float(None, allow_none=True, read_only=True)
    #: What the lease costs now, in units of ``currency`` for an hour.
    cost_per_hour = traitlets.Float(None, allow_none=True, read_only=True)
    #: The currency of the pool, as in ``USD``.
    currency = traitlets.Unicode(None, allow_none=True, read_only=True)
    #: Why the pool manager cannot be asked, as a sentence; None while it answers.
    problem = traitlets.Unicode(None, allow_none=True, read_only=True)
    #: The host of the cluster on which the kernel runs; None on this machine.
    host = traitlets.Unicode(None, allow_none=True, read_only=True)
    #: When the cluster ends the kernel, in milliseconds since 1970; None where nothing does, or that is unknown.
    ends_at = traitlets.Int(None, allow_none=True, read_only=True)

    #: What the module in the browser begins with.
    _initial = traitlets.Dict().tag(sync=True)

    def __init__(self) -> None:
        self._esm = _built("widget.js", NOT_BUILT % say("widget.not_built"))
        self._css = _built("widget.css", "")
        self._kernel_widgets = current_widgets()
        self._commands = LeaseCommands(self._kernel_widgets.gate)
        initial = {
            "kernel_id": self._kernel_widgets.kernel_id,
            "gated": self._kernel_widgets.gated,
            "language": None if language.current() == language.ENGLISH else language.current().replace("_", "-"),
            "translations": translations_for(self._esm, language.current()),
            **asked_state(self._kernel_widgets),
        }
        super().__init__(_initial=initial)
        self.on_msg(lambda _widget, content, _buffers: self._kernel_widgets.requests.submit(self, content))
        self._kernel_widgets.add(self)
        self._kernel_widgets.refresh()

    # ---- what the user can do ------------------------------------------------------------------------------------

    def resize(self, size: str) -> None:
        """Change the size of the lease, active or waiting, to ``size``, as in ``half`` or ``24GiB``.

        Raises a :class:`~fastgpu_jupyter.errors.FastGPUError` where the pool manager refuses; nothing changes then.
        """
        self._changed(self._commands.resize(size))

    def park(self) -> None:
        """Move the GPU memory of this kernel to host memory and free the GPU until the next cell. Raises as resize."""
        self._changed(self._commands.park())

    def resume(self) -> None:
        """Ask for the GPU of a parked lease again. Raises as resize."""
        self._changed(self._commands.resume())

    def pin(self, *, pinned: bool = True) -> None:
        """Keep the GPU while no cell runs, or, with ``pinned`` false, let others have it then. Raises as resize."""
        self._changed(self._commands.pin(pinned=pinned))

    def release(self) -> None:
        """Release the lease or leave the queue, without asking; cells run without a GPU then. Raises as resize."""
        self._changed(self._commands.release())

    def _changed(self, _view: LeaseView | None) -> None:
        self._kernel_widgets.refresh()

    # ---- called by KernelWidgets ------------------------------------------------------------------------------------

    def show(self, facts: LeaseFacts) -> None:
        """Set the traits; an observer that fails is reported as the kernel reports errors of callbacks."""
        for name, value in facts._asdict().items():
            if getattr(self, name) != value:
                try:
                    self.set_trait(name, value)
                except Exception:  # noqa: BLE001 (an observer of the user)
                    self._report_observer()

    def _report_observer(self) -> None:
        from IPython import get_ipython

        shell = get_ipython()
        if shell is not None:
            shell.showtraceback()

    def close(self) -> None:
        """Remove the widget from the page and from the kernel."""
        if self.comm is not None:
            self._kernel_widgets.remove(self.model_id)
        super().close()

    # ---- display -------------------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **_kwargs: Any) -> Any:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        return {VIEW: view, "text/plain": say("widget.view")}, {}

    def _ipython_display_(self) -> None:
        """Display the module, and below it the table that stays where there is no kernel."""
        data, metadata = self._repr_mimebundle_()
        _publish(data, metadata)
        content = self._kernel_widgets.new_snapshot().content()
        if content is not None:
            _publish(content["data"], content["metadata"], transient=content["transient"])
