"""The device memory that the frameworks in this kernel count themselves.

A framework that allocates in advance has more memory on the device than its program needs. Its own counters show what
was needed: the most that was allocated at a time since the process began, or since its user reset them. Only frameworks
that are imported and have initialized are asked; nothing is imported or initialized for that, and nothing is reset.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..compat import jax as compat_jax


class FrameworkMemory(NamedTuple):
    """The counters of one framework, or the sums of several, in bytes."""

    peak_bytes: int  #: the most that was needed at a time
    reserved_bytes: int  #: the most that was taken from the device for it


#: The counters of frameworks before a profile of a cell restarted them, by the name of the module.
_KEPT: dict[str, FrameworkMemory] = {}


def peak_bytes(name: str, module: Any) -> int | None:
    """Return the peak of an imported framework since its counters began; None if not known. Raises its errors."""
    one = _COUNTERS[name](module)
    return None if one is None else one.peak_bytes


def keep(name: str, module: Any) -> None:
    """Remember the counters of an imported framework, because they are about to be restarted. Raises its errors."""
    one = _COUNTERS[name](module) if name in _COUNTERS else None
    if one is not None:
        _KEPT[name] = _highest(one, _KEPT.get(name, one))


def _highest(one: FrameworkMemory, other: FrameworkMemory) -> FrameworkMemory:
    return FrameworkMemory(*map(max, zip(one, other, strict=True)))


def read(modules: Mapping[str, Any] = sys.modules) -> FrameworkMemory | None:
    """Return what the frameworks among ``modules`` count together; None where none does.

    Of a framework that fails to answer nothing is known, and then nothing of the sum.
    """
    found = []
    for name, counters in _COUNTERS.items():
        module = modules.get(name)
        if module is None:
            continue
        try:
            one = counters(module)
            found += [_highest(one, _KEPT.get(name, one))] if one is not None else []
        except Exception:  # noqa: BLE001 (whatever a framework raises)
            return None
    return FrameworkMemory(*map(sum, zip(*found, strict=True))) if found else None


def _torch(torch: Any) -> FrameworkMemory | None:
    if not torch.cuda.is_initialized():
        return None
    devices = range(torch.cuda.device_count())
    return FrameworkMemory(
        sum(torch.cuda.max_memory_allocated(device) for device in devices),
        sum(torch.cuda.max_memory_reserved(device) for device in devices),
    )


def _jax(jax: Any) -> FrameworkMemory | None:
    if not compat_jax.backends_are_initialized(jax):
        return None
    stats = [device.memory_stats() for device in jax.local_devices() if device.platform == "gpu"]
    if not stats or not all(stats):  # of a device without statistics it is not known what it had
        return None
    peaks = [int(one["peak_bytes_in_use"]) for one in stats]
    # Older versions do not tell the size of the pool; with their default they take all that they may.
    pools = [int(one.get("peak_pool_bytes") or one.get("pool_bytes") or one.get("bytes_limit") or 0) for one in stats]
    return FrameworkMemory(sum(peaks), sum(pools))


#: The module of a framework -> the function that reads its counters.
_COUNTERS: Mapping[str, Callable[[Any], FrameworkMemory | None]] = {"torch": _torch, "jax": _jax}
