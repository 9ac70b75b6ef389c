"""Leases and the pool as plain text and as HTML tables, for the ``%fastgpu`` magic.

Everything that comes from outside (notebook names, reasons, models) is escaped. Colours come from the JupyterLab theme
where there is one, and no meaning rests on colour alone: each bar has its figures beside it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Message
from ..messages import joined, render, say, sentence_of, sentences_of, word
from ..text import display_width, padded, printable
from ..units import format_duration, format_memory, format_money
from ..wire.lease_view import explanation_of, is_simulated, position_of, time_left_ms, value_of
from .wait_display import is_parked

if TYPE_CHECKING:
    from ..wire.schemas import (
        DeviceView,
        LeaseView,
        PoolClusterView,
        QueueEntryView,
        SizeOption,
        SizeOptions,
        StatusView,
    )

#: The labels of the rows of :func:`summary`.
SUMMARY = (
    "label.state", "label.ended", "label.position_in_queue", "label.why", "label.parked", "label.size", "label.gpu",
    "label.host",
    "label.memory", "label.utilization", "label.limit_enforced", "label.new_size", "label.fault", "label.cost",
)  # fmt: skip


class Rendered(NamedTuple):
    """An answer in two forms: for a terminal and for a browser."""

    text: str
    html: str

    def bundle(self) -> dict[str, str]:
        """Return the MIME bundle of both forms."""
        return {"text/plain": self.text, "text/html": self.html}

    def show(self) -> None:
        """Display the answer in the running cell."""
        from IPython.display import display

        display(self.bundle(), raw=True)  # type: ignore[no-untyped-call]


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
    title = say("title.lease_simulated") if is_simulated(view) else say("title.lease")
    return _table(title, _lease_rows(view))


def summary(view: LeaseView) -> Rendered:
    """Return the rows of a lease's table that matter at a glance."""
    title = say("title.lease_simulated") if is_simulated(view) else say("title.lease")
    labels = {render(Message(code)) for code in SUMMARY}
    return _table(title, [row for row in _lease_rows(view) if row.name in labels])


def status(view: StatusView) -> Rendered:
    """Return the devices, leases and queue of the pool as tables."""
    pool = view["pool"]
    title = say("title.pool_simulated") if pool["simulated"] else say("title.pool")
    cluster = pool.get("cluster")
    head = (
        say("label.gpu"), say("label.model"), say("label.health"), say("label.leased_memory"), say("label.utilization")
    )  # fmt: skip
    devices = (
        grid(title, head, [_device(one) for one in view["devices"]]) if cluster is None else _kinds(title, cluster)
    )
    parts = [devices]
    live = [one for one in view["leases"] if one["state"] != "ended"]
    if live:
        rows = [
            (one["holder"]["notebook"] or "-", _state(one), one["request"]["size"], _place(one), _cost(one))
            for one in live
        ]
        head = say("label.notebook"), say("label.state"), say("label.size"), say("label.gpu"), say("label.cost")
        parts.append(grid(say("title.leases"), head, rows))
    if view["queue"]:
        columns = say("label.position"), say("label.notebook"), say("label.size"), say("label.reason")
        parts.append(grid(say("title.queue"), columns, [_queue_row(one) for one in view["queue"]]))
    messages = [pool["message"], None if cluster is None else cluster["message"]]
    parts += [sentence(text) for text in map(sentence_of, messages) if text]
    return Rendered("\n\n".join(part.text for part in parts), "".join(part.html for part in parts))


def sizes(view: SizeOptions, currency: str) -> Rendered:
    """Return the sizes to choose from as a table."""
    head = (
        say("label.size"), say("label.memory"), say("label.rate"), say("label.takes_effect"), say("label.reason")
    )  # fmt: skip
    return grid(say("title.sizes"), head, [_size_row(option, view["applied"], currency) for option in view["options"]])


def _size_row(option: SizeOption, applied: str | None, currency: str) -> tuple[str, ...]:
    size, rate = option["size"], option["rate_micro"]
    effect = word("size_effect", option["effect"])
    if option["effect"] == "queued" and option["position"]:
        effect = say("size_effect.queued_at", position=str(option["position"]))
    return (
        say("value.applied", size=size) if size == applied else size,
        format_memory(option["memory_bytes"]),
        say("value.unknown") if rate is None else format_money(rate, currency),
        effect,
        sentence_of(option["reason"]) or "",
    )


def rows_table(title: str, rows: Sequence[tuple[str, str]]) -> Rendered:
    """Return names with their values as a table."""
    return _table(title, [_Row(name, value) for name, value in rows])


def cells(rows: Sequence[tuple[str, str, str, str]]) -> Rendered:
    """Return the costs of cells as a table."""
    return grid(say("title.cells"), (say("label.cell"), say("label.time"), say("label.cost"), ""), rows)


def _lease_rows(view: LeaseView) -> list[_Row]:
    state = view["state"]
    rows = [_Row(say("label.state"), say("state.in_queue") if state == "waiting" else state_name(state))]
    if reason := sentence_of(view["end_reason"]):
        rows.append(_Row(say("label.ended"), reason))
    if position := position_of(view):
        rows.append(_Row(say("label.position_in_queue"), str(position)))
    if explanation := sentences_of(explanation_of(view)):
        rows.append(_Row(say("label.why"), explanation))
    if is_parked(view):
        park_reason = value_of(view["parking"]["reason"])
        kept = None if park_reason == "restart" else say("note.kept")
        rows.append(_Row(say("label.parked"), joined((sentence_of(view["parking"]["reason"]), kept))))
    rows.append(_Row(say("label.size"), view["request"]["size"]))
    if view["state"] == "active":
        rows.append(_Row(say("title.cells"), _use(view)))
        rows.append(_Row(say("label.when_idle"), _retention(view)))
    if view["gpu"]:
        rows.append(_Row(say("label.gpu"), _device_name(view)))
        rows.append(_memory_row(view))
        used = view["usage"]["utilization_percent"]
        rows.append(_Row(say("label.utilization"), _percent(used), None if used is None else used / 100))
        rows.append(_Row(say("label.limit_enforced"), _enforced(view)))
    for name, message in (
        (say("label.mechanism"), view["gpu"]["mechanism_reason"] if view["gpu"] else None),
        (say("label.memory_limit"), view["enforcement"]["message"]),
        (say("label.new_size"), view["size"]["message"]),
        (say("label.device_files"), view["device_access"]["message"]),
        (say("label.fault"), view["health"]["message"]),
        (say("label.idle"), view["idle"]["message"]),
    ):
        rows += [_Row(name, text)] if (text := sentence_of(message)) else []
    rows += _cluster_rows(view)
    rows.append(_Row(say("label.active_for"), format_duration(view["usage"]["active_ms"])))
    rows.append(_Row(say("label.cost"), _cost(view)))
    rows.append(_Row(say("label.lease"), view["id"]))
    return rows


def _cluster_rows(view: LeaseView) -> list[_Row]:
    """Return where a lease of a cluster is, its job, its time, and what is to be known of it now."""
    cluster = view.get("cluster")
    if cluster is None:
        return []
    left_ms = time_left_ms(view, int(time.time() * 1000))
    found = (
        (say("label.host"), cluster["host"]),
        (say("label.partition"), cluster["partition"]),
        (say("label.cluster_job"), cluster["job_id"]),
        (say("label.time_left"), None if left_ms is None else format_duration(left_ms)),
        (say("label.why"), sentence_of(cluster["reason"]) if view["queue"] is None else None),
        (say("label.cluster"), sentence_of(cluster["message"])),
    )
    return [_Row(name, value) for name, value in found if value]


def state_name(state: str) -> str:
    """Return the name of a lease's state."""
    return word("state", state)


def _state(view: LeaseView) -> str:
    """Return the state in a word or two."""
    if view["state"] == "active" and view["parking"]["retention"] == "hold":
        return say("state.active_pinned")
    if view["state"] == "active" and view["parking"]["parkable"] and view["usage"]["busy"] is False:
        return say("state.active_idle")
    return say("state.to_resume") if view["state"] == "waiting" and is_parked(view) else state_name(view["state"])


def _use(view: LeaseView) -> str:
    if view["usage"]["busy"] is None:
        return say("value.unknown_yet")
    if view["usage"]["busy"]:
        return say("value.cell_runs")
    return say("value.no_cell_for", idle_ms=max(0, int(time.time() * 1000) - view["usage"]["last_used_at"]))


def _retention(view: LeaseView) -> str:
    if view["parking"]["retention"] == "hold":
        return say("value.pinned")
    if obstacle := sentence_of(view["parking"]["obstacle"]):
        return say("value.keeps_because", reason=f"{obstacle[:1].lower()}{obstacle[1:]}")
    return say("value.may_be_parked") if view["parking"]["parkable"] else say("value.cannot_be_parked")


def _memory_row(view: LeaseView) -> _Row:
    limit, used = view["memory"]["limit_bytes"], view["memory"]["used_bytes"]
    whole = say("value.whole_gpu") if limit is None else format_memory(limit)
    if used is None:
        return _Row(say("label.memory"), whole)
    return _Row(
        say("label.memory"), say("value.memory_of", used_bytes=used, whole=whole), used / limit if limit else None
    )


def _enforced(view: LeaseView) -> str:
    enforced_by, gpu = view["enforcement"]["memory_limit"], view["gpu"]
    who = word("enforced", enforced_by or "none")
    if view["enforcement"]["scope"] == "process":
        who = say("enforced.for_each_process", enforced=who)
    how = " ".join(filter(None, (gpu["mechanism"], gpu["partition"]))) if gpu else ""
    return say("enforced.mechanism", enforced=who, mechanism=how) if how else who


def _device_name(view: LeaseView) -> str:
    gpu = view["gpu"]
    if gpu is None:
        return "-"
    return _model(gpu["model"] or gpu["device_ids"][0], simulated=gpu["simulated"])


def _model(name: str, *, simulated: bool) -> str:
    return say("value.simulated", model=name) if simulated else name


def _cost(view: LeaseView) -> str:
    money = view["money"]
    cost = format_money(money["cost_micro"], money["currency"])
    rate = money["rate_micro_per_hour"]
    return cost if rate is None else say("value.cost_at", cost=cost, rate=format_money(rate, money["currency"]))


def _device(view: DeviceView) -> tuple[str, ...]:
    memory, health = view["memory"], view["health"]
    leased = memory["total_bytes"] - memory["free_bytes"]
    health_text, reason = word("device_state", health["state"]), sentence_of(health["message"])
    if reason:
        health_text = say("value.health_because", health=health_text, reason=reason)
    return (
        str(view["index"]),
        _model(view["model"], simulated=view["simulated"]),
        say("value.drained", health=health_text) if view["drained"] else health_text,
        say("value.memory_of", used_bytes=leased, whole=format_memory(memory["total_bytes"])),
        _percent(view["usage"]["utilization_percent"]),
    )


def _kinds(title: str, cluster: PoolClusterView) -> Rendered:
    """Return what a cluster offers as a table; which of it is free only the cluster knows."""
    kinds = cluster["kinds"]
    rows = [(f"{one['nodes'] * one['per_node_max']}x{one['model']}", one["partition"]) for one in kinds or ()]
    return grid(title, (say("label.gpu"), say("label.partition")), rows or [(say("value.unknown"),) * 2])


def _place(view: LeaseView) -> str:
    """Return the GPU of a lease, and its host where that is another one."""
    cluster = view.get("cluster")
    host = None if cluster is None else cluster["host"]
    return _device_name(view) if host is None else f"{_device_name(view)}, {host}"


def _percent(used: int | None) -> str:
    return say("value.unknown") if used is None else f"{used} %"


def _queue_row(view: QueueEntryView) -> tuple[str, ...]:
    whose = view["notebook"] or ("-" if view["mine"] else say("value.another_user"))
    return str(view["position"]), whose, view["size"], sentence_of(view["reason"]) or ""


def _table(title: str, rows: Sequence[_Row]) -> Rendered:
    rows = [row._replace(value=printable(row.value)) for row in rows]
    width = max(display_width(row.name) for row in rows)
    text = [title] + [f"  {padded(row.name, width)}  {_text_bar(row.part)}{row.value}" for row in rows]
    body = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(row.name)}</th>'
        f'<td style="text-align: left">{_html_bar(row)}{escape(row.value)}</td></tr>'
        for row in rows
    )
    caption = f'<caption style="text-align: left"><strong>{escape(title)}</strong></caption>'
    return Rendered("\n".join(text), f'<table class="fastgpu">{caption}<tbody>{body}</tbody></table>')


def grid(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Rendered:
    """Return rows below the names of their columns as a table."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(display_width(line[column]) for line in (head, *rows)) for column in range(len(head))]
    lines = [
        "  ".join(padded(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip()
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
    label = escape(say("label.percent", name=row.name, percent=percent), quote=True)
    return f'<progress max="100" value="{percent}" aria-label="{label}"></progress> '
