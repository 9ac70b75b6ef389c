"""The ``%fastgpu`` line magic: show, release, ask again, park and resume, pin and unpin, or do without.

The verbs are a table (:data:`VERBS`); an unknown one is a usage error that lists them. Magics run between cells, in
the main thread, and may block for as long as one call to the pool manager takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from ..errors import FastGPUError
from .gate import PARKED, Gate

if TYPE_CHECKING:
    from .cost import Cells
    from .render import Shown

_NO_LEASE = "This kernel has no GPU lease. `%fastgpu request` asks for one."
_NOT_HERE = (
    "This kernel was not started as a FastGPU kernel, so it has no GPU lease. "
    "Choose a kernel named FastGPU for the notebook; `%fastgpu status` shows the pool from here."
)


class Verbs:
    """What each verb does with the gate; each returns what to show."""

    def __init__(self, gate: Gate, *, gated: bool, cells: Cells | None = None) -> None:
        self.gate = gate
        self.gated = gated
        self.cells = cells

    def show(self, _words: list[str]) -> Shown:
        """Show this kernel's lease: state, device, memory, utilization, time and cost."""
        from . import render

        if self.gate.lease_id is None and self.gate.view is None:
            return render.sentence(_NO_LEASE if self.gated else _NOT_HERE)
        view = self.gate.refresh() or self.gate.view
        assert view is not None
        return render.lease(view)

    def release(self, _words: list[str]) -> Shown:
        """Give the GPU, or the place in the queue, back."""
        from . import render

        if self.gate.lease_id is None:
            return render.sentence("This kernel has no GPU lease; there is nothing to release.")
        state = self.gate.view["state"] if self.gate.view else ""
        had_gpu = self.gate.open
        self.gate.release()
        if state in PARKED:
            return render.sentence(
                "Released. What this kernel had on its GPU is lost; restart the kernel before it uses a GPU again. "
                "Its other variables are kept."
            )
        if not had_gpu:
            return render.sentence("Left the queue. Cells run without a GPU; `%fastgpu request` asks for one again.")
        return render.sentence(
            "Released the GPU. Memory that this process already allocated on it stays allocated until the kernel "
            "restarts. Cells run without a GPU; `%fastgpu request` asks for one again."
        )

    def cpu(self, _words: list[str]) -> Shown:
        """Work without a GPU: give the lease or the place in the queue back and never wait."""
        from . import render

        self.gate.release(cpu_only=True)
        return render.sentence(
            "Cells run without a GPU from now on. `%fastgpu request` asks for one again, "
            "and so does a restart of the kernel."
        )

    def request(self, words: list[str]) -> Shown:
        """Ask for a GPU again; SIZE is like half, 24GiB, a100:1/2 or 2xh100, OPTIONS are listed below."""
        from ..wire.options import read_words
        from . import render

        if not self.gated:
            return render.sentence(_NOT_HERE)
        view = self.gate.request(*read_words(words))
        hint = (
            "If a library already looked for a GPU in this kernel, restart the kernel so that it sees this one."
            if view["state"] == "active"
            else "The next cell waits for it."
        )
        return render.with_hint(render.lease(view), hint)

    def resize(self, words: list[str]) -> Shown:
        """Change the size of this kernel's lease while it goes on."""
        from . import render

        if not words:
            raise UsageError("Say the new size, like `%fastgpu resize half` or `%fastgpu resize 24GiB`.")
        view = self.gate.resize(" ".join(words))
        hint = view["pending_detail"] if view["state"] == "waiting" else None
        return render.with_hint(render.lease(view), f"It waits to come back: {hint}") if hint else render.lease(view)

    def move(self, _words: list[str]) -> Shown:
        """Leave a GPU that is not well for another one; where its memory cannot move, with the next restart."""
        from . import render

        view = self.gate.move()
        if view.get("move") == "accepted":
            return render.sentence(
                "This lease goes to another GPU when the kernel is restarted. Save what you need first: what this "
                "kernel has on its GPU is lost with the restart. Until then nothing changes."
            )
        return render.with_hint(render.lease(view), "It goes to another GPU with everything that is on this one.")

    def cost(self, _words: list[str]) -> Shown:
        """Show what the last cells of this kernel cost, and the lease so far."""
        from . import cost, render

        if self.cells is None:
            return render.sentence(_NOT_HERE)
        view = self.gate.refresh() or self.gate.view if self.gate.lease_id is not None else self.gate.view
        known = cost.Known.of(view)
        if not len(self.cells):
            return render.sentence("No cell has run yet.")
        shown = render.cells(cost.rows(self.cells.last(), known))
        return shown if view is None else render.with_hint(shown, cost.so_far(view))

    def park(self, _words: list[str]) -> Shown:
        """Give the GPU to others until the next cell; its memory and all variables are kept."""
        from . import render

        view = self.gate.park()
        said = "parked" if view["state"] == "parked" else "being parked"
        return render.sentence(
            f"The GPU of this kernel is {said}. Its variables, and what they have on the GPU, are kept; nothing is "
            "billed meanwhile. The next cell, or `%fastgpu resume`, asks for a GPU again."
        )

    def resume(self, _words: list[str]) -> Shown:
        """Ask for the GPU back without running a cell."""
        from . import render

        view = self.gate.resume()
        hint = "" if view["state"] == "active" else "The next cell waits for it."
        return render.with_hint(render.lease(view), hint) if hint else render.lease(view)

    def pin(self, _words: list[str]) -> Shown:
        """Keep the GPU although no cell runs: it is never parked for others, and billed all the time."""
        from . import render

        self.gate.pin(pinned=True)
        return render.sentence(
            "Pinned: this kernel keeps its GPU although no cell runs, and pays for it. `%fastgpu unpin` lets others "
            "have it meanwhile."
        )

    def unpin(self, _words: list[str]) -> Shown:
        """Let others have the GPU while no cell runs."""
        from . import render

        self.gate.pin(pinned=False)
        return render.sentence("Not pinned: while no cell runs and somebody waits, the GPU may be parked.")

    def status(self, _words: list[str]) -> Shown:
        """Show the whole pool: devices, your leases and the queue."""
        from . import render

        return render.status(self.gate.client().status())

    def help(self, _words: list[str]) -> Shown:
        """Show this list."""
        from . import render

        return render.sentence(usage())


#: verb -> (arguments, what it does). The empty verb is plain ``%fastgpu``.
VERBS: dict[str, tuple[str, Callable[[Verbs, list[str]], Shown]]] = {
    "": ("", Verbs.show),
    "release": ("", Verbs.release),
    "cpu": ("", Verbs.cpu),
    "request": ("[SIZE] [OPTIONS]", Verbs.request),
    "resize": ("SIZE", Verbs.resize),
    "move": ("", Verbs.move),
    "cost": ("", Verbs.cost),
    "park": ("", Verbs.park),
    "resume": ("", Verbs.resume),
    "pin": ("", Verbs.pin),
    "unpin": ("", Verbs.unpin),
    "status": ("", Verbs.status),
    "help": ("", Verbs.help),
}


def usage() -> str:
    """The verbs, one a line, and the options of a request."""
    from ..wire.options import usage as options

    rows = []
    for verb, (arguments, function) in VERBS.items():
        call = " ".join(part for part in ("%fastgpu", verb, arguments) if part)
        rows.append(f"{call:<36}{(function.__doc__ or '').strip()}")
    rows.append(f"OPTIONS: {options()}; --no-parkable, --no-hold")
    return "\n".join(rows)


def run(verbs: Verbs, line: str) -> Shown:
    """Do what ``line`` says; raises :class:`UsageError`, with a sentence, where it cannot be done."""
    words = line.split()
    verb = words[0].lower() if words else ""
    entry = VERBS.get(verb)
    if entry is None:
        raise UsageError(f"%fastgpu has no verb {verb!r}. Use one of:\n{usage()}")
    arguments, function = entry
    if words[1:] and not arguments:
        raise UsageError(f"`%fastgpu {verb}` takes no arguments.")
    try:
        return function(verbs, words[1:])
    except FastGPUError as error:
        # A usage error is shown as one line; a traceback of ours would tell the user nothing.
        raise UsageError(str(error)) from None


def show(verbs: Verbs, line: str) -> None:
    """Do what ``line`` says and display the answer."""
    from IPython.display import display

    display(run(verbs, line).bundle(), raw=True)  # type: ignore[no-untyped-call]


def load(shell: Any) -> None:
    """``%load_ext fastgpu_jupyter``: nothing new in a FastGPU kernel; elsewhere the verbs that work without a gate."""
    if "fastgpu" in shell.magics_manager.magics.get("line", {}):
        return
    verbs = Verbs(Gate.from_environment(), gated=False)

    def fastgpu(line: str) -> None:
        """Show the GPU pool; ``%fastgpu help`` lists the verbs."""
        show(verbs, line)

    shell.register_magic_function(fastgpu, "line", "fastgpu")
    if verbs.gate.lease_id is None:
        print(_NOT_HERE)  # noqa: T201 (the user asked, and this is the answer)
