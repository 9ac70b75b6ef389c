"""The window in which readings show an idle device: boundaries, gaps and clocks that jump."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from fastgpu_jupyter.core.lease.idle_window import GAP_MS_MAX, IdleWindow

WINDOW_MS, BELOW = 60_000, 5


def window(readings: Sequence[tuple[int, int | None]]) -> IdleWindow:
    """Return a window with readings of ``(second, percent)``."""
    found = IdleWindow()
    for second, percent in readings:
        found.add(1000 * second, percent, BELOW)
    return found


def low(first: int, last: int) -> list[tuple[int, int | None]]:
    return [(second, 0) for second in range(first, last + 1)]


@pytest.mark.parametrize(
    ("readings", "since_s"),
    [
        (low(0, 59), None),
        (low(0, 60), 0),  # the window is full at its boundary
        ([(0, 5), *low(1, 60)], None),  # the threshold itself is use, and the last of it is a second too near
        ([(0, 5), *low(1, 61)], 1),
        ([(0, 4), *low(1, 60)], 0),
        ([*low(0, 60), (61, None)], None),  # unknown is not idle
        ([*low(0, 60), (61, 100)], None),
        ([*low(0, 30), (31, None), *low(32, 91)], None),
        ([*low(0, 30), (31, None), *low(32, 92)], 32),
        ([(0, 0), (60, 0)], None),  # two readings do not fill a window
        ([*low(0, 50), *low(55, 60)], 0),  # as far apart as readings may be
        ([*low(0, 50), *low(56, 65)], None),  # farther: what happened between is unknown
        ([*low(0, 60), (59, 0)], None),  # a clock that goes back
        ([], None),
    ],
)
def test_window_shows_an_idle_device_only_where_every_reading_of_it_is_low(
    readings: list[tuple[int, int | None]], since_s: int | None
) -> None:
    found = window(readings).idle_since_ms(WINDOW_MS)
    assert found == (None if since_s is None else 1000 * since_s)


def test_window_keeps_what_it_has_while_no_reading_can_be_taken() -> None:
    found = window(low(0, 60))
    for second in range(61, 120):
        found.pass_over(1000 * second)
    found.add(120_000, 0, BELOW)
    assert found.idle_since_ms(WINDOW_MS) == 0
    found.add(120_000 + GAP_MS_MAX + 1, 0, BELOW)
    assert found.low_since_ms == 120_000 + GAP_MS_MAX + 1
