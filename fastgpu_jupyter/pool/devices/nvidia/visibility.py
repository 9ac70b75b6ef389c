"""The GPUs that the environment of the pool manager leaves to it: by ``CUDA_VISIBLE_DEVICES``, or in a Slurm job.

A pool that serves other GPUs than its user may use would take them from other users. So the variables mean what they
mean to CUDA: a list of indices, UUIDs, or beginnings of UUIDs, which ends before the first entry that is none of a GPU;
a MIG device stands for itself. Slurm's lists have the numbers of device files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ....core.model.entities import DeviceSpec
from ..mechanisms.base import PartitionInstance
from ..restriction import Listed, chosen_indices, find_device
from .env import VISIBLE_DEVICES

_ORDER = "CUDA_DEVICE_ORDER"
#: Lists of the GPUs of a Slurm job; that of the step goes first.
_SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")
#: The variables that restrict which GPUs a pool serves.
RESTRICTING_VARIABLES = (VISIBLE_DEVICES, _ORDER, *_SLURM)
#: Entries by which users and Slurm say that no GPU is visible.
_NO_GPU = frozenset({"", "-1", "NoDevFiles", "none", "void"})


@dataclass(frozen=True, slots=True)
class GpuIdentity:
    """What tells GPUs apart; all but the index is empty for a GPU that does not say."""

    index: int  #: NVML's, in the order of the bus
    id: str = ""
    minor: int = -1  #: number of its device file
    model: str = ""


class Selection(NamedTuple):
    """The GPUs that a pool serves."""

    #: By index: ``None``, or the UUIDs of the MIG devices to which it is restricted on that GPU.
    gpus: Mapping[int, frozenset[str] | None]
    note: str | None = None  #: what the administrator should know


class VisibleDevices:
    """The restriction of a pool manager by its environment and by ``only``, the names in ``FastGPUPool.devices``."""

    def __init__(self, environ: Mapping[str, str], only: Sequence[str] = ()) -> None:
        named = (name for name in (VISIBLE_DEVICES, *_SLURM) if name in environ)
        self._variable = next(named, None)
        self._value = environ.get(self._variable, "") if self._variable else ""
        self._in_bus_order = environ.get(_ORDER) == "PCI_BUS_ID"
        self._only = only

    @property
    def restricts(self) -> bool:
        """Whether there is a restriction at all."""
        return self._variable is not None or bool(self._only)

    def select(self, gpus: Sequence[GpuIdentity], mig_devices_of: Callable[[str], Collection[str]]) -> Selection:
        """Return those of all ``gpus`` that the pool serves. ``mig_devices_of``: the UUIDs of MIG devices on a GPU."""
        named, wrong = chosen_indices(self._only, [Listed(gpu.index, gpu.id) for gpu in gpus])
        if self._variable is None:
            return Selection(dict.fromkeys(sorted(named)), wrong)
        visible: dict[int, frozenset[str] | None]
        if self._variable in _SLURM:
            numbers = set(_numbers(self._value))
            visible, stopped = {gpu.index: None for gpu in gpus if gpu.minor in numbers}, None
        else:
            visible, stopped = self._read(gpus, mig_devices_of)
        chosen = {index: parts for index, parts in visible.items() if index in named}
        notes = [wrong, stopped]
        if not chosen:
            notes.append(
                f"{self._variable} ({self._value!r}) leaves this pool no GPU. Unset it, or name GPUs in it, and start "
                "the pool again."
            )
        return Selection(chosen, " ".join(filter(None, notes)) or None)

    def _read(
        self, gpus: Sequence[GpuIdentity], mig_devices_of: Callable[[str], Collection[str]]
    ) -> tuple[dict[int, frozenset[str] | None], str | None]:
        """Return what ``CUDA_VISIBLE_DEVICES`` names, and a sentence about the entry at which it ends."""
        found: dict[int, frozenset[str] | None] = {}
        listed = [Listed(gpu.index, gpu.id) for gpu in gpus]
        for entry in map(str.strip, self._value.split(",")):
            if entry.isdigit() and not self._in_bus_order and len({gpu.model for gpu in gpus if gpu.model}) > 1:
                return {}, (
                    f"{VISIBLE_DEVICES} has the index {entry}, and CUDA's order of GPUs of several models is unknown: "
                    f"name them by UUID, or set {_ORDER}=PCI_BUS_ID."
                )
            if entry.startswith("MIG-"):
                gpu = next((one for one in listed if one.id and entry in mig_devices_of(one.id)), None)
                if gpu is not None:
                    found[gpu.index] = (found.get(gpu.index) or frozenset()) | {entry}
                    continue
            elif entry.isdigit() or entry.startswith("GPU-"):
                gpu = find_device(entry, listed)
                if gpu is not None:
                    found[gpu.index] = None
                    continue
            if entry in _NO_GPU:
                return found, None
            if not all(gpu.id for gpu in gpus):
                continue  # it may be a GPU that does not answer now
            return found, f"{VISIBLE_DEVICES} names {entry!r}, which is no GPU here; CUDA ignores it and what follows."
        return found, None


def _numbers(text: str) -> Iterator[int]:
    """Yield the numbers in a list of numbers and ranges such as ``0,2-3``."""
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        yield from range(int(first), min(int(last or first), int(first) + 1024) + 1)


def restrict_to_mig_devices(
    spec: DeviceSpec, instances: Sequence[PartitionInstance], visible: frozenset[str]
) -> DeviceSpec:
    """Return the spec of a GPU of which only the MIG devices ``visible`` may be leased, and none may be made."""
    places = {(one.profile, one.start) for one in instances if not visible.isdisjoint(one.devices)}
    profiles = (
        replace(one, starts=tuple(start for start in one.starts if (one.name, start) in places))
        for one in spec.profiles
    )
    existing = (
        replace(one, usable=one.usable and (one.profile, one.start) in places) for one in spec.existing_partitions
    )
    return replace(spec, profiles=tuple(one for one in profiles if one.starts), existing_partitions=tuple(existing))
