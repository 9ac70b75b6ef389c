"""What MIG does to NVIDIA GPUs, through NVML: profiles, GPU instances and the compute instance in each.

Nothing is known of a model: names, memory, slots and starts are the driver's. A GPU instance is made where it was told
to be, never where the driver likes, because what the driver likes spoils the only place of a larger one. In each is one
compute instance that has all of it: a program sees one compute instance and no other.

Used by the one thread that makes all calls of NVML.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from ctypes import byref, c_uint
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pynvml

from ....core.model.entities import PartitionProfile
from ....errors import HostFault
from ....units import MIB
from ..driver import NOT_PARTITIONABLE, PartitionMode
from ..mechanisms.base import PartitionInstance, PlacementOccupied

T = TypeVar("T")
#: Which device nodes are whose, as ``gpu0/gi1/ci0/access 13``.
MIG_MINORS = Path("/proc/driver/nvidia-caps/mig-minors")
CAPABILITY_NODE = "/dev/nvidia-caps/nvidia-cap"
#: No GPU has more slots, or more starts of one profile.
SLOTS_MAX = 64
INSTANCES_MAX = 64
_NAME = re.compile(r"[0-9]{1,2}g\.[0-9]{1,4}gb(?:[+-][a-z]{1,8}(?:\.[a-z]{1,8})?)?")
#: Errors by which NVML says that a GPU does not have a profile of that number.
_HAS_NOT = (pynvml.NVMLError_NotSupported, pynvml.NVMLError_InvalidArgument)


class _Kind(NamedTuple):
    """A profile of one GPU, and the numbers that NVML has for it."""

    profile: PartitionProfile
    id: int
    compute: int  #: slices of compute


class _Made(NamedTuple):
    """A GPU instance that is there."""

    handle: Any
    kind: _Kind
    start: int
    id: int
    #: Its compute instances: handle, slices of compute, number, and the MIG device that programs use.
    computes: tuple[tuple[Any, int, int, Any], ...]


class MigController:
    """The GPUs of one session that are in MIG mode. ``handle_of`` gives a GPU's handle."""

    def __init__(self, handle_of: Callable[[str], Any]) -> None:
        self._handle_of = handle_of
        self._kinds: dict[str, dict[str, _Kind]] = {}
        self._compute_ids: dict[tuple[str, str], dict[int, int]] = {}  #: of a profile: id by slices of compute
        self._nodes: dict[str, tuple[str, ...]] = {}  #: files of MIG devices, by UUID

    def forget(self, device_id: str) -> None:
        """MIG mode is off: what the driver said of the GPU may be otherwise when it is on again."""
        self._kinds.pop(device_id, None)
        for key in [key for key in self._compute_ids if key[0] == device_id]:
            del self._compute_ids[key]

    # -- the mode -----------------------------------------------------------------------------------------------------

    def mode(self, device_id: str) -> PartitionMode:
        """MIG mode of a GPU. Ampere's changes with a reset and lasts; later ones' changes at once and does not."""
        handle = self._handle_of(device_id)
        try:
            current, pending = pynvml.nvmlDeviceGetMigMode(handle)
        except _HAS_NOT:
            return NOT_PARTITIONABLE
        except pynvml.NVMLError as error:
            raise HostFault(f"The driver could not say whether MIG divides the GPU: {_why(error)}") from error
        at_once = False
        with suppress(pynvml.NVMLError):
            (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED])
            at_once = value.nvmlReturn == pynvml.NVML_SUCCESS and bool(value.value.uiVal)
        return PartitionMode(
            capable=True, on=bool(current), pending=bool(pending), needs_reset=not at_once, survives_restart=not at_once
        )

    def switch(self, device_id: str, on: bool) -> PartitionMode:
        """Switch it. Nothing has changed where this raises."""
        before = self.mode(device_id)
        if not before.capable:
            raise HostFault("This GPU cannot be divided by MIG.")
        handle = self._handle_of(device_id)
        status = _ask("switch MIG mode", pynvml.nvmlDeviceSetMigMode, handle, int(on))
        # The call succeeds also where it has done nothing: only this says so.
        if status not in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_RESET_REQUIRED):
            with suppress(pynvml.NVMLError):
                pynvml.nvmlDeviceSetMigMode(handle, int(before.pending))
            reason = "something uses it" if status == pynvml.NVML_ERROR_IN_USE else f"NVML error {status}"
            raise HostFault(
                f"The driver does not switch MIG mode of this GPU: {reason}. End what runs there and destroy MIG "
                "instances that are not the pool's; monitoring (DCGM) counts, too. Nothing was changed."
            )
        return self.mode(device_id)

    # -- what there is ------------------------------------------------------------------------------------------------

    def profiles(self, device_id: str) -> tuple[PartitionProfile, ...]:
        """How the GPU can be divided, the smallest first. Raises :class:`HostFault` where that makes no sense."""
        return tuple(kind.profile for kind in self._table(device_id).values())

    def instances(self, device_id: str) -> list[PartitionInstance]:
        """The GPU instances that are there, whoever made them."""
        found = []
        for one in self._instances(device_id):
            devices = tuple(self._name(device) for *_, device in one.computes)
            complete = len(one.computes) == 1 and one.computes[0][1] == one.kind.compute
            for uuid, (_, _, compute_id, _) in zip(devices, one.computes, strict=True):
                if uuid not in self._nodes:
                    self._nodes[uuid] = self._find_nodes(device_id, one.id, compute_id)
            found.append(PartitionInstance(one.kind.profile.name, one.start, devices, complete))
        return found

    def processes(self, device_id: str) -> list[Any]:
        """The processes on all its MIG devices, as NVML lists them."""
        listed = []
        for one in self._instances(device_id):
            for *_, device in one.computes:
                listed += _ask(
                    "list the processes of a MIG device", pynvml.nvmlDeviceGetComputeRunningProcesses, device
                )
        return listed

    def nodes(self, uuid: str) -> tuple[str, ...]:
        """The files of a MIG device that a process must be able to open, beside its GPU's; from memory."""
        return self._nodes.get(uuid, ())

    # -- what is made -------------------------------------------------------------------------------------------------

    def create(self, device_id: str, profile: str, start: int) -> None:
        """Create a GPU instance. Raises :class:`PlacementOccupied` where the driver has no room for it there."""
        kind = self._kind(device_id, profile)
        place = pynvml.c_nvmlGpuInstancePlacement_t(start=start, size=kind.profile.length)
        try:
            pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(self._handle_of(device_id), kind.id, byref(place))
        except (pynvml.NVMLError_InsufficientResources, pynvml.NVMLError_InvalidArgument) as error:
            raise PlacementOccupied(
                f"The driver has no room for the MIG instance {profile} at slot {start} ({error})."
            ) from error
        except pynvml.NVMLError as error:
            raise HostFault(f"The driver could not make the MIG instance {profile}: {_why(error)}") from error

    def complete(self, device_id: str, profile: str, start: int) -> str:
        """Make the one compute instance of a GPU instance; the UUID of its MIG device."""
        one = self._find(device_id, profile, start)
        number = self._compute_numbers(device_id, one.kind, one.handle).get(one.kind.compute)
        if number is None:
            raise HostFault(f"The driver has no compute instance for all of {profile}.")
        made = _ask("make a compute instance", pynvml.nvmlGpuInstanceCreateComputeInstance, one.handle, number)
        device = _ask("say what it made", pynvml.nvmlComputeInstanceGetInfo, made).device
        uuid = self._name(device)
        self.instances(device_id)  # which remembers its files
        return uuid

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        """Unmake a GPU instance and what is in it; nothing where it is not there. Raises HostFault while it is used."""
        try:
            one = self._find(device_id, profile, start)
        except LookupError:
            return
        for compute, *_, device in one.computes:
            uuid = self._name(device)
            _ask(f"destroy the compute instance of {uuid}", pynvml.nvmlComputeInstanceDestroy, compute)
            self._nodes.pop(uuid, None)
        _ask(f"destroy the MIG instance {profile} at slot {start}", pynvml.nvmlGpuInstanceDestroy, one.handle)

    # -- asking -------------------------------------------------------------------------------------------------------

    def _find(self, device_id: str, profile: str, start: int) -> _Made:
        for one in self._instances(device_id):
            if (one.kind.profile.name, one.start) == (profile, start):
                return one
        raise Missing(f"There is no MIG instance {profile} at slot {start} of {device_id}.")

    def _instances(self, device_id: str) -> list[_Made]:
        handle, found = self._handle_of(device_id), []
        for kind in self._table(device_id).values():
            for one in _listed(pynvml.nvmlDeviceGetGpuInstances, pynvml.c_nvmlGpuInstance_t, handle, kind.id):
                try:
                    info = _ask("say what a MIG instance is", pynvml.nvmlGpuInstanceGetInfo, one)
                    computes = tuple(self._computes(device_id, kind, one))
                except _Gone:
                    continue  # somebody destroys it meanwhile
                found.append(_Made(one, kind, int(info.placement.start), int(info.id), computes))
        return found

    def _computes(self, device_id: str, kind: _Kind, instance: Any) -> list[tuple[Any, int, int, Any]]:
        found = []
        for slices, number in self._compute_numbers(device_id, kind, instance).items():
            for one in _listed(
                pynvml.nvmlGpuInstanceGetComputeInstances, pynvml.c_nvmlComputeInstance_t, instance, number
            ):
                info = _ask("say what a compute instance is", pynvml.nvmlComputeInstanceGetInfo, one)
                found.append((one, slices, int(info.id), info.device))
        return found

    def _compute_numbers(self, device_id: str, kind: _Kind, instance: Any) -> dict[int, int]:
        """By slices of compute, the number by which such a compute instance of a GPU instance is made."""
        key = device_id, kind.profile.name
        if key not in self._compute_ids:
            numbers: dict[int, int] = {}
            for number in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
                with suppress(*_HAS_NOT):
                    info = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(
                        instance, number, pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
                    )
                    numbers.setdefault(int(info.sliceCount), int(info.id))
            self._compute_ids[key] = numbers
        return self._compute_ids[key]

    def _kind(self, device_id: str, profile: str) -> _Kind:
        kind = self._table(device_id).get(profile)
        if kind is None:
            raise HostFault(f"This GPU has no MIG profile {profile}.")
        return kind

    def _table(self, device_id: str) -> dict[str, _Kind]:
        if device_id not in self._kinds:
            self._kinds[device_id] = _read_table(self._handle_of(device_id))
        return self._kinds[device_id]

    @staticmethod
    def _name(device: Any) -> str:
        uuid = _ask("say which MIG device that is", pynvml.nvmlDeviceGetUUID, device)
        if not isinstance(uuid, str) or not uuid.startswith("MIG-") or not uuid.isprintable() or len(uuid) > 96:
            raise HostFault("The NVIDIA driver says a UUID of a MIG device that cannot be one.")
        return uuid

    def _find_nodes(self, device_id: str, instance_id: int, compute_id: int) -> tuple[str, ...]:
        """The files of the capabilities to use an instance, as far as the driver names them."""
        try:
            text = MIG_MINORS.read_text(encoding="ascii", errors="replace")
            gpu = f"gpu{pynvml.nvmlDeviceGetMinorNumber(self._handle_of(device_id))}"
        except (OSError, pynvml.NVMLError):
            return ()
        minors = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
        names = (f"{gpu}/gi{instance_id}/access", f"{gpu}/gi{instance_id}/ci{compute_id}/access")
        return tuple(f"{CAPABILITY_NODE}{minors[name]}" for name in names if name in minors)


class Missing(HostFault, LookupError):
    """There is no such instance."""


class _Gone(HostFault):
    """What was asked about is not there any more."""


def _read_table(handle: Any) -> dict[str, _Kind]:
    """The profiles of a GPU by name, the smallest first."""
    infos = []
    for number in range(pynvml.NVML_GPU_INSTANCE_PROFILE_COUNT):
        try:
            infos.append(pynvml.nvmlDeviceGetGpuInstanceProfileInfo(handle, number))
        except _HAS_NOT:
            continue
        except pynvml.NVMLError as error:
            raise HostFault(f"The driver could not say how MIG divides the GPU: {_why(error)}") from error
    total_bytes = _ask("say its memory", pynvml.nvmlDeviceGetMemoryInfo, handle).total
    possible = [info for info in infos if info.instanceCount and info.sliceCount]
    found = [(info, placed) for info in possible if (placed := _starts(handle, int(info.id))) is not None]
    if not found:
        raise HostFault("The GPU is in MIG mode, and its driver names no profile by which it could be divided.")
    slots = max(start + length for _, (length, starts) in found for start in starts)
    compute = max(int(info.sliceCount) for info, _ in found)
    table: dict[str, _Kind] = {}
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
            raise HostFault("What the NVIDIA driver says about the ways in which MIG divides the GPU cannot be true.")
        table[profile.name] = _Kind(profile, int(info.id), slices)
    return table


def _starts(handle: Any, profile_id: int) -> tuple[int, tuple[int, ...]] | None:
    """The length of a profile and where it may begin; ``None`` where it may nowhere."""
    count = c_uint()
    try:
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, None, byref(count))
        places = (pynvml.c_nvmlGpuInstancePlacement_t * min(count.value, SLOTS_MAX))()
        count = c_uint(len(places))
        pynvml.nvmlDeviceGetGpuInstancePossiblePlacements(handle, profile_id, places, byref(count))
    except _HAS_NOT:
        return None
    except pynvml.NVMLError as error:
        raise HostFault(f"The driver could not say where a MIG instance may begin: {_why(error)}") from error
    lengths = {int(place.size) for place in places[: count.value]}
    starts = tuple(sorted({int(place.start) for place in places[: count.value]}))
    if not starts:
        return None
    (length, *others) = lengths
    if others or not 0 < length <= SLOTS_MAX or starts[-1] + length > SLOTS_MAX:
        raise HostFault("The NVIDIA driver says places of MIG instances that cannot be true.")
    return length, starts


def _profile_name(info: Any, slices: int, part: float, total_bytes: int) -> str:
    """As the driver names it; a driver that does not is read as its tools are: slices of compute, and memory."""
    said = getattr(info, "name", "")
    name = str(said.decode(errors="replace") if isinstance(said, bytes) else said).lower().removeprefix("mig ").strip()
    if name:
        if not _NAME.fullmatch(name):
            raise HostFault(f"The NVIDIA driver says a name of a MIG profile that cannot be one ({name[:40]!r}).")
        return name
    return f"{slices}g.{math.floor(part * math.ceil(total_bytes / 2**30) + 0.5)}gb"


def _listed(call: Callable[..., Any], kind: Any, handle: Any, number: int) -> list[Any]:
    """The handles that a call writes into an array."""
    array, count = (kind * INSTANCES_MAX)(), c_uint(INSTANCES_MAX)
    try:
        call(handle, number, array, byref(count))
    except _HAS_NOT:
        return []
    except pynvml.NVMLError_NotFound as error:
        raise _Gone(f"It is not there any more ({error}).") from error
    except pynvml.NVMLError as error:
        raise HostFault(f"The driver could not list the MIG instances of the GPU: {_why(error)}") from error
    return list(array[: min(count.value, INSTANCES_MAX)])


def _ask(what: str, call: Callable[..., T], *args: Any) -> T:
    try:
        return call(*args)
    except pynvml.NVMLError_NotFound as error:
        raise _Gone(f"The NVIDIA driver could not {what}: it is not there any more ({error}).") from error
    except pynvml.NVMLError as error:
        raise HostFault(f"The NVIDIA driver could not {what}: {_why(error)}") from error


def _why(error: Any) -> str:
    if isinstance(error, pynvml.NVMLError_NoPermission):
        return (
            "the pool may not divide GPUs. Let it read /proc/driver/nvidia/capabilities/mig/config "
            "(`chgrp` of its device node), or run it as root."
        )
    return f"{error}."
