"""MIG on NVIDIA GPUs through NVML: the mode, GPU instances and the compute instance in each.

A GPU instance is created at the start that the caller chooses, never where the driver chooses, because the driver may
take the only place of a larger one. In each is one compute instance that has all of it: a program sees one compute
instance and no other.

For the thread that makes all calls of NVML.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from ctypes import byref, c_uint
from pathlib import Path
from typing import Any, NamedTuple

import pynvml

from ....core.model.entities import PartitionProfile
from ....errors import HostFault
from ..driver import NOT_PARTITIONABLE, PartitionMode
from ..mechanisms.base import PartitionInstance, PlacementOccupied
from . import session
from .mig_profiles import NO_SUCH_PROFILE, InstanceGone, MigProfile, ask, read_profiles, reason_of

#: Which device nodes are whose, as ``gpu0/gi1/ci0/access 13``.
MIG_MINORS = Path("/proc/driver/nvidia-caps/mig-minors")
CAPABILITY_NODE = "/dev/nvidia-caps/nvidia-cap"
INSTANCES_MAX = 64


class _ComputeInstance(NamedTuple):
    """A compute instance of a GPU instance."""

    handle: Any
    slices: int
    id: int
    device: Any  #: the MIG device that programs use


class _GpuInstance(NamedTuple):
    """A GPU instance that exists."""

    handle: Any
    profile: MigProfile
    start: int
    id: int
    computes: tuple[_ComputeInstance, ...]


class InstanceMissing(HostFault, LookupError):
    """There is no such instance."""


class MigController:
    """The GPUs of one session that are in MIG mode. ``handle_of`` gives a GPU's handle."""

    def __init__(self, handle_of: Callable[[str], Any]) -> None:
        self._handle_of = handle_of
        self._profiles: dict[str, dict[str, MigProfile]] = {}
        self._compute_ids: dict[tuple[str, str], dict[int, int]] = {}  #: of a profile: id by slices of compute
        self._nodes: dict[str, tuple[str, ...]] = {}  #: files of MIG devices, by UUID

    def forget(self, device_id: str) -> None:
        """Drop what the driver reported of a GPU whose MIG mode is off: it may report otherwise later."""
        self._profiles.pop(device_id, None)
        for key in [key for key in self._compute_ids if key[0] == device_id]:
            del self._compute_ids[key]

    # -- the mode -----------------------------------------------------------------------------------------------------

    def mode(self, device_id: str) -> PartitionMode:
        """Return MIG mode of a GPU. On Ampere it changes with a reset and persists; later at once, and does not."""
        handle = self._handle_of(device_id)
        try:
            current, pending = pynvml.nvmlDeviceGetMigMode(handle)
        except NO_SUCH_PROFILE:
            return NOT_PARTITIONABLE
        except pynvml.NVMLError as error:
            raise HostFault(f"The driver could not say whether MIG divides the GPU: {reason_of(error)}") from error
        at_once = False
        with suppress(pynvml.NVMLError):
            (value,) = pynvml.nvmlDeviceGetFieldValues(handle, [pynvml.NVML_FI_DEV_IS_RESETLESS_MIG_SUPPORTED])
            at_once = value.nvmlReturn == pynvml.NVML_SUCCESS and bool(value.value.uiVal)
        return PartitionMode(
            capable=True,
            on=bool(current),
            pending=bool(pending),
            needs_reset=not at_once,
            survives_restart=not at_once,
            reset_command=f"sudo nvidia-smi --gpu-reset -i {device_id}",
        )

    def switch(self, device_id: str, on: bool) -> PartitionMode:
        """Switch MIG mode of a GPU. Nothing has changed where this raises."""
        before = self.mode(device_id)
        if not before.capable:
            raise HostFault("This GPU cannot be divided by MIG.")
        handle = self._handle_of(device_id)
        status = ask("switch MIG mode", pynvml.nvmlDeviceSetMigMode, handle, int(on))
        # The call succeeds also where it has done nothing: only the status shows it.
        if status not in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_RESET_REQUIRED):
            with suppress(pynvml.NVMLError):
                pynvml.nvmlDeviceSetMigMode(handle, int(before.pending))
            reason = "something uses it" if status == pynvml.NVML_ERROR_IN_USE else f"NVML error {status}"
            raise HostFault(
                f"The driver does not switch MIG mode of this GPU: {reason}. End what runs there and destroy MIG "
                "instances that are not the pool's; monitoring (DCGM) counts, too. Nothing was changed."
            )
        return self.mode(device_id)

    # -- instances ----------------------------------------------------------------------------------------------------

    def profiles(self, device_id: str) -> tuple[PartitionProfile, ...]:
        """Return the profiles of the GPU, the smallest first. Raises :class:`HostFault` where they make no sense."""
        return tuple(entry.profile for entry in self._profiles_of(device_id).values())

    def instances(self, device_id: str) -> list[PartitionInstance]:
        """Return the GPU instances that exist, whether the pool created them or not."""
        found = []
        for one in self._instances(device_id):
            devices = tuple(self._name(device) for *_, device in one.computes)
            complete = len(one.computes) == 1 and one.computes[0][1] == one.profile.compute
            for uuid, (_, _, compute_id, _) in zip(devices, one.computes, strict=True):
                if uuid not in self._nodes:
                    self._nodes[uuid] = self._find_nodes(device_id, one.id, compute_id)
            found.append(PartitionInstance(one.profile.profile.name, one.start, devices, complete))
        return found

    def devices(self, device_id: str) -> list[Any]:
        """Return the handles of all its MIG devices."""
        return [device for one in self._instances(device_id) for *_, device in one.computes]

    def nodes(self, uuid: str) -> tuple[str, ...]:
        """Return the files of a MIG device that a process must be able to open, beside its GPU's; from memory."""
        return self._nodes.get(uuid, ())

    # -- create and destroy -------------------------------------------------------------------------------------------

    def create(self, device_id: str, profile: str, start: int) -> None:
        """Create a GPU instance. Raises :class:`PlacementOccupied` where the driver has no room for it there."""
        entry = self._profile(device_id, profile)
        place = pynvml.c_nvmlGpuInstancePlacement_t(start=start, size=entry.profile.length)
        try:
            pynvml.nvmlDeviceCreateGpuInstanceWithPlacement(self._handle_of(device_id), entry.id, byref(place))
        except (pynvml.NVMLError_InsufficientResources, pynvml.NVMLError_InvalidArgument) as error:
            raise PlacementOccupied(
                f"The driver has no room for the MIG instance {profile} at slot {start} ({error})."
            ) from error
        except pynvml.NVMLError as error:
            raise HostFault(f"The driver could not create the MIG instance {profile}: {reason_of(error)}") from error

    def complete(self, device_id: str, profile: str, start: int) -> str:
        """Create the one compute instance of a GPU instance, and return the UUID of its MIG device."""
        one = self._find(device_id, profile, start)
        number = self._compute_numbers(device_id, one.profile, one.handle).get(one.profile.compute)
        if number is None:
            raise HostFault(f"The driver has no compute instance for all of {profile}.")
        created = ask("create a compute instance", pynvml.nvmlGpuInstanceCreateComputeInstance, one.handle, number)
        device = ask("say what it created", pynvml.nvmlComputeInstanceGetInfo, created).device
        uuid = self._name(device)
        self.instances(device_id)  # stores the paths of its files
        return uuid

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        """Destroy a GPU instance and what is in it, where it exists. Raises HostFault while a process uses it."""
        try:
            one = self._find(device_id, profile, start)
        except LookupError:
            return
        for compute, *_, device in one.computes:
            uuid = self._name(device)
            ask(f"destroy the compute instance of {uuid}", pynvml.nvmlComputeInstanceDestroy, compute)
            self._nodes.pop(uuid, None)
        ask(f"destroy the MIG instance {profile} at slot {start}", pynvml.nvmlGpuInstanceDestroy, one.handle)

    # -- calls of NVML ------------------------------------------------------------------------------------------------

    def _find(self, device_id: str, profile: str, start: int) -> _GpuInstance:
        for one in self._instances(device_id):
            if (one.profile.profile.name, one.start) == (profile, start):
                return one
        raise InstanceMissing(f"There is no MIG instance {profile} at slot {start} of {device_id}.")

    def _instances(self, device_id: str) -> list[_GpuInstance]:
        handle, found = self._handle_of(device_id), []
        for entry in self._profiles_of(device_id).values():
            for one in _listed(pynvml.nvmlDeviceGetGpuInstances, pynvml.c_nvmlGpuInstance_t, handle, entry.id):
                try:
                    info = ask("say what a MIG instance is", pynvml.nvmlGpuInstanceGetInfo, one)
                    computes = tuple(self._computes(device_id, entry, one))
                except InstanceGone:
                    continue  # it is being destroyed
                found.append(_GpuInstance(one, entry, int(info.placement.start), int(info.id), computes))
        return found

    def _computes(self, device_id: str, entry: MigProfile, instance: Any) -> list[_ComputeInstance]:
        found = []
        for slices, number in self._compute_numbers(device_id, entry, instance).items():
            for one in _listed(
                pynvml.nvmlGpuInstanceGetComputeInstances, pynvml.c_nvmlComputeInstance_t, instance, number
            ):
                info = ask("say what a compute instance is", pynvml.nvmlComputeInstanceGetInfo, one)
                found.append(_ComputeInstance(one, slices, int(info.id), info.device))
        return found

    def _compute_numbers(self, device_id: str, entry: MigProfile, instance: Any) -> dict[int, int]:
        """Return by slices of compute the number by which such a compute instance of a GPU instance is created."""
        key = device_id, entry.profile.name
        if key not in self._compute_ids:
            numbers: dict[int, int] = {}
            for number in range(pynvml.NVML_COMPUTE_INSTANCE_PROFILE_COUNT):
                with suppress(*NO_SUCH_PROFILE):
                    info = pynvml.nvmlGpuInstanceGetComputeInstanceProfileInfo(
                        instance, number, pynvml.NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED
                    )
                    numbers.setdefault(int(info.sliceCount), int(info.id))
            self._compute_ids[key] = numbers
        return self._compute_ids[key]

    def _profile(self, device_id: str, profile: str) -> MigProfile:
        entry = self._profiles_of(device_id).get(profile)
        if entry is None:
            raise HostFault(f"This GPU has no MIG profile {profile}.")
        return entry

    def _profiles_of(self, device_id: str) -> dict[str, MigProfile]:
        if device_id not in self._profiles:
            self._profiles[device_id] = read_profiles(self._handle_of(device_id))
        return self._profiles[device_id]

    @staticmethod
    def _name(device: Any) -> str:
        uuid = ask("say which MIG device that is", pynvml.nvmlDeviceGetUUID, device)
        if not isinstance(uuid, str) or not uuid.startswith("MIG-") or not uuid.isprintable() or len(uuid) > 96:
            raise HostFault("The NVIDIA driver reports a UUID of a MIG device that cannot be one.")
        return uuid

    def _find_nodes(self, device_id: str, instance_id: int, compute_id: int) -> tuple[str, ...]:
        """Return the files of the capabilities to use an instance, as far as the driver names them."""
        try:
            text = MIG_MINORS.read_text(encoding="ascii", errors="replace")
            gpu = f"gpu{pynvml.nvmlDeviceGetMinorNumber(self._handle_of(device_id))}"
        except (OSError, pynvml.NVMLError):
            return ()
        minors = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
        names = (f"{gpu}/gi{instance_id}/access", f"{gpu}/gi{instance_id}/ci{compute_id}/access")
        return tuple(f"{CAPABILITY_NODE}{minors[name]}" for name in names if name in minors)


def _listed(call: Callable[..., Any], array_type: Any, handle: Any, number: int) -> list[Any]:
    """Return the handles that a call writes into an array."""
    array, count = (array_type * INSTANCES_MAX)(), c_uint(INSTANCES_MAX)
    try:
        call(handle, number, array, byref(count))
    except NO_SUCH_PROFILE:
        return []
    except pynvml.NVMLError_NotFound as error:
        raise InstanceGone(f"It is not there any more ({error}).") from error
    except pynvml.NVMLError as error:
        fault = session.Unanswerable if session.is_unanswerable(error) else HostFault
        raise fault(f"The driver could not list the MIG instances of the GPU: {reason_of(error)}") from error
    return list(array[: min(count.value, INSTANCES_MAX)])
