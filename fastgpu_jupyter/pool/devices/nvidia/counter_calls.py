"""Calls of NVML for counters: a call that a device does not support is not repeated for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pynvml

#: How long a call is not made again on a device that does not support it.
UNSUPPORTED_S = 60.0
#: Return codes of NVML. Success is among the errors, as the bindings raise it where a list is empty.
SUCCESS, NOT_SUPPORTED, NO_PERMISSION, NOT_FOUND, FUNCTION_NOT_FOUND = 0, 3, 4, 6, 13


class CounterCalls:
    """The calls of one reader. ``nvml`` is the module of NVML's bindings."""

    def __init__(self, nvml: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self.nvml = nvml
        self.clock = clock
        self._unsupported: dict[tuple[str, str], float] = {}  #: until when, by device or partition and name

    def call(self, device_id: str, name: str, *args: Any) -> Any:
        """Return the answer of a call, ``None`` where NVML refuses it."""
        if self.is_unsupported(device_id, name):
            return None
        return self.attempt(device_id, name, lambda: getattr(self.nvml, name)(*args))

    def attempt(self, device_id: str, name: str, call: Callable[[], Any]) -> Any:
        """Return the answer of a call that counts by that name, ``None`` where NVML refuses it."""
        try:
            return call()
        except (self.nvml.NVMLError, AttributeError, pynvml.NVMLLibraryMismatchError) as error:
            self.note(device_id, name, error)
            return None

    def is_unsupported(self, device_id: str, name: str) -> bool:
        """Return whether the device did not support the call lately."""
        until_s = self._unsupported.get((device_id, name))
        return until_s is not None and self.clock() < until_s

    def note(self, device_id: str, name: str, error: Exception) -> None:
        """Record that a call failed, if it failed because the device or the bindings do not support it."""
        code = getattr(error, "value", None)
        if not isinstance(error, self.nvml.NVMLError) or code in (NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND):
            self.pause(device_id, name, UNSUPPORTED_S)

    def pause(self, device_id: str, name: str, for_s: float) -> None:
        """Make no such call for so long."""
        self._unsupported[device_id, name] = self.clock() + for_s

    def forget(self, device_id: str) -> None:
        """Drop what is known of a device or partition."""
        for key in [key for key in self._unsupported if key[0] == device_id]:
            del self._unsupported[key]


def within(value: Any, most: int) -> int | None:
    """Return ``value`` where it is an integer from 0 to ``most``, else ``None``."""
    return value if isinstance(value, int) and 0 <= value <= most else None
