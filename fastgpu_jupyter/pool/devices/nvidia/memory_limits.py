"""Memory limits of control groups, which drivers from R615 on enforce."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pynvml

from ....errors import HostFault
from ...host import cgroup


class MemoryLimits:
    """The limits on the GPUs of one session. ``handle_of`` returns a GPU's handle."""

    def __init__(self, handle_of: Callable[[str], Any]) -> None:
        self._handle_of = handle_of
        self._supported: dict[str, bool] = {}

    def supports(self, device_id: str) -> bool:
        """Return whether the driver enforces limits there: from R615 on, for root, with control groups of version 2."""
        known = self._supported.get(device_id)
        if known is None:
            known, is_final = self._find(device_id)
            if is_final:
                self._supported[device_id] = known
        return known

    def _find(self, device_id: str) -> tuple[bool, bool]:
        """Return whether a device supports limits, and whether it will answer the same again."""
        group = cgroup.root()
        if not hasattr(pynvml, "nvmlDeviceGetMemoryLimits_v1") or os.geteuid() or group is None:
            return False, True
        query = pynvml.c_nvmlGetMemoryLimits_v1_t(nameSpace=os.fsencode(group))
        try:
            pynvml.nvmlDeviceGetMemoryLimits_v1(self._handle_of(device_id), query)
        except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):
            return False, True
        except pynvml.NVMLError:
            return True, False  # it supports limits, and this group has none; or the device does not answer
        return True, True

    def set(self, device_id: str, group: str, memory_bytes: int | None) -> None:
        """Set or clear the hard limit of a control group. There is never a soft limit: it would outlive its group."""
        hard = pynvml.NVML_DEVICE_MEMORY_LIMIT_MAX if memory_bytes is None else memory_bytes
        limits = pynvml.c_nvmlSetMemoryLimits_v1_t(nameSpace=os.fsencode(group), softLimit=0, hardLimit=hard)
        try:
            pynvml.nvmlDeviceSetMemoryLimits_v1(self._handle_of(device_id), limits)
        except pynvml.NVMLError as error:
            raise HostFault(f"the driver refused a limit for {group} ({error}).") from error
