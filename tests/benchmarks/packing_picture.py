"""Draw curves of allocation by arrived load as SVG, one panel a trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, COLUMNS = 250, 190, 3
LEFT, TOP, RIGHT, BOTTOM = 34, 24, 10, 34  #: margins of a panel
STYLES = ('stroke="#8a8a8a" stroke-dasharray="5 3"', 'stroke="#1f6fb4"')


class Panel(NamedTuple):
    """The curves of one trace: by name, the allocated percentage by arrived percentage."""

    title: str
    curves: Mapping[str, Mapping[int, float]]


def draw(panels: Sequence[Panel]) -> str:
    """Return the picture."""
    rows = -(-len(panels) // COLUMNS)
    width, height = WIDTH * min(COLUMNS, len(panels)), HEIGHT * rows
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        '<g font-family="sans-serif" font-size="11" fill="#333">',
        '<rect width="100%" height="100%" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        row, column = divmod(number, COLUMNS)
        parts += [f'<g transform="translate({column * WIDTH} {row * HEIGHT})">', *_panel(panel), "</g>"]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _panel(panel: Panel) -> list[str]:
    loads = sorted(next(iter(panel.curves.values())))
    first, last = loads[0], loads[-1]
    lowest = 10 * int(min(min(curve.values()) for curve in panel.curves.values()) // 10)

    def at(load: float, percent: float) -> tuple[float, float]:
        across, up = (load - first) / (last - first), (percent - lowest) / (100 - lowest)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="15" font-weight="bold">{escape(panel.title)}</text>']
    for percent in range(lowest, 101, 10):
        x, y = at(first, percent)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 4:.1f}" y="{y + 4:.1f}" text-anchor="end">{percent}</text>')
    for load in range(first, last + 1, 10):
        x, y = at(load, lowest)
        parts.append(f'<text x="{x:.1f}" y="{y + 14:.1f}" text-anchor="middle">{load}</text>')
    for i, (name, curve) in enumerate(panel.curves.items()):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(load, curve[load]) for load in loads))
        style = STYLES[i % len(STYLES)]
        parts.append(f'<polyline points="{points}" fill="none" stroke-width="1.6" {style}/>')
        x, y = WIDTH - RIGHT - 75, HEIGHT - BOTTOM - 26 + 15 * i
        parts.append(f'<path d="M{x:.1f} {y - 4:.1f}h20" stroke-width="1.6" {style}/>')
        parts.append(f'<text x="{x + 25:.1f}" y="{y:.1f}">{escape(name)}</text>')
    x, y = at((first + last) / 2, lowest)
    parts.append(f'<text x="{x:.1f}" y="{y + 28:.1f}" text-anchor="middle">requested, % of the GPUs</text>')
    return parts
