"""Calendar months of UTC, by which money is counted, on a wall clock that may be set at any time.

A month begins where the wall clock says so. The clock that bills never jumps; where the wall clock was set, time is
counted to the month that was current until the next event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..model.entities import Instant, Month

_DAY_MS = 86_400_000
#: Days before the epoch of a calendar whose years begin in March, so that a leap day is the last of its year.
_DAYS_TO_EPOCH = 719_468
_ERA_DAYS, _ERA_YEARS = 146_097, 400


class Turn(NamedTuple):
    """Another month is current from an instant on."""

    month: Month
    at: Instant


def month_at(wall_ms: int) -> Month:
    """The month of that wall-clock time."""
    return month_of(*_civil(wall_ms // _DAY_MS))


def month_of(year: int, of_year: int) -> Month:
    """The month with that number, 1 to 12, of a year."""
    number = year * 12 + of_year - 1
    return Month(number, _begins_ms(number), _begins_ms(number + 1))


def after(month: Month, months: int) -> Month:
    """The month so many months later, or earlier."""
    year, before = divmod(month.number + months, 12)
    return month_of(year, before + 1)


def months_later(wall_ms: int, months: int) -> int:
    """The same day and time so many months later; the end of the month where it has no such day."""
    month = month_at(wall_ms)
    then = after(month, months)
    return min(then.begins_wall_ms + wall_ms - month.begins_wall_ms, then.ends_wall_ms)


def text(month: Month) -> str:
    """Return the month as text, such as ``2026-11``."""
    return f"{month.number // 12:04d}-{month.number % 12 + 1:02d}"


def turns(month: Month, last: Instant, at: Instant) -> Iterator[Turn]:
    """How the current month changes between two events, ``last`` and ``at``; nothing where it does not.

    A month that ends begins the next at the millisecond; one that the clock was set back before begins at ``at``.
    """
    if at.wall_ms < month.begins_wall_ms or month.number == 0:
        yield Turn(month_at(at.wall_ms), at)
        return
    ms = last.ms
    while month.ends_wall_ms <= at.wall_ms:
        ms = min(max(ms, last.ms + month.ends_wall_ms - last.wall_ms), at.ms)
        month = after(month, 1)
        yield Turn(month, Instant(ms, month.begins_wall_ms))


def _civil(day: int) -> tuple[int, int]:
    """Year and month of a day since 1970-01-01."""
    era, of_era = divmod(day + _DAYS_TO_EPOCH, _ERA_DAYS)
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    march_based = (5 * of_year + 2) // 153
    number = march_based + 3 if march_based < 10 else march_based - 9
    return year + era * _ERA_YEARS + (number <= 2), number


def _begins_ms(number: int) -> int:
    """The first millisecond of a month."""
    year, of_year = number // 12, number % 12 + 1
    year -= of_year <= 2
    era, of_era = divmod(year, _ERA_YEARS)
    day = (153 * (of_year - 3 if of_year > 2 else of_year + 9) + 2) // 5
    days = era * _ERA_DAYS + of_era * 365 + of_era // 4 - of_era // 100 + day - _DAYS_TO_EPOCH
    return days * _DAY_MS
