"""NVIDIA GPUs through NVML. Only this package imports ``pynvml``.

Devices are named by UUID everywhere: NVML's index is neither CUDA's nor stable over reboots. There is one NVML session;
one thread reads its counters, another one makes the calls of the pool, and waiting for errors and moving memory have
threads of their own, which NVML allows. Answers of NVML are checked: a device whose answers make no sense is not
leased, and one that was leased before stays, as the pool knows it, until it answers again.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pynvml

from ....core.model.entities import DeviceSpec, ExistingPartition, Health, LogicalGPU, Mechanism, PartitionStyle
from ....errors import HostFault, Message
from ..driver import LimitResult, PartitionMode, ProcessList, ReserveHostMemory, Sample, SampledLease, ScrubCommand
from ..health import HealthWatcher
from ..mechanisms.base import LeaseMechanism, PartitionInstance
from ..mechanisms.exclusive import ExclusiveMechanism
from ..mechanisms.mig import MigMechanism
from ..mechanisms.shared import SharedMechanism
from ..registration import DriverOptions
from . import session
from .catalog import CATALOG
from .counters import Counters
from .device_files import SHARED_NODES
from .env import HIDDEN_ENV, VISIBLE_DEVICES, visible_env
from .health import NvmlHealthWatcher
from .memory_limits import MemoryLimits
from .mig import MigController
from .mps.mechanism import MpsMechanism, MpsSettings, folder_for
from .mps.requirements import find_obstacle, read_mps_facts
from .parkability import ParkingSupport
from .processes import NOT_LISTED, OTHER_NUMBERS, ProcessLister, may_have_memory
from .visibility import GpuIdentity, Selection, VisibleDevices, restrict_to_mig_devices

log = logging.getLogger("fastgpu.pool")
_SWITCHED = "MIG mode of the GPU was switched since the last inventory."
_NONE = "The NVIDIA driver answers, but this machine has no GPU. Check with `nvidia-smi`."


class NvidiaDriver:
    """Driver of all NVIDIA GPUs of the host."""

    def __init__(self, options: DriverOptions) -> None:
        self._rates = options.rates
        self._visible = VisibleDevices(os.environ, options.devices)  # before the session is opened
        self._excluded: set[str] = set()  #: GPUs that the pool must not serve
        self._is_open = False
        self._handles: dict[str, Any] = {}
        self._specs: dict[str, DeviceSpec] = {}  #: as each device last reported it sensibly
        self._nodes: dict[str, str] = {}
        self._counters = Counters(pynvml)
        self._limits = MemoryLimits(self._handle)
        self._mig_controller = MigController(self._handle)
        self._mig = MigMechanism(self, remove_unknown=_removes_unknown(options, self._visible))
        self._mps = MpsMechanism(self, _mps_settings(options))
        self._processes = ProcessLister(self._handle, self._mig_controller, self._mps)
        self._parking = ParkingSupport(self._processes.processes, self._free_bytes)
        self._mechanisms: dict[Mechanism, LeaseMechanism] = {
            Mechanism.EXCLUSIVE: ExclusiveMechanism(self),
            Mechanism.MPS: self._mps,
        }
        if options.share:
            self._mechanisms[Mechanism.SHARED] = SharedMechanism(self)

    def open(self) -> None:
        """Open the session, unless it is open.

        Raises ``DriverNotInstalled`` where there is no driver, :class:`HostFault` where one does not answer.
        """
        if not self._is_open:
            session.open_session()
            self._is_open = True

    def close(self) -> None:
        """End the NVML session, and what uses CUDA."""
        self._parking.close()
        self._handles.clear()  # those of a session are not valid in another one
        if self._is_open:
            session.close_session()
            self._is_open = False

    def _count_gpus(self) -> int:
        """Return the number of GPUs, in another session where the driver was loaded again since this one began."""
        try:
            return session.gpu_count()
        except session.SessionLost:
            log.warning("The NVIDIA driver was loaded again: another session is opened.")
            self.close()
            self.open()
            return session.gpu_count()

    # -- inventory ----------------------------------------------------------------------------------------------------

    def adopt(self, held: Sequence[LogicalGPU]) -> None:
        """Record what leases hold: MIG instances and MPS daemons do not say whose they are."""
        self._mig.adopt(held)
        self._mps.adopt(held)

    def inventory(self) -> tuple[list[DeviceSpec], str | None]:
        """Return every GPU that NVML shows and the environment leaves to the pool."""
        self.open()
        self._mps.end_unused()
        specs: dict[str, DeviceSpec] = {}
        selected = self._select(self._count_gpus())
        notes = [selected.note] if selected.note else []
        for index, mig_devices in selected.gpus.items():
            try:
                spec, note = self._read_spec(index)
                if mig_devices is not None:
                    spec = restrict_to_mig_devices(spec, self._mig_controller.instances(spec.id), mig_devices)
            except HostFault as error:
                notes.append(f"GPU {index} is not leased: {error}")
                continue
            notes += [f"GPU {index}: {note}"] if note else []
            specs[spec.id] = self._specs[spec.id] = spec
        if notes:  # one of those that are known may be one that did not answer
            silent = [uuid for uuid in self._specs if uuid not in specs and session.is_known(uuid)]
            specs |= {uuid: self._specs[uuid] for uuid in silent}
        notes += filter(None, [self._mps.refusal()])
        message = " ".join(notes) or None
        if not specs:
            return [], message or _NONE
        own_memory = [spec for spec in specs.values() if not session.shares_memory(self._handle(spec.id))]
        parkable = self._parking.find_parkable(own_memory)  # else the memory would stay where it is
        in_order = sorted(specs.values(), key=lambda spec: spec.index)
        return [replace(spec, parkable=spec.id in parkable) for spec in in_order], message

    def _select(self, count: int) -> Selection:
        """Return which of the GPUs the pool serves."""
        if not self._visible.restricts:
            return Selection(dict.fromkeys(range(count)))
        gpus = [_identity(index) for index in range(count)]
        selected = self._visible.select(gpus, self._mig_devices)
        self._excluded = {gpu.id for gpu in gpus if gpu.id and gpu.index not in selected.gpus}
        return selected

    def _mig_devices(self, device_id: str) -> set[str]:
        try:
            return {name for instance in self.instances(device_id) for name in instance.devices}
        except HostFault:
            return set()

    def _read_spec(self, index: int) -> tuple[DeviceSpec, str | None]:
        """Return what the device with that index is, and a note for the administrator."""
        gpu = session.identify(index)
        if gpu.uuid in self._specs and gpu.divided != bool(self._specs[gpu.uuid].profiles):
            del self._specs[gpu.uuid]  # whatever else fails: it is not what it was
        name, memory_bytes = session.name_of(gpu.handle), session.memory_bytes(gpu.handle)
        self._handles[gpu.uuid] = gpu.handle
        self._nodes[gpu.uuid] = f"/dev/nvidia{session.minor_of(gpu.handle, index)}"
        if gpu.divided:
            mechanisms: Sequence[LeaseMechanism] = [self._mig]
        else:
            mechanisms = list(self._mechanisms.values())
            self._mig_controller.forget(gpu.uuid)
        capabilities = tuple(filter(None, (mechanism.capability(gpu.uuid) for mechanism in mechanisms)))
        existing, note = self._existing_partitions(gpu.uuid) if gpu.divided else ((), None)
        spec = DeviceSpec(
            id=gpu.uuid,
            index=index,
            model=name.removeprefix("NVIDIA "),
            memory_bytes=memory_bytes,
            simulated=False,
            mechanisms=tuple(capability.mechanism for capability in capabilities),
            rate_micro_per_hour=CATALOG.rate_of(name, self._rates),
            partition=PartitionStyle.DYNAMIC if gpu.divided else PartitionStyle.NONE,
            capabilities=capabilities,
            profiles=self._mig_controller.profiles(gpu.uuid) if gpu.divided else (),
            existing_partitions=existing,
        )
        return spec, note

    def _existing_partitions(self, device_id: str) -> tuple[tuple[ExistingPartition, ...], str | None]:
        return self._mig.existing_partitions(device_id, self._mig_controller.instances(device_id))

    def knows(self, device_id: str) -> bool:
        """Return whether NVML finds the GPU, working or not, and the pool may serve it."""
        self.open()
        return device_id not in self._excluded and session.is_known(device_id)

    def health(self, device_id: str) -> tuple[Health, str | None]:
        """Return faulty where the GPU does not answer, or nothing that makes sense."""
        try:
            is_divided = self._answers(device_id)
        except HostFault as error:
            return Health.FAULTY, str(error)
        spec = self._specs.get(device_id)
        if spec is not None and is_divided != bool(spec.profiles):
            return Health.FAULTY, _SWITCHED
        return Health.HEALTHY, None

    def watch(self) -> HealthWatcher:
        """Return a watcher of the GPUs that there are."""
        return NvmlHealthWatcher(list(self._handles))

    # -- logical GPUs -------------------------------------------------------------------------------------------------

    def prepare(self, logical_gpu: LogicalGPU) -> str:
        """Prepare it by its mechanism."""
        return self._mechanism_of(logical_gpu).prepare(logical_gpu)

    def limit(self, logical_gpu: LogicalGPU, pid: int) -> LimitResult:
        """Limit it by its mechanism."""
        return self._mechanism_of(logical_gpu).limit(logical_gpu, pid)

    def release(self, logical_gpu: LogicalGPU) -> None:
        """Release it by its mechanism; what was on a device that is gone is gone with it."""
        mechanism = self._mig if logical_gpu.partition is not None else self._mechanisms.get(logical_gpu.mechanism)
        try:
            if mechanism is not None:
                mechanism.release(logical_gpu)
        except HostFault:
            if session.is_known(logical_gpu.device_id):
                raise

    def loss_reason(self, logical_gpu: LogicalGPU) -> str | None:
        """Return why it has lost its MIG instance or its MPS daemon; ``None`` where it has not."""
        if logical_gpu.mechanism is Mechanism.MPS:
            return self._mps.loss_reason(logical_gpu)
        return None if logical_gpu.partition is None else self._mig.loss_reason(logical_gpu)

    def park(self, logical_gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        """Park it by CUDA's checkpoint."""
        return self._parking.park(logical_gpu, pid, reserve)

    def resume(self, logical_gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        """Resume it by CUDA's checkpoint."""
        self._parking.resume(logical_gpu, pid, origin, memory_bytes)

    def env(self, logical_gpu: LogicalGPU) -> Mapping[str, str]:
        """Return the variables with which CUDA sees exactly these devices."""
        if logical_gpu.partition is not None:  # of its GPU a program would take the first partition that it finds
            return {**visible_env([logical_gpu.driver_handle]), **self._mig.env(logical_gpu)}
        visible = visible_env(logical_gpu.device_ids)
        mechanism = self._mechanisms.get(logical_gpu.mechanism)
        known = all(device_id in self._specs for device_id in logical_gpu.device_ids)
        return {**visible, **(mechanism.env(logical_gpu) if mechanism is not None and known else {})}

    def hidden_env(self) -> Mapping[str, str]:
        """Return the variables with which CUDA sees no device."""
        return HIDDEN_ENV

    def scrub_commands(self, logical_gpu: LogicalGPU) -> Sequence[ScrubCommand]:
        """Return one command for each device or MIG device, because CUDA in a process sees one MIG device only."""
        names = [logical_gpu.driver_handle] if logical_gpu.partition is not None else logical_gpu.device_ids
        argv = (sys.executable, "-P", "-m", f"{__package__}.scrub_worker", str(os.getpid()))
        return [ScrubCommand(name, argv, {VISIBLE_DEVICES: name}) for name in names]

    def device_nodes(self, logical_gpu: LogicalGPU) -> Sequence[str]:
        """Return the files of its devices, and those that all programs on a GPU open."""
        own = [self._nodes[device_id] for device_id in logical_gpu.device_ids if device_id in self._nodes]
        parts = self._mig_controller.nodes(logical_gpu.driver_handle) if logical_gpu.partition is not None else ()
        return [*own, *SHARED_NODES, *parts] if own else []

    def _mechanism_of(self, gpu: LogicalGPU) -> LeaseMechanism:
        if gpu.mechanism is Mechanism.MIG:
            return self._mig
        mechanism = self._mechanisms.get(gpu.mechanism)
        if mechanism is None:
            raise HostFault(f"GPUs of this pool are not leased by the mechanism {gpu.mechanism.value!r}.")
        return mechanism

    # -- usage --------------------------------------------------------------------------------------------------------

    def processes(self, device_id: str) -> ProcessList:
        """Return the processes with a CUDA context on the GPU, or why they are not known."""
        return self._processes.processes(device_id)

    def used_bytes(self, logical_gpu: LogicalGPU) -> int | None:
        """Return the memory in use on a MIG device."""
        return self._processes.used_bytes(logical_gpu)

    def may_have_memory(self, pid: int) -> bool:
        """Return whether a process has CUDA's library or the file of a GPU open."""
        return may_have_memory(pid)

    def sample(self, leases: Sequence[SampledLease]) -> Sample:
        """Read the counters of each device and the usage of its processes; of leases, those on MIG devices."""
        sample = Sample()
        shared = {gpu.device_id for _, _, gpu in leases if not gpu.whole and gpu.partition is None}
        for uuid, handle in list(self._handles.items()):
            sample.devices[uuid] = self._counters.device(uuid, handle)
            by_mps = self._mps.serves(uuid)
            if not self._processes.sees_the_machine:
                _note(sample, uuid, OTHER_NUMBERS, self._counters.used_bytes(handle))
                continue
            in_parts = uuid in self._specs and bool(self._specs[uuid].profiles)
            processes = self._counters.processes(uuid, handle, utilization=uuid in shared, by_mps=by_mps)
            if processes is not None:
                sample.processes[uuid] = [one for one in processes if not (by_mps and self._mps.is_server(one.pid))]
                sample.lists[uuid] = self._counters.list_number(uuid)
                _note(sample, uuid, None, None if in_parts else self._counters.unowned_bytes[uuid])
            elif self._counters.is_unlisted(uuid) and not in_parts:  # a divided one lists them by partition
                _note(sample, uuid, NOT_LISTED, self._counters.used_bytes(handle))
        divided = [subject for subject in leases if subject.logical_gpu.partition is not None]
        partitions = self._counters.partitions({subject.logical_gpu.driver_handle for subject in divided})
        for subject in divided:
            sample.leases[subject.lease_id] = partitions[subject.logical_gpu.driver_handle]
        return sample

    # -- MIG ----------------------------------------------------------------------------------------------------------

    def partition_mode(self, device_id: str) -> PartitionMode:
        """Return MIG mode of the GPU, and what it takes to switch it."""
        return self._mig_controller.mode(device_id)

    def set_partition_mode(self, device_id: str, on: bool) -> PartitionMode:
        """Switch MIG mode of the GPU, which no process may use meanwhile."""
        self._parking.close()
        return self._mig_controller.switch(device_id, on)

    def require_partitioned(self, device_id: str) -> list[PartitionInstance]:
        """Return the MIG instances. Raises :class:`HostFault` unless the GPU answers and MIG divides it."""
        if not self._answers(device_id):
            raise HostFault("MIG mode of the GPU was switched off since it was granted.")
        return self._mig_controller.instances(device_id)

    def instances(self, device_id: str) -> list[PartitionInstance]:
        """Return the MIG instances; none where the mode is off."""
        return self._mig_controller.instances(device_id) if session.in_mig_mode(self._handle(device_id)) else []

    def create(self, device_id: str, profile: str, start: int) -> None:
        """Create a MIG instance."""
        self._mig_controller.create(device_id, profile, start)

    def complete(self, device_id: str, profile: str, start: int) -> str:
        """Create the MIG device by which programs see an instance."""
        return self._mig_controller.complete(device_id, profile, start)

    def destroy(self, device_id: str, profile: str, start: int) -> None:
        """Destroy a MIG instance."""
        self._mig_controller.destroy(device_id, profile, start)

    # -- other mechanisms ---------------------------------------------------------------------------------------------

    def require(self, device_id: str) -> None:
        """Raise :class:`HostFault` unless the GPU answers and MIG does not divide it."""
        if self._answers(device_id):
            raise HostFault("The GPU was divided by MIG since it was granted.")

    def memory_bytes(self, device_id: str) -> int:
        """Return all memory of a GPU."""
        return self._specs[device_id].memory_bytes

    def supports_memory_limits(self, device_id: str) -> bool:
        """Return whether the driver enforces memory limits of control groups there."""
        return self._limits.supports(device_id)

    def set_memory_limit(self, device_id: str, group: str, memory_bytes: int | None) -> None:
        """Set or clear the memory limit of a control group."""
        self._limits.set(device_id, group, memory_bytes)

    def mps_obstacle(self, device_id: str) -> Message | None:
        """Return what prevents the GPU from serving by MPS, by what the driver reports now."""
        found = find_obstacle(read_mps_facts(self._handle(device_id)), 0)
        return None if found is None else found.reason

    def _free_bytes(self, device_id: str) -> int | None:
        return session.free_bytes(self._handle(device_id))

    def _answers(self, device_id: str) -> bool:
        """Return whether MIG divides the GPU. Raises where it does not answer."""
        handle = self._handle(device_id)
        with suppress(session.Unanswerable):  # it answers
            session.memory_bytes(handle)
        return session.in_mig_mode(handle)

    def _handle(self, device_id: str) -> Any:
        if device_id not in self._handles:
            self._handles[device_id] = session.ask("find the GPU", pynvml.nvmlDeviceGetHandleByUUID, device_id)
        return self._handles[device_id]


def _note(sample: Sample, device_id: str, why_unlisted: Message | None, unowned_bytes: int | None) -> None:
    if why_unlisted is not None:
        sample.unlisted[device_id] = why_unlisted
    if unowned_bytes is not None:
        sample.unowned_bytes[device_id] = unowned_bytes


def _mps_settings(options: DriverOptions) -> MpsSettings | None:
    """Return how parts are leased by MPS; ``None`` where the pool has no place for its daemons."""
    if options.socket_path is None:
        return None
    return MpsSettings(folder_for(options.socket_path), on=options.mps, all_users=options.all_users)


def _removes_unknown(options: DriverOptions, visible: VisibleDevices) -> bool:
    """Return whether MIG instances may be destroyed that the pool did not make; not those of other users' jobs."""
    return options.remove_unknown_partitions and not visible.restricts


def _identity(index: int) -> GpuIdentity:
    """Return which GPU has that index, as far as it answers."""
    try:
        gpu = session.identify(index)
        return GpuIdentity(index, gpu.uuid, session.minor_of(gpu.handle, index), session.name_of(gpu.handle))
    except HostFault:
        return GpuIdentity(index)
