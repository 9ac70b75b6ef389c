"""Integer quantities, their text forms and their parsers.

Memory is in bytes, time in milliseconds, money in millionths of a currency unit; all are integers, so that sums are
exact. Nothing here rounds up what a user requests or is charged.
"""

from __future__ import annotations

import re
from decimal import Decimal

from .errors import InvalidRequest, Message

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
MS_PER_HOUR = 3_600_000
MICRO = 1_000_000

#: Largest memory a request may name: beyond any device, and well inside a 64-bit integer.
MEMORY_BYTES_MAX = 1024 * TIB

#: Amounts below this would read as nothing with four decimals.
_LEAST_MICRO = 50

_UNITS = {
    "": 1, "b": 1,
    "k": 10**3, "kb": 10**3, "m": 10**6, "mb": 10**6, "g": 10**9, "gb": 10**9, "t": 10**12, "tb": 10**12,
    "ki": KIB, "kib": KIB, "mi": MIB, "mib": MIB, "gi": GIB, "gib": GIB, "ti": TIB, "tib": TIB,
}  # fmt: skip
_TIMES = {"": 1000, "s": 1000, "min": 60_000, "m": 60_000, "h": MS_PER_HOUR, "d": 24 * MS_PER_HOUR}
_AMOUNT = re.compile(r"\s*([0-9]{1,16})(?:\.([0-9]{1,9}))?\s*([a-zA-Z]*)\s*")


def parse_memory(text: str) -> int:
    """Bytes from ``"24GiB"``, ``"1.5 GB"``, ``"512MiB"`` or a plain number of bytes.

    Fractions of a byte are cut off. Raises :class:`InvalidRequest` where the text is not such an amount or is more
    than :data:`MEMORY_BYTES_MAX`.
    """
    match = _AMOUNT.fullmatch(text)
    unit = _UNITS.get(match[3].lower()) if match else None
    if match is None or unit is None:
        raise InvalidRequest(Message.of("units.no_memory", text=repr(text[:40])))
    amount = _scaled(match, unit)
    if amount > MEMORY_BYTES_MAX:
        raise InvalidRequest(Message.of("units.too_much_memory", text=repr(text[:40])))
    return amount


def parse_duration(text: str) -> int:
    """Milliseconds from ``"90s"``, ``"10m"``, ``"1.5 h"``, ``"2d"``; a plain number is seconds.

    Raises :class:`InvalidRequest` where the text is not such a time.
    """
    match = _AMOUNT.fullmatch(text)
    unit_ms = _TIMES.get(match[3].lower()) if match else None
    if match is None or unit_ms is None:
        raise InvalidRequest(Message.of("units.no_duration", text=repr(text[:40])))
    return _scaled(match, unit_ms)


def parse_money(text: str) -> int:
    """Millionths of the pool's currency from ``"2.50"``. Raises :class:`InvalidRequest` where the text is no amount."""
    match = _AMOUNT.fullmatch(text)
    # A millionth is the least there is: what is less must not become nothing.
    if match is None or match[3] or len((match[2] or "").rstrip("0")) > 6:
        raise InvalidRequest(Message.of("units.no_money", text=repr(text[:40])))
    return _scaled(match, MICRO)


def parse_cores(text: str) -> int:
    """Thousandths of processor cores from ``"4"`` or ``"0.5"``. Raises :class:`InvalidRequest` otherwise."""
    match = _AMOUNT.fullmatch(text)
    if match is None or match[3]:
        raise InvalidRequest(Message.of("units.no_cores", text=repr(text[:40])))
    return _scaled(match, 1000)


def _scaled(match: re.Match[str], unit: int) -> int:
    """What is left of the unit's smallest part is cut off."""
    fraction = match[2] or ""
    return int(match[1]) * unit + int(fraction or 0) * unit // int(10 ** len(fraction))


def exact_memory(memory_bytes: int) -> str:
    """Return a text without blanks that :func:`parse_memory` reads as exactly that many bytes, like ``1.5GiB``."""
    text = format_memory(memory_bytes).replace(" ", "")
    return text if parse_memory(text) == memory_bytes else f"{memory_bytes}B"


def format_memory(memory_bytes: int) -> str:
    """A short text for people: ``"80 GiB"``, ``"1.5 GiB"``, ``"512 MiB"``, ``"17 B"``."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if memory_bytes >= unit:
            return f"{memory_bytes / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{memory_bytes} B"


def format_duration(duration_ms: int) -> str:
    """``"45 s"``, ``"2 min 05 s"``, ``"3 h 07 min"``, ``"30 min"``; parts of a second are cut off."""
    seconds = duration_ms // 1000
    minutes, hours = seconds // 60, seconds // 3600
    if minutes == 0:
        return f"{seconds} s"
    if hours == 0:
        return f"{minutes} min {seconds % 60:02d} s" if seconds % 60 else f"{minutes} min"
    return f"{hours} h {minutes % 60:02d} min" if minutes % 60 else f"{hours} h"


def format_money(amount_micro: int, currency: str) -> str:
    """Return an amount with its currency: ``"1.25 USD"``, ``"0.0417 USD"``."""
    return f"{format_amount(amount_micro)} {currency}"


def format_amount(amount_micro: int) -> str:
    """Return an amount of money: ``"1.25"``; under one unit ``"0.0417"``, so that a small cost is seen to grow.

    The interface in the browser uses the same decimals. What would read as nothing is ``"<0.0001"``.
    """
    if 0 < amount_micro < _LEAST_MICRO:
        return "<0.0001"
    digits = 2 if amount_micro == 0 or abs(amount_micro) >= MICRO else 4
    return f"{Decimal(amount_micro) / MICRO:.{digits}f}"
