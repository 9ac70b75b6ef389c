"""The highest device memory during a cell, by the counters that frameworks keep of their own allocations.

They count what a program really used. The driver, which the pool asks, counts what the process holds: a framework that
preallocates or keeps freed memory holds much more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from . import framework_memory


class Counter(NamedTuple):
    """How a framework is asked."""

    name: str
    begin: Callable[[Any], int | None]  #: restart the counter, or return the peak so far, which cannot be restarted
    peak: Callable[[Any], int | None]  #: in bytes, of all devices; None if it is not known


class Peak(NamedTuple):
    """What a framework counted during a cell."""

    framework: str
    peak_bytes: int | None  #: None: not more than before the cell, or the framework does not say


def _torch_begin(torch: Any) -> None:
    if torch.cuda.is_initialized():
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)


def _tensorflow_begin(tensorflow: Any) -> None:
    for device in tensorflow.config.list_logical_devices("GPU"):
        tensorflow.config.experimental.reset_memory_stats(device.name)


def _tensorflow_peak(tensorflow: Any) -> int | None:
    devices = tensorflow.config.list_logical_devices("GPU")
    infos = [tensorflow.config.experimental.get_memory_info(device.name) for device in devices]
    return sum(int(info["peak"]) for info in infos) if infos else None


_torch_peak = partial(framework_memory.peak_bytes, "torch")
_jax_peak = partial(framework_memory.peak_bytes, "jax")

#: Frameworks with a counter, by the name of their module. CuPy keeps none of its peak.
COUNTERS = {
    "torch": Counter("PyTorch", _torch_begin, _torch_peak),
    "tensorflow": Counter("TensorFlow", _tensorflow_begin, _tensorflow_peak),
    "jax": Counter("JAX", _jax_peak, _jax_peak),
}


def begin(modules: Mapping[str, Any] = sys.modules) -> dict[str, int | None]:
    """Restart the counters of the imported frameworks; return the peaks of those that cannot be restarted."""
    before: dict[str, int | None] = {}
    for module, counter in COUNTERS.items():
        if module in modules:
            # A framework whose interface changed must not keep a cell from running.
            with suppress(Exception):
                framework_memory.keep(module, modules[module])
            with suppress(Exception):
                before[module] = counter.begin(modules[module])
    return before


def end(before: Mapping[str, int | None], modules: Mapping[str, Any] = sys.modules) -> list[Peak]:
    """Return the peaks since :func:`begin` of the frameworks that are imported now."""
    peaks = []
    for module, counter in COUNTERS.items():
        if module in modules:
            peak: int | None = None
            with suppress(Exception):
                peak = counter.peak(modules[module])
            earlier = before.get(module)
            unchanged = peak is not None and earlier is not None and peak <= earlier
            peaks.append(Peak(counter.name, None if unchanged else peak))
    return peaks
