"""Draw the figures of ``notebooks_per_gpu.py`` as an SVG picture that a page contains, in the colour of its text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any, NamedTuple

WIDTH, HEIGHT = 760, 350
#: Colours that are readable on white and on black; dashes and marks tell the lines apart without them.
STYLES = (("#2f7ed8", "", "circle"), ("#c4641a", "7 4", "square"), ("#2a9152", "2 4", "diamond"))
STYLE = "font: 13px sans-serif; max-width: 100%; height: auto"

Point = tuple[float, float]


class Line(NamedTuple):
    """A line of a plot, with its name."""

    name: str
    points: list[Point]


class Axis(NamedTuple):
    """The labels of an axis at their values, and where these are from 0 to 1."""

    title: str
    labels: dict[float, str]
    at: Callable[[float], float]


def draw(rows: Sequence[dict[str, Any]], counted: Sequence[dict[str, Any]], curves: dict[Any, Any]) -> str:
    """Return the picture: the factor by speed, and the cells that wait for more than 5 s by the number of GPUs."""
    speeds = sorted({row["gb_per_s"] for row in rows})
    ways = {row["ahead_s"]: "parked for a request" if row["ahead_s"] is None else "also parked ahead" for row in rows}
    lines = [Line(name, _means([row for row in rows if row["ahead_s"] == ahead_s])) for ahead_s, name in ways.items()]
    lines.append(Line("GPUs without hosts", _means(counted)))
    low, high = math.log(speeds[0]) - 0.2, math.log(speeds[-1]) + 0.2
    by_speed = Axis(
        "GB/s of each GPU, to park and to resume",
        {speed: f"{speed:g}" for speed in speeds},
        lambda speed: (math.log(speed) - low) / (high - low),
    )
    factor = Axis("times fewer GPUs than reserved", {n / 2: f"{n / 2:g}" for n in range(2, 7)}, lambda n: (n - 1) / 2)

    points = [point for curve in curves.values() for point in curve]
    gpus = sorted({point["gpus"] for point in points}) or [1]
    near = [
        Line(f"{float(speed):g} GB/s", [(point["gpus"], max(0.001, point["over_5_s_percent"])) for point in curve])
        for speed, curve in curves.items()
    ]
    every = max(8, (gpus[-1] - gpus[0]) // 32 * 8)
    by_gpus = Axis(
        "GPUs",
        {n: f"{n}" for n in range(gpus[0], gpus[-1] + 1, every)},
        lambda n: 0.04 + 0.92 * (n - gpus[0]) / max(1, gpus[-1] - gpus[0]),
    )
    late = Axis(
        "percent of cells that wait for over 5 s",
        {0.001: "≤ 0.001", 0.01: "0.01", 0.1: "0.1", 1.0: "1", 10.0: "10"},
        lambda percent: (math.log10(percent) + 3) / 4,
    )
    parts = [*_plot(60, lines, by_speed, factor, 2.5), *_plot(450, near, by_gpus, late, 0.1)]
    title = "How many times fewer GPUs serve the notebooks, by speed; and cells that wait, by the number of GPUs"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img"'
        f' aria-label="{title}" style="{STYLE}" fill="currentColor">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def _means(rows: Sequence[dict[str, Any]]) -> list[Point]:
    speeds = sorted({row["gb_per_s"] for row in rows})
    return [(one, statistics.mean(row["factor"] for row in rows if row["gb_per_s"] == one)) for one in speeds]


def _plot(left: int, lines: Sequence[Line], x: Axis, y: Axis, target: float) -> Iterator[str]:
    """Yield the elements of a plot; a thin line marks the target."""
    width, height, top = 290, 210, 30
    bottom = top + height

    def place(point: Point) -> Point:
        return left + width * x.at(point[0]), bottom - height * min(1.0, max(0.0, y.at(point[1])))

    yield f'<path d="M{left} {top}V{bottom}H{left + width}" stroke="currentColor" fill="none" opacity="0.6"/>'
    for value, label in x.labels.items():
        yield f'<text x="{left + width * x.at(value):.0f}" y="{bottom + 18}" text-anchor="middle">{label}</text>'
    for value, label in y.labels.items():
        yield f'<text x="{left - 6}" y="{bottom - height * y.at(value) + 4:.0f}" text-anchor="end">{label}</text>'
    yield f'<text x="{left + width / 2:.0f}" y="{bottom + 38}" text-anchor="middle">{escape(x.title)}</text>'
    yield f'<text x="{left - 50}" y="{top - 16}">{escape(y.title)}</text>'
    level = bottom - height * y.at(target)
    yield f'<path d="M{left} {level:.0f}H{left + width}" stroke="currentColor" stroke-width="0.7" opacity="0.6"/>'
    yield f'<text x="{left + 6}" y="{level - 4:.0f}" opacity="0.8">target</text>'
    for number, (line, (colour, dashes, mark)) in enumerate(zip(lines, STYLES, strict=False)):
        points = [place(point) for point in line.points]
        path = "L".join(f"{at_x:.1f} {at_y:.1f}" for at_x, at_y in points)
        yield f'<path d="M{path}" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" fill="none"/>'
        yield from (_mark(mark, point, colour) for point in points)
        at_y = bottom + 58 + 17 * number
        yield f'<path d="M{left} {at_y - 4}h30" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'
        yield _mark(mark, (left + 15, at_y - 4), colour)
        yield f'<text x="{left + 38}" y="{at_y}">{escape(line.name)}</text>'


def _mark(kind: str, at: Point, colour: str) -> str:
    x, y = at
    if kind == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    turn = "" if kind == "square" else f' transform="rotate(45 {x:.1f} {y:.1f})"'
    return f'<rect x="{x - 3.5:.1f}" y="{y - 3.5:.1f}" width="7" height="7" fill="{colour}"{turn}/>'
