"""Leases and the pool as plain text and as HTML tables, for the ``%fastgpu`` magic.

Everything that comes from outside (notebook names, reasons, models) is escaped. Colours come from the JupyterLab theme
where there is one, and no meaning rests on colour alone: each bar has its figures beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from ..text import printable
from ..units import format_duration, format_memory, format_money
from ..wire.lease_view import explanation_of, is_simulated, position_of, text_of, value_of
from .sentences import KEPT
from .wait_display import is_parked

if TYPE_CHECKING:
    from ..wire.schemas import DeviceView, LeaseView, QueueEntryView, StatusView

#: What enforces a memory limit.
ENFORCED_BY = {
    "hardware": "by the hardware",
    "driver": "by the GPU driver",
    "userspace": "by the GPU's library, for each process",
    "cooperative": "by the frameworks, watched by the pool",
    "none": "not enforced",
}


class Rendered(NamedTuple):
    """An answer in two forms: for a terminal and for a browser."""

    text: str
    html: str

    def bundle(self) -> dict[str, str]:
        """Return the MIME bundle of both forms."""
        return {"text/plain": self.text, "text/html": self.html}


class _Row(NamedTuple):
    name: str
    value: str
    #: Fraction of a bar, where the value is part of a whole.
    part: float | None = None


def sentence(text: str) -> Rendered:
    """Return a plain sentence in both forms."""
    text = "\n".join(map(printable, text.split("\n")))
    return Rendered(text, f'<div class="fastgpu" style="white-space: pre-wrap">{escape(text)}</div>')


def with_hint(rendered: Rendered, hint: str) -> Rendered:
    """Return ``rendered`` with a sentence below it."""
    return Rendered(f"{rendered.text}\n{hint}", f"{rendered.html}<p>{escape(hint)}</p>")


def lease(view: LeaseView) -> Rendered:
    """Return one lease as a table."""
    title = "GPU lease" + (" (simulated)" if is_simulated(view) else "")
    return _table(title, _lease_rows(view))


def status(view: StatusView) -> Rendered:
    """Return the devices, leases and queue of the pool as tables."""
    pool = view["pool"]
    title = "FastGPU pool" + (" (simulated)" if pool["simulated"] else "")
    head = ("GPU", "Model", "Health", "Memory in leases", "Utilization")
    parts = [_grid(title, head, [_device(one) for one in view["devices"]])]
    live = [one for one in view["leases"] if one["state"] != "ended"]
    if live:
        rows = [
            (one["holder"]["notebook"] or "-", _state(one), one["request"]["size"], _device_name(one), _cost(one))
            for one in live
        ]
        parts.append(_grid("Your leases", ("Notebook", "State", "Size", "GPU", "Cost"), rows))
    if view["queue"]:
        parts.append(
            _grid("Queue", ("Position", "Notebook", "Size", "Reason"), [_queue_row(one) for one in view["queue"]])
        )
    if pool["message"]:
        parts.append(sentence(pool["message"]["text"]))
    return Rendered("\n\n".join(part.text for part in parts), "".join(part.html for part in parts))


def cells(rows: Sequence[tuple[str, str, str, str]]) -> Rendered:
    """Return the costs of cells as a table."""
    return _grid("Cells", ("Cell", "Time", "Cost", ""), rows)


def _lease_rows(view: LeaseView) -> list[_Row]:
    state = view["state"]
    state_text = {"waiting": "waiting in the queue", "ended": "ended"}.get(state, state)
    rows = [_Row("State", state_text)]
    if reason := text_of(view["end_reason"]):
        rows.append(_Row("Ended", reason))
    if position := position_of(view):
        rows.append(_Row("Position in the queue", str(position)))
    if explanation := explanation_of(view):
        rows.append(_Row("Why", explanation))
    if is_parked(view):
        park_reason = value_of(view["parking"]["reason"])
        kept = "" if park_reason == "restart" else KEPT
        rows.append(_Row("Parked", " ".join(filter(None, (text_of(view["parking"]["reason"]), kept)))))
    rows.append(_Row("Size", view["request"]["size"]))
    if view["state"] == "active":
        rows.append(_Row("Cells", _use(view)))
        rows.append(_Row("When idle", _retention(view)))
    if view["gpu"]:
        rows.append(_Row("GPU", _device_name(view)))
        rows.append(_memory_row(view))
        used = view["usage"]["utilization_percent"]
        rows.append(_Row("Utilization", _percent(used), None if used is None else used / 100))
        rows.append(_Row("Memory limit enforced", _enforced(view)))
    for name, message in (
        ("Mechanism", view["gpu"]["mechanism_reason"] if view["gpu"] else None),
        ("Memory limit", view["enforcement"]["message"]),
        ("New size", view["size"]["message"]),
        ("Device files", view["device_access"]["message"]),
        ("Fault", view["health"]["message"]),
    ):
        rows += [_Row(name, message["text"])] if message else []
    rows.append(_Row("Active for", format_duration(view["usage"]["active_ms"])))
    rows.append(_Row("Cost", _cost(view)))
    rows.append(_Row("Lease", view["id"]))
    return rows


def _state(view: LeaseView) -> str:
    """Return the state in a word or two."""
    if view["state"] == "active" and view["parking"]["retention"] == "hold":
        return "active, pinned"
    if view["state"] == "active" and view["parking"]["parkable"] and view["usage"]["busy"] is False:
        return "active, idle"
    return "waiting to resume" if view["state"] == "waiting" and is_parked(view) else view["state"]


def _use(view: LeaseView) -> str:
    if view["usage"]["busy"] is None:
        return "not known yet"
    if view["usage"]["busy"]:
        return "a cell is running"
    return f"no cell has run for {format_duration(max(0, int(time.time() * 1000) - view['usage']['last_used_at']))}"


def _retention(view: LeaseView) -> str:
    if view["parking"]["retention"] == "hold":
        return "pinned: keeps its GPU"
    if obstacle := text_of(view["parking"]["obstacle"]):
        return f"keeps its GPU: {obstacle[:1].lower()}{obstacle[1:]}"
    return "may be parked for others" if view["parking"]["parkable"] else "keeps its GPU: it cannot be parked"


def _memory_row(view: LeaseView) -> _Row:
    limit, used = view["memory"]["limit_bytes"], view["memory"]["used_bytes"]
    whole = "the whole GPU" if limit is None else format_memory(limit)
    if used is None:
        return _Row("Memory", whole)
    return _Row("Memory", f"{format_memory(used)} of {whole}", used / limit if limit else None)


def _enforced(view: LeaseView) -> str:
    enforced_by, gpu = view["enforcement"]["memory_limit"], view["gpu"]
    who = ENFORCED_BY.get(enforced_by or "none", str(enforced_by))
    if view["enforcement"]["scope"] == "process":
        who += ", for each process"
    how = " ".join(filter(None, (gpu["mechanism"], gpu["partition"]))) if gpu else ""
    return f"{who} ({how})" if how else who


def _device_name(view: LeaseView) -> str:
    gpu = view["gpu"]
    if gpu is None:
        return "-"
    return (gpu["model"] or gpu["device_ids"][0]) + (" (simulated)" if gpu["simulated"] else "")


def _cost(view: LeaseView) -> str:
    money = view["money"]
    cost = format_money(money["cost_micro"], money["currency"])
    rate = money["rate_micro_per_hour"]
    return cost if rate is None else f"{cost} at {format_money(rate, money['currency'])} an hour"


def _device(view: DeviceView) -> tuple[str, ...]:
    memory, health = view["memory"], view["health"]
    leased = memory["total_bytes"] - memory["free_bytes"]
    health_text = health["state"] + (f": {health['message']['text']}" if health["message"] else "")
    return (
        str(view["index"]),
        view["model"] + (" (simulated)" if view["simulated"] else ""),
        health_text + (", drained" if view["drained"] else ""),
        f"{format_memory(leased)} of {format_memory(memory['total_bytes'])}",
        _percent(view["usage"]["utilization_percent"]),
    )


def _percent(used: int | None) -> str:
    return "not known" if used is None else f"{used} %"


def _queue_row(view: QueueEntryView) -> tuple[str, ...]:
    whose = view["notebook"] or ("-" if view["mine"] else "another user")
    return str(view["position"]), whose, view["size"], view["reason"]["text"]


def _table(title: str, rows: Sequence[_Row]) -> Rendered:
    rows = [row._replace(value=printable(row.value)) for row in rows]
    width = max(len(row.name) for row in rows)
    text = [title] + [f"  {row.name:<{width}}  {_text_bar(row.part)}{row.value}" for row in rows]
    body = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(row.name)}</th>'
        f'<td style="text-align: left">{_html_bar(row)}{escape(row.value)}</td></tr>'
        for row in rows
    )
    caption = f'<caption style="text-align: left"><strong>{escape(title)}</strong></caption>'
    return Rendered("\n".join(text), f'<table class="fastgpu">{caption}<tbody>{body}</tbody></table>')


def _grid(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Rendered:
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    ]
    style = ' style="text-align: left"'
    top = "".join(f'<th scope="col"{style}>{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td{style}>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption{style}><strong>{escape(title)}</strong></caption>"
    table = f'<table class="fastgpu">{caption}<thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
    return Rendered("\n".join([title, *lines]), table)


def _text_bar(part: float | None) -> str:
    if part is None:
        return ""
    full = round(min(max(part, 0.0), 1.0) * 20)
    return f"[{'#' * full}{'.' * (20 - full)}] "


def _html_bar(row: _Row) -> str:
    if row.part is None:
        return ""
    percent = round(min(max(row.part, 0.0), 1.0) * 100)
    label = escape(f"{row.name}: {percent} percent", quote=True)
    return f'<progress max="100" value="{percent}" aria-label="{label}"></progress> '
