"""The usage of a lease over time, as a chart and as text, for ``%fastgpu history``.

The chart is an SVG image in the output, which a saved notebook keeps. Utilization is a solid line and memory a dashed
one, so that no meaning rests on colour; a gap is where the usage is not known.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from ..errors import InvalidRequest, Message
from ..messages import joined, say
from ..units import format_memory, parse_duration
from .gate import Gate
from .render import Rendered, sentence

if TYPE_CHECKING:
    from ..wire.schemas import HistoryView

#: The span that is shown, and the least and the most that can be; up to this one by the second.
SPAN_MS, SPAN_MS_MIN, SPAN_MS_MAX, BY_SECOND_MS = 300_000, 10_000, 7 * 86_400_000, 300_000
WIDTH, HEIGHT = 560, 140
#: Lines are as thick in a narrow output as in a wide one.
_FIXED = 'vector-effect="non-scaling-stroke"'
#: Points of a line, and letters of the line of text.
POINTS_MAX, LETTERS_MAX = 280, 60
_BLOCKS = "▁▂▃▄▅▆▇█"


def of_lease(gate: Gate, span: str) -> Rendered:
    """Return the usage of the lease of ``gate`` in the last ``span``, like ``5m`` or ``2h``; by default 5 minutes.

    Raises :class:`InvalidRequest` for another span, and the client's errors.
    """
    span_ms = parse_duration(span) if span else SPAN_MS
    if not SPAN_MS_MIN <= span_ms <= SPAN_MS_MAX:
        raise InvalidRequest(Message.of("magic.history_span", least_ms=SPAN_MS_MIN, most_ms=SPAN_MS_MAX))
    assert gate.lease_id is not None
    resolution = "1s" if span_ms <= BY_SECOND_MS else "1m"
    view = gate.pool.connect().lease_history(gate.lease_id, resolution, int(time.time() * 1000) - span_ms)
    return chart(view, span_ms, gate.view["memory"]["limit_bytes"] if gate.view else None)


class _Lines(NamedTuple):
    used: Sequence[float | None]
    memory: Sequence[float | None]  #: parts of ``whole_bytes``
    steps: int
    whole_bytes: int | None


def chart(view: HistoryView, span_ms: int, limit_bytes: int | None) -> Rendered:
    """Return the usage in the last ``span_ms`` milliseconds; ``limit_bytes`` is the memory that the lease may use."""
    steps = max(1, -(-span_ms // view["resolution_ms"]))
    used = view["utilization_percent"][-steps:]
    memory, peaks = view["memory_used_bytes"][-steps:], view["memory_used_bytes_max"][-steps:]
    if not any(value is not None for value in (*used, *memory)):
        return sentence(say("history.nothing", span_ms=span_ms))
    most = max((value for value in peaks if value is not None), default=None)
    whole = max(limit_bytes or 0, most or 0) or None
    summary = joined((_utilization(used, span_ms), _memory(most, limit_bytes)))
    if (known := sum(value is not None for value in used)) < steps:
        summary = joined((summary, say("history.known", known_ms=known * view["resolution_ms"], span_ms=span_ms)))
    shares = [None if value is None else value / 100 for value in used]
    parts = [None if value is None or not whole else value / whole for value in memory]
    text = "\n".join((say("title.history"), f"  {_blocks(shares, steps)}", f"  {summary}"))
    return Rendered(text, _svg(_Lines(shares, parts, steps, whole), summary, span_ms))


def _utilization(used: Sequence[int | None], span_ms: int) -> str:
    known = [value for value in used if value is not None]
    if not known:
        return say("history.utilization_unknown")
    return say("history.utilization", span_ms=span_ms, mean=round(sum(known) / len(known)), most=max(known))


def _memory(most_bytes: int | None, limit_bytes: int | None) -> str:
    if most_bytes is None:
        return say("history.memory_unknown")
    if limit_bytes is None:
        return say("history.memory", most_bytes=most_bytes)
    return say("history.memory_of", most_bytes=most_bytes, limit_bytes=limit_bytes)


def means(values: Sequence[float | None], steps: int, points: int) -> list[float | None]:
    """Return at most ``points`` means of the last ``steps`` values; None where none of its values is known."""
    padded: list[float | None] = [*[None] * (steps - len(values)), *values]
    size = -(-steps // points)
    # From the end, so that the newest point has all its values.
    groups = [padded[max(0, end - size) : end] for end in range(steps, 0, -size)][::-1]
    knowns = ([value for value in group if value is not None] for group in groups)
    return [sum(known) / len(known) if known else None for known in knowns]


def _blocks(values: Sequence[float | None], steps: int) -> str:
    return "".join(
        "·" if value is None else _BLOCKS[min(7, round(max(0.0, value) * 7))]
        for value in means(values, steps, LETTERS_MAX)
    )


def _path(values: Sequence[float | None], steps: int) -> str:
    """Return the path of a line, which is interrupted where a value is not known."""
    points = means(values, steps, POINTS_MAX)
    step = WIDTH / max(1, len(points) - 1)
    path, pen_is_down = [], False
    for index, value in enumerate(points):
        if value is not None:
            place = f"{index * step:.1f} {HEIGHT * (1 - min(1.0, max(0.0, value))):.1f}"
            path.append(f"{'L' if pen_is_down else 'M'}{place}")
            if not pen_is_down:
                path.append(f"L{place}")  # so that a single point is drawn, too
        pen_is_down = value is not None
    return "".join(path)


def _svg(lines_of: _Lines, summary: str, span_ms: int) -> str:
    """Return the figure: only its lines are stretched to the width of the output, so that text stays readable."""
    grid = "var(--jp-border-color2, #bdbdbd)"
    marks = "".join(
        f'<line x1="0" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="{grid}" stroke-width="1" {_FIXED}/>'
        for y in (0, HEIGHT // 2, HEIGHT)
    )
    lines = "".join(
        f'<path d="{_path(values, lines_of.steps)}" fill="none" stroke="{colour}" stroke-width="1.5" {dash}{_FIXED} '
        'stroke-linecap="round"/>'
        for values, colour, dash in (
            (lines_of.used, "var(--jp-brand-color1, #1976d2)", ""),
            (lines_of.memory, "var(--jp-warn-color0, #a04a00)", 'stroke-dasharray="5 3" '),
        )
    )
    whole = lines_of.whole_bytes
    legend = say("history.legend", whole=say("value.unknown") if whole is None else format_memory(whole))
    ago, now = escape(say("history.ago", span_ms=span_ms)), escape(say("history.now"))
    spread = "display: flex; justify-content: space-between"
    return (
        f'<figure class="fastgpu" style="margin: 0; max-width: {WIDTH}px">'
        '<div style="display: grid; grid-template-columns: auto 1fr; gap: 4px 6px; font-size: 11px; line-height: 1">'
        f'<div aria-hidden="true" style="{spread}; flex-direction: column; text-align: right">'
        "<span>100 %</span><span>50 %</span><span>0 %</span></div>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'style="width: 100%; height: {HEIGHT}px; display: block" role="img" '
        f'aria-label="{escape(summary, quote=True)}">'
        f"{marks}{lines}</svg>"
        f'<span></span><div aria-hidden="true" style="{spread}">'
        f"<span>{ago}</span><span>{now}</span></div></div>"
        f"<figcaption>{escape(summary)}<br><small>{escape(legend)}</small></figcaption></figure>"
    )
