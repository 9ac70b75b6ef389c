"""The MIG profiles of a GPU as its driver reports them.

No model of GPU is known here: names, memory, slots and starts are the driver's, and a table that cannot be true is
refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ctypes import byref, c_uint
from typing import Any, NamedTuple, TypeVar

import pynvml

from ....core.model.entities import PartitionProfile
from ....errors import HostFault
from ....units import MIB
from . import session

T = TypeVar("T")
#: No GPU has more slots, or more starts of one profile.
SLOTS_MAX = 64
_NAME = re.compile(r"[0-9]{1,2}g\.[0-9]{1,4}gb(?:[+-][a-z]{1,8}(?:\.[a-z]{1,8})?)?")
#: Errors by which NVML reports that a GPU does not have a profile of that number.
NO_SUCH_PROFILE = (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument)


class MigProfile(NamedTuple):
    """A profile of one GPU, and the numbers that NVML has for it."""

    profile: PartitionProfile
    id: int
    compute: int  #: slices of compute


class InstanceGone(HostFault):
    """The instance that a call was about does not exist any more."""


def ask(what: str, call: Callable[..., T], *args: Any) -> T:
    """Return the answer of a call. Raises :class:`InstanceGone` or :class:`HostFault`."""
    try:
        return call(*args)
    except pynvml.NVMLError_NotFound as error:
        raise InstanceGone(f"The NVIDIA driver could not {what}: it is not there any more ({error}).") from error
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError) as error:
        fault = session.Unanswerable if session.is_unanswerable(error) else HostFault
        raise fault(f"The NVIDIA driver could not {what}: {reason_of(error)}") from error


def reason_of(error: Any) -> str:
    """Return the reason of an error as the end of a sentence, with what to do where a permission is missing."""
    if isinstance(error, pynvml.NVMLError_NoPermission):
        return (
            "the pool may not divide GPUs. Let it read /proc/driver/nvidia/capabilities/mig/config "
            "(`chgrp` of its device node), or run it as root."
        )
    return f"{error}."


def read_profiles(handle: Any) -> dict[str, MigProfile]:
    """Return the profiles of a GPU by name, the smallest first. Raises :class:`HostFault` where they make no sense."""
    infos = []
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            infos.append(pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, number))
        except NO_SUCH_PROFILE:
            continue
        except pynvml.NVMLError as error:
            raise HostFault(f"The driver could not say how MIG divides the GPU: {reason_of(error)}") from error
    total_bytes = ask("say its memory", pynvml.nvmlDeviceGetMemoryInfo, handle).total
    possible = [info for info in infos if info.instanceCount and info.sliceCount]
    found = [(info, placed) for info in possible if (placed := _starts(handle, int(info.id))) is not None]
    if not found:
        raise HostFault("The GPU is in MIG mode, and its driver names no profile by which it could be divided.")
    slots = max(start + length for _, (length, starts) in found for start in starts)
    compute = max(int(info.sliceCount) for info, _ in found)
    table: dict[str, MigProfile] = {}
    for info, (length, starts) in sorted(found, key=lambda one: (one[1][0], int(one[0].sliceCount), int(one[0].id))):
        slices = int(info.sliceCount)
        profile = PartitionProfile(
            name=_profile_name(info, slices, length / slots, total_bytes),
            memory_bytes=int(info.memorySizeMB) * MIB,
            milli=max(length * 1000 // slots, slices * 1000 // compute),
            length=length,
            starts=starts,
            at_most=int(info.instanceCount),
        )
        # Side by side, as many as have room must have no more than there is.
        if profile.name in table or not 0 < profile.memory_bytes * (slots // length) <= total_bytes:
            raise HostFault("What the NVIDIA driver reports on how MIG divides the GPU cannot be true.")
        table[profile.name] = MigProfile(profile, int(info.id), slices)
    return table


def _starts(handle: Any, profile_id: int) -> tuple[int, tuple[int, ...]] | None:
    """Return the length of a profile and where it may begin; ``None`` where it may nowhere."""
    count = c_uint()
    try:
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, None, byref(count))
        places = (pynvml.c_nvmlGpuInstancePlacement_t * min(count.value, SLOTS_MAX))()
        count = c_uint(len(places))
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, places, byref(count))
    except NO_SUCH_PROFILE:
        return None
    except pynvml.NVMLError as error:
        raise HostFault(f"The driver could not say where a MIG instance may begin: {reason_of(error)}") from error
    lengths = {int(place.size) for place in places[: count.value]}
    starts = tuple(sorted({int(place.start) for place in places[: count.value]}))
    if not starts:
        return None
    (length, *others) = lengths
    if others or not 0 < length <= SLOTS_MAX or starts[-1] + length > SLOTS_MAX:
        raise HostFault("The NVIDIA driver reports places of MIG instances that cannot be true.")
    return length, starts


def _profile_name(info: Any, slices: int, part: float, total_bytes: int) -> str:
    """Return the driver's name for a profile; where it has none, the name that its tools print: compute and memory."""
    said = getattr(info, "name", "")
    name = str(said.decode(errors="replace") if isinstance(said, bytes) else said).lower().removeprefix("mig ").strip()
    if name:
        if not _NAME.fullmatch(name):
            raise HostFault(f"The NVIDIA driver reports a name of a MIG profile that cannot be one ({name[:40]!r}).")
        return name
    return f"{slices}g.{math.floor(part * math.ceil(total_bytes / 2**30) + 0.5)}gb"
