"""Jobs as plain text, as HTML and as data: what a cell shows of a job, also in a saved notebook without the extension.

Everything that comes from outside (names, log lines, reasons) is escaped. A state is a shape and a word, never a colour
alone. Times are in the time zone of this process.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import Message
from ..messages import joined, render, say, sentence_of, sentences_of
from ..text import printable
from ..units import format_duration, format_memory, format_money
from ..wire.job_states import ENDED

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobView

#: The type of the data; the front end draws a live view of it.
MIME = "application/vnd.fastgpu.job+json"
#: The version of the data's form.
INTERFACE = 1
#: Lines of the log that are shown.
LOG_LINES = 3
#: Characters of one of these lines.
LINE_CHARS = 200
#: Characters of what a row of a table says of a job.
ROW_CHARS = 80
#: Cells of a bar of characters.
BAR_CELLS = 20


class _State(NamedTuple):
    shape: str
    name: Message
    colour: tuple[str, str]  #: for the shape and the bar beside the sentence: without a theme, and of the theme


_GREY = ("#757575", "--jp-ui-font-color2")
STATES: Mapping[str, _State] = {
    "queued": _State("■", Message.of("job_state.queued"), ("#b36b00", "--jp-warn-color0")),
    "running": _State("●", Message.of("job_state.running"), ("#2e7d32", "--jp-success-color0")),
    "done": _State("✓", Message.of("job_state.done"), ("#2e7d32", "--jp-success-color0")),
    "failed": _State("◆", Message.of("job_state.failed"), ("#c62828", "--jp-error-color0")),
    "cancelled": _State("◌", Message.of("job_state.cancelled"), _GREY),
    "lost": _State("◇", Message.of("job_state.lost"), ("#c62828", "--jp-error-color0")),
}


class Shown(NamedTuple):
    """What is shown of a job: texts without markup, of which empty ones are left out."""

    state: _State
    title: str
    money: str
    where: str
    fraction: float | None  #: of the work, where its total is known
    progress: str
    statement: str
    log: Sequence[str]
    error: str
    result: str
    foot: str


def state_name(view: JobView) -> str:
    """Return the word for the state of a job; the state itself where a newer dispatcher has one more."""
    state = STATES.get(view["state"])
    if view["cancelling"] and view["state"] not in ENDED:
        return say("job_view.cancelling")
    return render(state.name) if state else view["state"]


def bundle(view: JobView, job: str = "job") -> dict[str, Any]:
    """Return the MIME bundle of a job; ``job`` is the expression by which a notebook has its handle."""
    found = shown(view, job)
    data = {"interface": INTERFACE, "id": view["id"], "view": view}
    return {"text/plain": as_text(found, view), "text/html": as_html(found, view), MIME: data}


def shown(view: JobView, job: str | None = None) -> Shown:
    """Return what is shown of a job; with ``job``, the expression for its handle, also what a notebook can do."""
    state = STATES.get(view["state"]) or _State("◇", Message.of_text(view["state"]), _GREY)
    error = view["error"]
    fraction, progress = _progress(view)
    return Shown(
        state=state,
        title=_title(view),
        money=_money(view),
        where=_where(view),
        fraction=fraction,
        progress=progress,
        statement=_statement(view),
        log=[line[:LINE_CHARS] for line in view["log_tail"][-LOG_LINES:]] if view["state"] == "running" else [],
        error=joined((f"{error['name']}: {error['text']}",)) if error and view["state"] == "failed" else "",
        result=_result(view),
        foot=_foot(view, job) if job else "",
    )


def title_of(view: JobView) -> str:
    """Return the number and the name of a job."""
    return (
        say("job_view.named", id=view["id"], name=view["name"]) if view["name"] else say("job_view.id", id=view["id"])
    )


def _title(view: JobView) -> str:
    title, ended_at, ran_ms = title_of(view), view["ended_at"], ran_ms_of(view)
    if ended_at is None:
        return title
    if _is_hit(view):
        return say("job_view.cached_title", title=title)
    if view["state"] == "lost":
        return say("job_view.lost_title", title=title, time=clock(ended_at))
    if ran_ms is None:
        return title
    if view["state"] == "failed":
        return say("job_view.failed_title", title=title, ran_ms=ran_ms)
    return say("job_view.done_title", title=title, ran_ms=ran_ms)


def ran_ms_of(view: JobView) -> int | None:
    """Return how long a job ran, in milliseconds; None for one that never ran, or is not over."""
    started_at, ended_at = view["started_at"], view["ended_at"]
    return None if started_at is None or ended_at is None else max(0, ended_at - started_at)


def _is_hit(view: JobView) -> bool:
    return view["cache"] is not None and view["cache"]["outcome"] == "hit"


def cost_of(view: JobView) -> str:
    """Return the cost so far; that it is unknown where it is, and nothing before there is one."""
    cost, currency = view["cost_micro"], view["currency"]
    if cost is None:
        return "" if view["started_at"] is None else say("job_view.cost_unknown")
    return format_money(cost, currency or "").strip()


def _money(view: JobView) -> str:
    if view["state"] == "queued":
        return say("job_view.nothing_billed")
    cost, rate = view["cost_micro"], view["rate_micro"]
    if view["state"] == "running" and rate is not None:
        known = say("value.unknown") if cost is None else cost_of(view)
        return say("value.cost_at", cost=known, rate=format_money(rate, view["currency"] or ""))
    return cost_of(view)


def device_of(view: JobView) -> str:
    """Return the model of the job's device; empty while it has none."""
    gpu = view["gpu"]
    if gpu is None:
        return ""
    model = gpu["model"] or next(iter(gpu["device_ids"]), "")
    return say("value.simulated", model=model) if gpu["simulated"] else model


def _where(view: JobView) -> str:
    started = view["started_at"]
    parts = [view["size"], device_of(view)]
    if view["state"] == "running" and started is not None:
        parts.append(say("job_view.started", time=clock(started)))
    return " · ".join(filter(None, parts)) if view["state"] != "queued" else ""


def _progress(view: JobView) -> tuple[float | None, str]:
    found = view["progress"]
    if found is None or view["state"] != "running":
        return None, ""
    done, total, unit = found["done"], found["total"], found["unit"] or ""
    count = say("job_view.of_total", done=done, total=total, unit=unit) if total else f"{done} {unit}".strip()
    fraction = min(1.0, max(0.0, done / total)) if total else None
    percent = "" if fraction is None else f"{fraction:.0%}"
    return fraction, " · ".join(filter(None, (percent, count, found["text"])))


def _statement(view: JobView) -> str:
    """Return the sentences on why the job is in its state, with what was kept and what can be done."""
    notes = sentences_of(view["notes"])
    if view["cancelling"] and view["state"] not in ENDED:
        return joined((say("job_view.being_cancelled"), notes))
    if view["state"] == "queued":
        return joined((position_of(view), _reason(view), notes))
    if view["state"] == "running":
        return joined((_lease_note(view), notes))
    cache = view["cache"]
    if _is_hit(view):
        return joined((_computed(view), notes))
    return joined((sentence_of(cache["message"]) if cache else None, notes))


def _computed(view: JobView) -> str:
    """Return when and on what device a result from the cache was computed, and what that saved."""
    cache = view["cache"]
    if cache is None or cache["computed_at"] is None:
        return say("job_view.from_cache")
    time_of, saved, device = clock(cache["computed_at"]), cache["saved_micro"], device_of(view)
    if saved is None or not device:
        return say("job_view.computed", time=time_of)
    money = format_money(saved, view["currency"] or "").strip()
    return say("job_view.computed_on", time=time_of, device=device, saved=money)


def position_of(view: JobView) -> str:
    """Return the position in the pool's queue with the estimate; empty where the job has none there."""
    position, estimate_ms = view["position"], view["estimate_ms"]
    if position is None:
        return ""
    if estimate_ms is None:
        return say("job_view.position", position=position)
    return say("job_view.position_about", position=position, estimate_ms=estimate_ms)


def _reason(view: JobView) -> str:
    if reason := sentence_of(view["reason"]):
        return reason
    return say("job_view.asks", size=view["size"], priority=view["priority"])


def _lease_note(view: JobView) -> str:
    """Return that the running job has no GPU at present, where its lease is parked or waits."""
    state = view["lease_state"]
    if state in ("parking", "parked", "waiting", "resuming"):
        return joined((say("job_view.parked"), position_of(view)))
    return ""


def _result(view: JobView) -> str:
    result = view["result"]
    if result is None:
        return ""
    names = [*result["values"], *result["files"]]
    parts = [", ".join(names), format_memory(result["bytes"]) if names else ""]
    if result["outputs"]:
        parts.append(say("job_view.outputs", count=result["outputs"]))
    return " · ".join(filter(None, parts))


def _foot(view: JobView, job: str) -> str:
    if view["state"] not in ENDED:
        # Without the front end's renderer this text stays as it is: it says of when it is.
        kept = say("job_view.kept") if view["state"] == "queued" else say("job_view.can_close")
        as_of = say("job_view.as_of", time=time.strftime("%H:%M:%S"))
        return joined((kept, say("job_view.can_cancel", job=job), as_of))
    if view["state"] == "done":
        values = view["result"]["values"] if view["result"] else []
        return say("job_view.can_take", job=job, names=tuple(values)) if values else say("job_view.can_show", job=job)
    unchanged = say("job_view.nothing_changed") if view["state"] == "failed" else None
    return joined((unchanged, say("job_view.can_rerun", job=job)))


def clock(wall_ms: int, now_s: float | None = None) -> str:
    """Return a time of today as ``14:02``, another one with its date."""
    then, now = time.localtime(wall_ms / 1000), time.localtime(now_s)
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)


# -- text --------------------------------------------------------------------------------------------------------------


def as_text(found: Shown, view: JobView) -> str:
    """Return a job for a terminal: a line with state, title and cost, and what there is to say below it."""
    head = " · ".join(filter(None, (f"{found.state.shape} {state_name(view)}", found.title, found.money)))
    bar = f"{_text_bar(found.fraction)}{found.progress}"
    below = [found.where, bar, *(f"| {line}" for line in found.log), found.error, found.statement, found.result]
    return "\n".join([printable(head), *(f"  {printable(line)}" for line in (*below, found.foot) if line)])


def _text_bar(fraction: float | None) -> str:
    if fraction is None:
        return ""
    full = round(fraction * BAR_CELLS)
    return f"[{'#' * full}{'.' * (BAR_CELLS - full)}] "


# -- HTML --------------------------------------------------------------------------------------------------------------

# JupyterLab removes variables of the theme from the output of a notebook that is not trusted, so each has a plain value
# before it.
_BORDER = "border: 1px solid #9e9e9e; border-color: var(--jp-border-color1, #9e9e9e)"
_QUIET = "font-size: 90%"
_CODE = re.compile("`([^`]+)`")


def as_html(found: Shown, view: JobView) -> str:
    """Return a job for a browser, with a style that needs no style sheet."""
    label = escape(say("job_view.label", title=found.title, state=state_name(view)), quote=True)
    shape = f'<span aria-hidden="true" style="{_themed("color", found.state)}">{found.state.shape}</span>'
    badge = (
        f'<span role="status" style="{_BORDER}; border-radius: 1em; padding: 0 8px; margin-right: 8px">'
        f"{shape} {_escaped(state_name(view))}</span>"
    )
    money = f'<span style="margin-left: auto">{_escaped(found.money)}</span>' if found.money else ""
    head = (
        '<div style="display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px">'
        f"{badge}<strong>{_escaped(found.title)}</strong>{money}</div>"
    )
    parts = [
        _paragraph(found.where, _QUIET),
        _html_progress(found),
        _preformatted(found.log),
        _preformatted([found.error] if found.error else []),
        _paragraph(found.statement, f"{_themed('border-left: 3px solid', found.state)}; padding-left: 8px"),
        _paragraph(found.result, _QUIET),
        _paragraph(found.foot, _QUIET),
    ]
    return (
        f'<div class="fastgpu-job" role="group" aria-label="{label}" '
        f'style="{_BORDER}; padding: 8px 12px; max-width: 60em">{head}{"".join(parts)}</div>'
    )


def _themed(start: str, state: _State) -> str:
    """Return a style with the colour of a state, of the theme where there is one."""
    plain, variable = state.colour
    start = start if " " in start else f"{start}:"
    return f"{start} {plain}; {start} var({variable}, {plain})"


def _escaped(text: str) -> str:
    return escape(printable(text))


def _with_code(text: str) -> str:
    """Return a sentence as HTML; what stands between backticks becomes code."""
    return _CODE.sub(r"<code>\1</code>", _escaped(text))


def _paragraph(text: str, style: str) -> str:
    return f'<div style="margin: 4px 0; {style}">{_with_code(text)}</div>' if text else ""


def _preformatted(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    style = f"{_BORDER}; padding: 4px 8px; margin: 4px 0; white-space: pre-wrap; overflow-wrap: anywhere"
    return f'<pre style="{style}">{chr(10).join(map(_escaped, lines))}</pre>'


def _html_progress(found: Shown) -> str:
    if not found.progress:
        return ""
    bar = ""
    if found.fraction is not None:
        label = escape(say("job_view.progress"), quote=True)
        bar = f'<progress max="100" value="{round(found.fraction * 100)}" aria-label="{label}"></progress> '
    return f'<div style="margin: 4px 0">{bar}{_escaped(found.progress)}</div>'


# -- several jobs ------------------------------------------------------------------------------------------------------


def rows(views: Sequence[JobView]) -> list[tuple[str, ...]]:
    """Return a row for each job: number, name, state, size, what matters of it, and cost."""
    return [
        (
            str(view["id"]),
            view["name"] or view["kind"],
            f"{shown(view).state.shape} {state_name(view)}",
            view["size"],
            _in_a_row(_matters(view)),
            cost_of(view),
        )
        for view in views
    ]


def _in_a_row(text: str) -> str:
    """Return the beginning of a text that fits into a row of a table."""
    return text if len(text) <= ROW_CHARS else f"{text[: ROW_CHARS - 1]}…"


def _matters(view: JobView) -> str:
    """Return in a few words what matters of a job: position, progress, or how it ended."""
    if view["state"] == "queued":
        return position_of(view) or _reason(view)
    if view["state"] == "running":
        return _progress(view)[1] or _lease_note(view)
    if _is_hit(view):
        return say("job_view.cached")
    if view["error"] is not None:
        return f"{view['error']['name']}: {view['error']['text']}"
    ran_ms = ran_ms_of(view)
    return "" if ran_ms is None else format_duration(ran_ms)


def head() -> tuple[str, ...]:
    """Return the names of the columns of :func:`rows`."""
    return (
        say("label.job"), say("label.job_name"), say("label.state"), say("label.size"), say("label.job_detail"),
        say("label.cost"),
    )  # fmt: skip
