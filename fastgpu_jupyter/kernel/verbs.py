"""The verbs of ``%fastgpu``: one function and one row of :data:`VERBS` each.

A function gets the kernel's :class:`Context` and the words after the verb, and returns what to show. It runs between
cells, in the main thread, and may block for as long as one call to the pool manager takes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from IPython.core.error import UsageError

from ..core.model.lifecycle import PARKED_OR_PARKING
from ..errors import Message
from ..messages import joined, say, sentence_of, sentences_of
from ..messages import render as message_text
from ..units import parse_duration
from ..wire.lease_view import explanation_of
from ..wire.version import difference_in_status
from .gate import Gate
from .lease_commands import LeaseCommands

if TYPE_CHECKING:
    from .cell_cost import Cells
    from .render import Rendered


#: For how long the steps of the idle policy are put off if no time is given.
SNOOZE = "30m"


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
        return render.sentence(say("magic.no_lease") if context.gated else say("magic.no_gate"))
    view = gate.refresh() or gate.view
    assert view is not None
    return render.lease(view)


def widget(_context: Context, _words: list[str]) -> Rendered:
    """Return the widget of this kernel's lease."""
    from .widget.answer import WidgetAnswer

    return WidgetAnswer.of_kernel()


def release(context: Context, _words: list[str]) -> Rendered:
    """Release the lease or leave the queue."""
    from . import render

    gate = context.gate
    if gate.lease_id is None:
        return render.sentence(say("magic.nothing_to_release"))
    state = gate.view["state"] if gate.view else ""
    had_gpu = gate.open
    context.commands.release()
    if state in PARKED_OR_PARKING:
        return render.sentence(say("magic.released_parked"))
    if not had_gpu:
        return render.sentence(say("magic.left_queue"))
    return render.sentence(say("magic.released"))


def cpu(context: Context, _words: list[str]) -> Rendered:
    """Release the lease and run cells without a GPU."""
    from . import render

    context.commands.release(cpu_only=True)
    return render.sentence(say("magic.cpu"))


def request(context: Context, words: list[str]) -> Rendered:
    """Request a GPU, with the size and options in ``words``."""
    from ..wire.options import read_words
    from . import render

    if not context.gated and not context.commands.requests_for_successor():
        return render.sentence(say("magic.no_gate"))
    wanted = read_words(words)
    view = context.commands.request(wanted.size, wanted.options)
    if view.get("cluster") is not None and view["holder"]["kernel_id"] != context.gate.kernel_id:
        return render.with_hint(render.lease(view), say("magic.for_successor"))
    hint = say("magic.looked_early") if view["state"] == "active" else say("magic.next_cell_waits")
    return render.with_hint(render.lease(view), hint)


def resize(context: Context, words: list[str]) -> Rendered:
    """Change the size of the lease to the one in ``words``."""
    from . import render

    if not words:
        raise UsageError(say("magic.size_missing"))
    view = context.commands.resize(" ".join(words))
    why = sentences_of(explanation_of(view)) if view["state"] == "waiting" else None
    hint = say("magic.waits_to_resume", explanation=why) if why else ""
    return render.with_hint(render.lease(view), hint) if hint else render.lease(view)


def history(context: Context, words: list[str]) -> Rendered:
    """Return the usage of the lease in the last minutes, hours or days as a chart."""
    from . import render, usage_chart

    if context.gate.lease_id is None:
        return render.sentence(say("magic.no_lease") if context.gated else say("magic.no_gate"))
    return usage_chart.of_lease(context.gate, " ".join(words))


def sizes(context: Context, words: list[str]) -> Rendered:
    """Return the sizes that the lease, or a new request, can have; ``memory`` in ``words`` counts them in memory."""
    from . import render

    if words not in ([], ["memory"]):
        raise UsageError(say("magic.sizes_options"))
    client, gate = context.gate.pool.connect(), context.gate
    # A lease on a cluster keeps its size: what can be chosen is that of another request.
    found = client.sizes(None if gate.cluster else gate.lease_id, {"unit": "memory" if words else "share"})
    shown = render.sizes(found, client.pool()["currency"])
    return render.with_hint(shown, say("magic.cluster_sizes")) if gate.cluster else shown


def migrate(context: Context, _words: list[str]) -> Rendered:
    """Migrate the lease off an unhealthy GPU."""
    from . import render

    view = context.commands.migrate()
    if view["health"]["migration"] == "accepted":
        return render.sentence(say("magic.migrates_at_restart"))
    return render.with_hint(render.lease(view), say("magic.migrates"))


def cost(context: Context, _words: list[str]) -> Rendered:
    """Return the costs of the last cells and of the lease."""
    from . import cell_cost, render

    if context.cells is None:
        return render.sentence(say("magic.no_gate"))
    gate = context.gate
    view = gate.refresh() or gate.view if gate.lease_id is not None else gate.view
    known = cell_cost.Known.of(view)
    if not len(context.cells):
        return render.sentence(say("magic.no_cell"))
    rendered = render.cells(cell_cost.cell_rows(context.cells.last(), known))
    return rendered if view is None else render.with_hint(rendered, cell_cost.so_far(view))


def park(context: Context, _words: list[str]) -> Rendered:
    """Park the lease until the next cell."""
    from . import render

    view = context.commands.park()
    return render.sentence(say("magic.parked") if view["state"] == "parked" else say("magic.parking"))


def resume(context: Context, _words: list[str]) -> Rendered:
    """Request the GPU of a parked lease without running a cell."""
    from . import render

    view = context.commands.resume()
    hint = "" if view["state"] == "active" else say("magic.next_cell_waits")
    return render.with_hint(render.lease(view), hint) if hint else render.lease(view)


def pin(context: Context, _words: list[str]) -> Rendered:
    """Set the retention of the lease to ``hold``."""
    from . import render

    context.commands.pin(pinned=True)
    return render.sentence(say("magic.pinned"))


def unpin(context: Context, _words: list[str]) -> Rendered:
    """Set the retention of the lease to ``yield``."""
    from . import render

    context.commands.pin(pinned=False)
    return render.sentence(say("magic.unpinned"))


def snooze(context: Context, words: list[str]) -> Rendered:
    """Put off the steps of the idle policy for the time in ``words``, or for half an hour."""
    from . import render

    view = context.commands.snooze(parse_duration("".join(words) or SNOOZE))
    until = view["idle"]["snoozed_until"]
    left_s = 0 if until is None else max(0, -(time.time_ns() // 10**9 - until // 1000))
    return render.sentence(say("magic.snoozed", left_ms=1000 * left_s))


def advise(context: Context, words: list[str]) -> Rendered:
    """Return the advice on the size of the lease; ``--silence`` wants none for this notebook, ``--undo`` wants it."""
    from . import render

    if len(words) > 1 or not set(words) <= {"--silence", "--undo"}:
        raise UsageError(say("magic.advise_options"))
    found = context.commands.advise(silenced=None if not words else words == ["--silence"])
    advice = found["advice"]
    if advice is None:
        return render.sentence(sentence_of(found["reason"]) or "")
    # A lease on a cluster keeps its size, and the basis says how to have the other one.
    hint = say("magic.advise_stop") if context.gate.cluster else say("magic.advise_apply", size=advice["size"])
    return render.sentence(joined((sentence_of(advice["basis"]), hint)))


def status(context: Context, _words: list[str]) -> Rendered:
    """Return the whole pool: devices, the user's leases and the queue."""
    from . import render

    view = context.gate.pool.connect().status()
    differs = difference_in_status(view["pool"]["version"])
    return render.with_hint(render.status(view), message_text(differs)) if differs else render.status(view)


def jobs(context: Context, words: list[str]) -> Rendered:
    """List the user's jobs, or show the one whose number is in ``words``."""
    from .job_verbs import jobs  # late: it imports what only jobs need

    return jobs(context, words)


def show_help(_context: Context, _words: list[str]) -> Rendered:
    """Return the list of verbs."""
    from . import render

    return render.sentence(usage())


class Verb(NamedTuple):
    """A row of the table of verbs."""

    name: str  #: empty for plain ``%fastgpu``
    arguments: str
    summary: Message  #: what the list of verbs says
    run: Callable[[Context, list[str]], Rendered]


VERBS = {
    verb.name: verb
    for verb in (
        Verb("", "", Message.of("summary.show"), show),
        Verb("widget", "", Message.of("summary.widget"), widget),
        Verb("release", "", Message.of("summary.release"), release),
        Verb("cpu", "", Message.of("summary.cpu"), cpu),
        Verb("request", "[SIZE] [OPTIONS]", Message.of("summary.request"), request),
        Verb("resize", "SIZE", Message.of("summary.resize"), resize),
        Verb("sizes", "[memory]", Message.of("summary.sizes"), sizes),
        Verb("history", "[TIME]", Message.of("summary.history"), history),
        Verb("migrate", "", Message.of("summary.migrate"), migrate),
        Verb("cost", "", Message.of("summary.cost"), cost),
        Verb("park", "", Message.of("summary.park"), park),
        Verb("resume", "", Message.of("summary.resume"), resume),
        Verb("pin", "", Message.of("summary.pin"), pin),
        Verb("unpin", "", Message.of("summary.unpin"), unpin),
        Verb("advise", "[--silence|--undo]", Message.of("summary.advise"), advise),
        Verb("snooze", "[TIME]", Message.of("summary.snooze"), snooze),
        Verb("jobs", "[NUMBER]", Message.of("summary.jobs"), jobs),
        Verb("status", "", Message.of("summary.status"), status),
        Verb("help", "", Message.of("summary.help"), show_help),
    )
}


#: The verbs of ``%%fastgpu``, with what the list of verbs says.
CELL_VERB_SUMMARIES = {
    "cpu": Message.of("summary.cell_cpu"),
    "profile": Message.of("summary.cell_profile"),
    "job": Message.of("summary.cell_job"),
    "compare": Message.of("summary.cell_compare"),
}


def usage() -> str:
    """Return the verbs, one on each line, and the options of a request."""
    from ..jobs.words import usage as job_options
    from ..wire.options import usage as options

    rows = []
    for verb in VERBS.values():
        call = " ".join(part for part in ("%fastgpu", verb.name, verb.arguments) if part)
        rows.append(f"{call:<36}{message_text(verb.summary)}")
    rows += [f"{f'%%fastgpu {name}':<36}{message_text(summary)}" for name, summary in CELL_VERB_SUMMARIES.items()]
    rows.append(say("magic.options", options=options()))
    rows.append(say("magic.job_options", options=job_options()))
    return "\n".join(rows)
