"""NVIDIA GPUs through NVML. Nobody but this module and those beside it named ``nvml_…`` imports ``pynvml``.

Devices are named by UUID everywhere: NVML's index is neither CUDA's nor stable over reboots. There is one NVML session
for all; its counters are read by one thread, what is asked of devices is asked by another, and what waits for errors or
moves memory has threads of its own, which NVML allows. What NVML says is not believed blindly: a device whose answers
make no sense is not leased, and one that was leased before is kept, as the pool knows it, until it answers again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pynvml

from ....core.model.entities import DeviceSpec, Health, LogicalGPU, Mechanism, PartitionStyle
from ....errors import HostFault
from ....units import MEMORY_BYTES_MAX
from ...host import cgroup
from ..driver import DeviceGone, DeviceProcess, LimitResult, PartitionMode, Sample, SampledLease, ScrubCommand
from ..health import HealthWatcher
from ..mechanisms.base import LeaseMechanism, PartitionInstance
from ..mechanisms.exclusive import Exclusive
from ..mechanisms.mig import Mig
from ..mechanisms.mps import Mps, MpsSettings, folder_for, missing
from ..mechanisms.shared import Shared
from ..registration import DriverNotInstalled, DriverOptions
from .catalog import CATALOG
from .counters import Counters
from .cuda_checkpoint import MOVE_FROM, PARK_FROM, CheckpointParker
from .device_files import SHARED_NODES
from .env import HIDDEN_ENV, VISIBLE_DEVICES, visible_env
from .health import NvmlHealthWatcher
from .mig import MigController
from .mps_facts import mps_facts
from .parking import LeaseParker

T = TypeVar("T")
#: Texts of NVML that are longer are no names.
TEXT_MAX = 96
NOT_PARKABLE = "What is on this GPU could not be brought back to whichever GPU is free then, so it is not parked."
_SWITCHED = "MIG mode of the GPU was switched since the pool looked last."
_NONE = "The NVIDIA driver answers, but this machine has no GPU. Check with `nvidia-smi`."


class NvidiaDriver:
    """Driver of all NVIDIA GPUs of the host."""

    def __init__(self, options: DriverOptions) -> None:
        self._rates = options.rates
        self._is_open = False
        self._handles: dict[str, Any] = {}
        self._specs: dict[str, DeviceSpec] = {}  #: as each device last said it sensibly
        self._nodes: dict[str, str] = {}
        self._counters = Counters(pynvml)
        self._parkable: set[str] = set()
        self._limits: dict[str, bool] = {}  #: whether the driver limits memory there
        self._memory: LeaseParker | str | None = None  #: what parks, or why nothing does, once that is known
        self._mps = Mps(self, _mps_settings(options))
        self._limiters: dict[Mechanism, LeaseMechanism] = {
            Mechanism.EXCLUSIVE: Exclusive(self),
            Mechanism.MPS: self._mps,
        }
        if options.share:
            self._limiters[Mechanism.SHARED] = Shared(self)
        self._divider = MigController(self._handle)
        self._mig = Mig(self, remove_unknown=options.remove_unknown_partitions)

    def open(self) -> None:
        """Begin the session, unless there is one.

        Raises :class:`DriverNotInstalled` where there is no driver, :class:`HostFault` where one does not answer.
        """
        if self._is_open:
            return
        # A pool that a kernel started inherits the kernel's view of the devices, which is not the pool's.
        os.environ.pop(VISIBLE_DEVICES, None)
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError_LibraryNotFound as error:
            raise DriverNotInstalled(
                "There is no NVIDIA driver on this machine (libnvidia-ml.so.1 was not found)."
            ) from error
        except pynvml.NVMLError as error:
            raise HostFault(
                f"The NVIDIA driver does not answer ({error}). Check it with `nvidia-smi`; "
                "FastGPU does not simulate GPUs on a machine whose GPUs are broken."
            ) from error
        self._is_open = True

    # -- what there is ------------------------------------------------------------------------------------------------

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        """MIG instances and MPS daemons cannot say whose they are."""
        self._mig.adopt(held)
        self._mps.adopt(held)

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """Every GPU that NVML counts."""
        self.open()
        self._mps.tidy()
        specs: dict[str, DeviceSpec] = {}
        said = []
        count = _sensible(_ask("list its GPUs", pynvml.nvmlDeviceGetCount), 0, 1024, "number of GPUs")
        for index in range(count):
            try:
                spec, of_others = self._look_at(index)
            except HostFault as error:
                said.append(f"GPU {index} is not leased: {error}")
                continue
            said += [f"GPU {index}: {of_others}"] if of_others else []
            specs[spec.id] = self._specs[spec.id] = spec
        if said:  # one of those that are known may be one that did not answer
            silent = [uuid for uuid in self._specs if uuid not in specs and _is_known(uuid)]
            specs |= {uuid: self._specs[uuid] for uuid in silent}
        said += filter(None, [self._mps.why_not()])
        if specs:
            found = self._with_parking(sorted(specs.values(), key=lambda spec: spec.index))
            return found, " ".join(said) or None
        return [], " ".join(said) or _NONE

    def _with_parking(self, specs: list[DeviceSpec]) -> list[DeviceSpec]:
        """With whether the memory of each can be parked."""
        if self._memory is None:
            self._memory = self._begin_parking()
        whole = [spec for spec in specs if not spec.profiles]  # no driver parks what is on a MIG instance
        self._parkable = {spec.id for spec in whole if self._may_park(spec, whole)}
        return [replace(spec, parkable=spec.id in self._parkable) for spec in specs]

    def _look_at(self, index: int) -> tuple[DeviceSpec, str | None]:
        """What the device with that index is, and what is to be said of it."""
        handle = _ask("say which GPU that is", pynvml.nvmlDeviceGetHandleByIndex, index)
        uuid = _text(_ask("say which GPU that is", pynvml.nvmlDeviceGetUUID, handle), "GPU-", "UUID")
        divided = _in_mig_mode(handle)
        if uuid in self._specs and divided != bool(self._specs[uuid].profiles):
            del self._specs[uuid]  # whatever else it says or does not say: it is not what it was
        name = _text(_ask("say its name", pynvml.nvmlDeviceGetName, handle), "", "name")
        memory_bytes = _memory_bytes(handle)
        self._handles[uuid] = handle
        self._nodes[uuid] = f"/dev/nvidia{_number(pynvml.nvmlDeviceGetMinorNumber, handle, index)}"
        if divided:
            limiters: Sequence[LeaseMechanism] = [self._mig]
        else:
            limiters = list(self._limiters.values())
            self._divider.forget(uuid)
        capabilities = tuple(filter(None, (limiter.capability(uuid) for limiter in limiters)))
        existing, said = self._mig.existing_partitions(uuid, self._divider.instances(uuid)) if divided else ((), None)
        spec = DeviceSpec(
            id=uuid,
            index=index,
            model=name.removeprefix("NVIDIA "),
            memory_bytes=memory_bytes,
            simulated=False,
            mechanisms=tuple(capability.mechanism for capability in capabilities),
            rate_micro_per_hour=CATALOG.rate_of(name, self._rates),
            partition=PartitionStyle.DYNAMIC if divided else PartitionStyle.NONE,
            capabilities=capabilities,
            profiles=self._divider.profiles(uuid) if divided else (),
            existing_partitions=existing,
        )
        return spec, said

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Faulty where the GPU no longer answers, or nothing that makes sense."""
        try:
            is_partitioned = self._answers(device_id)
        except HostFault as error:
            return Health.FAULTY, str(error)
        spec = self._specs.get(device_id)
        if spec is not None and is_partitioned != bool(spec.profiles):
            return Health.FAULTY, _SWITCHED
        return Health.HEALTHY, None

    # -- logical GPUs -------------------------------------------------------------------------------------------------

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        """Make it by its mechanism."""
        return self._limiter(logical_gpu).prepare(logical_gpu)

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        """Limit it by its mechanism."""
        return self._limiter(logical_gpu).limit(logical_gpu, pid)

    def release(self, logical_gpu: LogicalGPU) -> None:
        """Unmake it by its mechanism; what a device had that is gone is gone with it."""
        limiter = self._mig if logical_gpu.partition is not None else self._limiters.get(logical_gpu.mechanism)
        try:
            if limiter is not None:
                limiter.release(logical_gpu)
        except HostFault:
            if _is_known(logical_gpu.device_id):
                raise

    def lost(self, logical_gpu: LogicalGPU) -> str | None:
        """Whether somebody destroyed its MIG instance, or its MPS daemon ended."""
        if logical_gpu.mechanism is Mechanism.MPS:
            return self._mps.lost(logical_gpu)
        return None if logical_gpu.partition is None else self._mig.lost(logical_gpu)

    def park(self, logical_gpu: LogicalGPU, pid: int) -> int:
        """By CUDA's checkpoint."""
        if logical_gpu.mechanism is Mechanism.MPS:
            raise HostFault("CUDA cannot park what runs by MPS.")
        if not self._parkable.issuperset(logical_gpu.device_ids):
            raise HostFault(self._memory if isinstance(self._memory, str) else NOT_PARKABLE)
        return self._parking().park(logical_gpu.device_ids, pid, logical_gpu.memory_bytes)

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str]) -> None:
        """By CUDA's checkpoint."""
        self._parking().resume(origin or logical_gpu.device_ids, logical_gpu.device_ids, pid)

    def _parking(self) -> LeaseParker:
        if isinstance(self._memory, LeaseParker):
            return self._memory
        raise HostFault(self._memory or NOT_PARKABLE)

    def _begin_parking(self) -> LeaseParker | str:
        """What moves leases' memory, or why nothing does."""
        try:
            release = _ask("say its version", pynvml.nvmlSystemGetDriverVersion).partition(".")[0]
            if not release.isdigit() or int(release) < PARK_FROM:
                return f"Parking needs a driver of R{PARK_FROM} or newer."
            parker = CheckpointParker()
        except HostFault as missing:
            return str(missing)
        return LeaseParker(parker, self._use_of, _every_gpu, moves=int(release) >= MOVE_FROM)

    def _use_of(self, device_id: str) -> dict[int, int | None]:
        return {process.pid: process.memory_bytes for process in self.processes(device_id)}

    def _may_park(self, spec: DeviceSpec, specs: Iterable[DeviceSpec]) -> bool:
        """Whether what was on the GPU can come back to whichever of its model is free then."""
        if not isinstance(self._memory, LeaseParker):
            return False
        return self._memory.moves or sum(other.model == spec.model for other in specs) == 1

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """CUDA sees exactly these devices."""
        if logical_gpu.partition is not None:  # of its GPU a program would take the first partition that it finds
            return {**visible_env([logical_gpu.driver_handle]), **self._mig.env(logical_gpu)}
        visible = visible_env(logical_gpu.device_ids)
        limiter = self._limiters.get(logical_gpu.mechanism)
        known = all(device_id in self._specs for device_id in logical_gpu.device_ids)
        return {**visible, **(limiter.env(logical_gpu) if limiter is not None and known else {})}

    def hidden_env(self) -> Mapping[str, str]:
        """CUDA sees no device."""
        return HIDDEN_ENV

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        """Return a process that uses CUDA for each device or MIG device, because CUDA sees one MIG device only."""
        names = [logical_gpu.driver_handle] if logical_gpu.partition is not None else logical_gpu.device_ids
        argv = (sys.executable, "-m", f"{__package__}.scrub_worker", str(os.getpid()))
        return [ScrubCommand(name, argv, {VISIBLE_DEVICES: name}) for name in names]

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        """The files of its devices, and those that all share."""
        own = [self._nodes[device_id] for device_id in logical_gpu.device_ids if device_id in self._nodes]
        parts = self._divider.nodes(logical_gpu.driver_handle) if logical_gpu.partition is not None else ()
        return [*own, *SHARED_NODES, *parts] if own else []

    def _limiter(self, gpu: LogicalGPU) -> LeaseMechanism:
        if gpu.mechanism is Mechanism.MIG:
            return self._mig
        limiter = self._limiters.get(gpu.mechanism)
        if limiter is None:
            raise HostFault(f"GPUs of this pool are not leased by the mechanism {gpu.mechanism.value!r}.")
        return limiter

    # -- what is used -------------------------------------------------------------------------------------------------

    def processes(self, device_id: str) -> Sequence[DeviceProcess]:
        """Processes with a CUDA context on the GPU."""
        found: Sequence[Any]
        try:
            handle = self._handle(device_id)
            if _in_mig_mode(handle):
                found = self._divider.processes(device_id)
            else:
                found = _ask("list the processes of its GPU", pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
                if self._mps.serves(device_id):
                    by_mps = pynvml.nvmlDeviceGetMPSComputeRunningProcesses
                    return self._with_mps(found, _ask("list the processes of its GPU by MPS", by_mps, handle))
        except HostFault as error:
            if _is_known(device_id):  # one that is lost may come back, with what was on it
                raise
            raise DeviceGone(f"This machine has no GPU {device_id} any more.") from error
        used: dict[int, int | None] = {}
        for one in found:
            more, before = _plausible(one.usedGpuMemory), used.get(one.pid, 0)
            used[one.pid] = None if more is None or before is None else before + more
        return [DeviceProcess(pid, memory_bytes) for pid, memory_bytes in used.items()]

    def _with_mps(self, found: Sequence[Any], by_mps: Sequence[Any]) -> list[DeviceProcess]:
        """Those that run by MPS as well, which some drivers list twice, and without the servers."""
        used = {one.pid: _plausible(one.usedGpuMemory) for one in [*found, *by_mps]}
        return [DeviceProcess(pid, memory_bytes) for pid, memory_bytes in used.items() if not self._mps.is_server(pid)]

    def sample(self, subjects: Sequence[SampledLease]) -> Sample:
        """The counters of each device and what its processes use; of leases, those on MIG devices."""
        sample = Sample()
        shared = {gpu.device_id for _, _, gpu in subjects if not gpu.whole and gpu.partition is None}
        for uuid, handle in list(self._handles.items()):
            sample.devices[uuid] = self._counters.device(uuid, handle)
            by_mps = self._mps.serves(uuid)
            processes = self._counters.processes(uuid, handle, utilization=uuid in shared, by_mps=by_mps)
            if processes is not None:
                sample.processes[uuid] = [one for one in processes if not (by_mps and self._mps.is_server(one.pid))]
                sample.lists[uuid] = self._counters.list_number(uuid)
        divided = [subject for subject in subjects if subject.logical_gpu.partition is not None]
        partitions = self._counters.partitions({subject.logical_gpu.driver_handle for subject in divided})
        for subject in divided:
            sample.leases[subject.lease_id] = partitions[subject.logical_gpu.driver_handle]
        return sample

    def watch(self) -> HealthWatcher:
        """The health of the GPUs that there are."""
        return NvmlHealthWatcher(list(self._handles))

    def partition_mode(self, device_id: str) -> PartitionMode:
        """MIG mode, and what it takes to switch it."""
        return self._divider.mode(device_id)

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Switch MIG mode."""
        return self._divider.switch(device_id, on)

    def close(self) -> None:
        """End the NVML session."""
        if self._is_open:
            pynvml.nvmlShutdown()

    # -- what mechanisms ask ------------------------------------------------------------------------------------------

    def require(self, device_id: str) -> None:
        """Raise :class:`HostFault` unless the GPU answers and MIG does not divide it."""
        if self._answers(device_id):
            raise HostFault("The GPU was divided by MIG since it was granted.")

    def require_partitioned(self, device_id: str) -> list[PartitionInstance]:
        """The MIG instances. Raises :class:`HostFault` unless the GPU answers and MIG divides it."""
        if not self._answers(device_id):
            raise HostFault("MIG mode of the GPU was switched off since it was granted.")
        return self._divider.instances(device_id)

    def _answers(self, device_id: str) -> bool:
        """Whether MIG divides the GPU. Raises where it does not answer."""
        handle = self._handle(device_id)
        _memory_bytes(handle)
        return _in_mig_mode(handle)

    def instances(self, device_id: str) -> list[PartitionInstance]:
        """The MIG instances that are there; none where the mode is off."""
        return self._divider.instances(device_id) if _in_mig_mode(self._handle(device_id)) else []

    def create(self, device_id: str, profile: str, start: int) -> None:
        """Make a MIG instance."""
        self._divider.create(device_id, profile, start)

    def complete(self, device_id: str, profile: str, start: int) -> str:
        """Make what programs see of it."""
        return self._divider.complete(device_id, profile, start)

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        """Unmake it."""
        self._divider.destroy(device_id, profile, start)

    def memory_bytes(self, device_id: str) -> int:
        """All memory of a GPU."""
        return self._specs[device_id].memory_bytes

    def supports_memory_limits(self, device_id: str) -> bool:
        """Drivers from R615 on, for root, where there are control groups of version 2."""
        known = self._limits.get(device_id)
        if known is None:
            known, lasts = self._find_limits(device_id)
            if lasts:
                self._limits[device_id] = known
        return known

    def _find_limits(self, device_id: str) -> tuple[bool, bool]:
        """Whether a device knows limits, and whether it will say the same again."""
        group = cgroup.root()
        if not hasattr(pynvml, "nvmlDeviceGetMemoryLimits_v1") or os.geteuid() or group is None:
            return False, True
        asked = pynvml.c_nvmlGetMemoryLimits_v1_t(nameSpace=os.fsencode(group))
        try:
            pynvml.nvmlDeviceGetMemoryLimits_v1(self._handle(device_id), asked)
        except (pynvml.NVMLError_FunctionNotFound, pynvml.NVMLError_NotSupported, pynvml.NVMLError_NoPermission):
            return False, True
        except pynvml.NVMLError:
            return True, False  # it knows limits, and this group has none; or the device does not answer
        return True, True

    def mps_obstacle(self, device_id: str) -> str | None:
        """What it lacks, by what the driver says now."""
        found = missing(mps_facts(self._handle(device_id)), 0)
        return None if found is None else found.why

    def set_memory_limit(self, device_id: str, group: str, memory_bytes: int | None) -> None:
        """Set or clear the hard limit of a control group; there is never a soft one."""
        hard = pynvml.NVML_DEVICE_MEMORY_LIMIT_MAX if memory_bytes is None else memory_bytes
        limits = pynvml.c_nvmlSetMemoryLimits_v1_t(nameSpace=os.fsencode(group), softLimit=0, hardLimit=hard)
        try:
            pynvml.nvmlDeviceSetMemoryLimits_v1(self._handle(device_id), limits)
        except pynvml.NVMLError as error:
            raise HostFault(f"the driver refused a limit for {group} ({error}).") from error

    def _handle(self, device_id: str) -> Any:
        if device_id not in self._handles:
            self._handles[device_id] = _ask("find the GPU", pynvml.nvmlDeviceGetHandleByUUID, device_id)
        return self._handles[device_id]


def _mps_settings(options: DriverOptions) -> MpsSettings | None:
    """Return how parts are leased by MPS; ``None`` where the pool has no place for its daemons."""
    if options.socket_path is None:
        return None
    return MpsSettings(folder_for(options.socket_path), on=options.mps, everybody=options.all_users)


def _ask(what: str, call: Callable[..., Any], *args: Any) -> Any:
    """What a call of NVML answers. Raises :class:`HostFault` where it fails."""
    try:
        return call(*args)
    except pynvml.NVMLError as error:
        raise HostFault(f"The NVIDIA driver could not {what} ({error}). Check with `nvidia-smi`.") from error


def _memory_bytes(handle: Any) -> int:
    try:
        total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
    except pynvml.NVMLError as error:
        raise HostFault(f"The GPU does not answer ({error}). Check with `nvidia-smi`.") from error
    return _sensible(total, 1, MEMORY_BYTES_MAX, "amount of memory")


def _is_known(uuid: str) -> bool:
    """Whether the driver knows of the GPU at all, well or not."""
    try:
        pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except (pynvml.NVMLError_NotFound, pynvml.NVMLError_InvalidArgument):
        return False
    except pynvml.NVMLError:
        pass
    return True


def _every_gpu() -> list[str]:
    """The UUIDs of all GPUs that the driver knows, leased or not."""
    count = _ask("list its GPUs", pynvml.nvmlDeviceGetCount)
    handles = (_ask("say which GPU that is", pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count))
    return [_ask("say which GPU that is", pynvml.nvmlDeviceGetUUID, handle) for handle in handles]


def _number(call: Callable[..., Any], handle: Any, otherwise: int) -> int:
    try:
        return int(call(handle))
    except pynvml.NVMLError:
        return otherwise


def _text(value: Any, prefix: str, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_MAX or not value.isprintable():
        raise HostFault(f"The NVIDIA driver says a {what} of it that cannot be one.")
    if not value.startswith(prefix):
        raise HostFault(f"The NVIDIA driver says a {what} of it that cannot be one ({value[:40]!r}).")
    return value


def _sensible(value: Any, least: int, most: int, what: str) -> int:
    if not isinstance(value, int) or not least <= value <= most:
        raise HostFault(f"The NVIDIA driver says a {what} that cannot be true ({value!r}).")
    return value


def _plausible(memory_bytes: Any) -> int | None:
    return memory_bytes if isinstance(memory_bytes, int) and 0 <= memory_bytes <= MEMORY_BYTES_MAX else None


def _in_mig_mode(handle: Any) -> bool:
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0])
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return False  # a GPU without MIG says so by refusing
    except pynvml.NVMLError as error:
        raise HostFault(f"The NVIDIA driver could not say whether MIG divides the GPU ({error}).") from error
