"""The verbs of ``%fastgpu``: one function and one row of :data:`VERBS` each.

A function gets the kernel's :class:`Context` and the words after the verb, and returns what to show. It runs between
cells, in the main thread, and may block for as long as one call to the pool manager takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from IPython.core.error import UsageError

from ..core.model.lifecycle import PARKED_OR_PARKING
from ..wire.lease_view import explanation_of
from ..wire.version import difference_in_status
from .gate import Gate
from .lease_commands import LeaseCommands

if TYPE_CHECKING:
    from .cell_cost import Cells
    from .render import Rendered

NO_LEASE = "This kernel has no GPU lease. `%fastgpu request` asks for one."
NOT_A_FASTGPU_KERNEL = (
    "This kernel was not started as a FastGPU kernel, so it has no GPU lease. "
    "Choose a kernel named FastGPU for the notebook; `%fastgpu status` shows the pool from here."
)


class Context:
    """What the verbs work on: the gate of this kernel, and the costs of its cells."""

    def __init__(self, gate: Gate, *, gated: bool, cells: Cells | None = None) -> None:
        self.gate = gate
        #: Whether this is a FastGPU kernel, whose cells wait for the gate.
        self.gated = gated
        self.cells = cells
        self.commands = LeaseCommands(gate)


def show(context: Context, _words: list[str]) -> Rendered:
    """Return this kernel's lease, or a sentence where there is none."""
    from . import render

    gate = context.gate
    if gate.lease_id is None and gate.view is None:
        return render.sentence(NO_LEASE if context.gated else NOT_A_FASTGPU_KERNEL)
    view = gate.refresh() or gate.view
    assert view is not None
    return render.lease(view)


def release(context: Context, _words: list[str]) -> Rendered:
    """Release the lease or leave the queue."""
    from . import render

    gate = context.gate
    if gate.lease_id is None:
        return render.sentence("This kernel has no GPU lease; there is nothing to release.")
    state = gate.view["state"] if gate.view else ""
    had_gpu = gate.open
    context.commands.release()
    if state in PARKED_OR_PARKING:
        return render.sentence(
            "Released. The GPU memory of this kernel is lost; restart the kernel before it uses a GPU again. "
            "Its other variables are kept."
        )
    if not had_gpu:
        return render.sentence("Left the queue. Cells run without a GPU; `%fastgpu request` asks for one again.")
    return render.sentence(
        "Released the GPU. Memory that this process already allocated on it stays allocated until the kernel "
        "restarts. Cells run without a GPU; `%fastgpu request` asks for one again."
    )


def cpu(context: Context, _words: list[str]) -> Rendered:
    """Release the lease and run cells without a GPU."""
    from . import render

    context.commands.release(cpu_only=True)
    return render.sentence(
        "Cells run without a GPU from now on. `%fastgpu request` asks for one again, "
        "and so does a restart of the kernel."
    )


def request(context: Context, words: list[str]) -> Rendered:
    """Request a GPU, with the size and options in ``words``."""
    from ..wire.options import read_words
    from . import render

    if not context.gated:
        return render.sentence(NOT_A_FASTGPU_KERNEL)
    view = context.commands.request(*read_words(words))
    hint = (
        "If a library already looked for a GPU in this kernel, restart the kernel so that it sees this one."
        if view["state"] == "active"
        else "The next cell waits for it."
    )
    return render.with_hint(render.lease(view), hint)


def resize(context: Context, words: list[str]) -> Rendered:
    """Change the size of the lease to the one in ``words``."""
    from . import render

    if not words:
        raise UsageError("Give the new size, as in `%fastgpu resize half` or `%fastgpu resize 24GiB`.")
    view = context.commands.resize(" ".join(words))
    hint = explanation_of(view) if view["state"] == "waiting" else None
    return render.with_hint(render.lease(view), f"It waits to resume: {hint}") if hint else render.lease(view)


def migrate(context: Context, _words: list[str]) -> Rendered:
    """Migrate the lease off an unhealthy GPU."""
    from . import render

    view = context.commands.migrate()
    if view["health"]["migration"] == "accepted":
        return render.sentence(
            "This lease migrates to another GPU when the kernel restarts. Save what you need first: the restart "
            "discards the kernel's GPU memory. Until then nothing changes."
        )
    return render.with_hint(render.lease(view), "It migrates to another GPU together with its GPU memory.")


def cost(context: Context, _words: list[str]) -> Rendered:
    """Return the costs of the last cells and of the lease."""
    from . import cell_cost, render

    if context.cells is None:
        return render.sentence(NOT_A_FASTGPU_KERNEL)
    gate = context.gate
    view = gate.refresh() or gate.view if gate.lease_id is not None else gate.view
    known = cell_cost.Known.of(view)
    if not len(context.cells):
        return render.sentence("No cell has run yet.")
    rendered = render.cells(cell_cost.cell_rows(context.cells.last(), known))
    return rendered if view is None else render.with_hint(rendered, cell_cost.so_far(view))


def park(context: Context, _words: list[str]) -> Rendered:
    """Park the lease until the next cell."""
    from . import render

    view = context.commands.park()
    state = "parked" if view["state"] == "parked" else "being parked"
    return render.sentence(
        f"The GPU of this kernel is {state}. Its variables, and their GPU memory, are kept; nothing is "
        "billed meanwhile. The next cell, or `%fastgpu resume`, asks for a GPU again."
    )


def resume(context: Context, _words: list[str]) -> Rendered:
    """Request the GPU of a parked lease without running a cell."""
    from . import render

    view = context.commands.resume()
    hint = "" if view["state"] == "active" else "The next cell waits for it."
    return render.with_hint(render.lease(view), hint) if hint else render.lease(view)


def pin(context: Context, _words: list[str]) -> Rendered:
    """Set the retention of the lease to ``hold``."""
    from . import render

    context.commands.pin(pinned=True)
    return render.sentence(
        "Pinned: this kernel keeps its GPU while no cell runs, and is billed for it. `%fastgpu unpin` lets others "
        "have it meanwhile."
    )


def unpin(context: Context, _words: list[str]) -> Rendered:
    """Set the retention of the lease to ``yield``."""
    from . import render

    context.commands.pin(pinned=False)
    return render.sentence("Not pinned: while no cell runs and a request waits, the GPU may be parked.")


def status(context: Context, _words: list[str]) -> Rendered:
    """Return the whole pool: devices, the user's leases and the queue."""
    from . import render

    view = context.gate.pool.connect().status()
    differs = difference_in_status(view["pool"]["version"])
    return render.with_hint(render.status(view), differs) if differs else render.status(view)


def show_help(_context: Context, _words: list[str]) -> Rendered:
    """Return the list of verbs."""
    from . import render

    return render.sentence(usage())


class Verb(NamedTuple):
    """A row of the table of verbs."""

    name: str  #: empty for plain ``%fastgpu``
    arguments: str
    summary: str  #: what the list of verbs says
    run: Callable[[Context, list[str]], Rendered]


VERBS = {
    verb.name: verb
    for verb in (
        Verb("", "", "Show this kernel's lease: state, device, memory, utilization, time and cost.", show),
        Verb("release", "", "Give the GPU, or the position in the queue, back.", release),
        Verb("cpu", "", "Work without a GPU: release the lease or leave the queue, and never wait.", cpu),
        Verb(
            "request",
            "[SIZE] [OPTIONS]",
            "Ask for a GPU; SIZE is like half, 24GiB, a100:1/2 or 2xh100, OPTIONS are listed below.",
            request,
        ),
        Verb("resize", "SIZE", "Change the size of this kernel's lease while it runs.", resize),
        Verb("migrate", "", "Leave an unhealthy GPU; where its memory cannot move, at the next restart.", migrate),
        Verb("cost", "", "Show what the last cells of this kernel cost, and the lease so far.", cost),
        Verb("park", "", "Free the GPU until the next cell; its memory and all variables are kept.", park),
        Verb("resume", "", "Ask for the parked GPU again without running a cell.", resume),
        Verb("pin", "", "Keep the GPU while no cell runs: it is never parked for others and always billed.", pin),
        Verb("unpin", "", "Let others have the GPU while no cell runs.", unpin),
        Verb("status", "", "Show the whole pool: devices, your leases and the queue.", status),
        Verb("help", "", "Show this list.", show_help),
    )
}


def usage() -> str:
    """Return the verbs, one on each line, and the options of a request."""
    from ..wire.options import usage as options

    rows = []
    for verb in VERBS.values():
        call = " ".join(part for part in ("%fastgpu", verb.name, verb.arguments) if part)
        rows.append(f"{call:<36}{verb.summary}")
    rows.append(f"OPTIONS: {options()}; --no-parkable, --no-hold")
    return "\n".join(rows)
