"""A machine with NVIDIA GPUs that exists only in a file: what the stub of ``libnvidia-ml.so.1`` answers from.

    machine = FakeMachine(folder / "nvml", "8xA100-SXM4-80GB")
    subprocess.Popen(..., env=os.environ | stub.environment(machine))
    machine.gpus[3].xid(79)
    machine.gpus[3].lose()

Whatever is changed here, every process that has loaded the stub sees at its next call.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.nvml.layout import NUMBERS, STRUCTURES
from tests.nvml.models import MODELS, Model

NONE = NUMBERS["NONE"]
_State: Any = STRUCTURES["state"]
_FAIL, _HANG, _GARBAGE, _HIDE = 1, 2, 3, 4
_FOREVER_NS = 2**64 - 1

#: What the drivers say that they are. The versions are made up in their last parts.
DRIVER = ("615.71.05", 13040)
OLD_DRIVER = ("515.105.01", 11070)

XID, RECOVERY_ACTION_CHANGED, GPU_UNAVAILABLE = 0x8, 0x8000, 0x4000


class FakeInstance:
    """A GPU instance with one compute instance in it, until it is destroyed."""

    def __init__(self, gpu: FakeGpu, place: int) -> None:
        self.gpu = gpu
        self._place = place
        raw = self._raw
        self.id = int(raw.id)
        self.start = int(raw.start)
        self.profile = gpu.raw.profiles[raw.profile].name.decode()

    @property
    def _raw(self) -> Any:
        return self.gpu.raw.instances[self._place]

    @property
    def uuids(self) -> list[str]:
        """The names of the MIG devices in it, one a compute instance."""
        return [part.uuid.decode() for part in self._raw.computes if part.used]

    @property
    def uuid(self) -> str:
        """The name of the only MIG device in it."""
        (only,) = self.uuids
        return only

    def destroy(self) -> None:
        """As by another administrator: whatever is in it, without a word to anybody."""
        with self.gpu.machine.locked() as state:
            for part in self._raw.computes:
                part.used = 0
            self._raw.used = 0
            for one in state.processes:
                if one.used and one.gpu == self.gpu.place and one.instance_id == self.id:
                    one.used = 0


class FakeGpu:
    """One GPU of the machine. ``place`` is its place when the machine was built; its index in NVML may change."""

    def __init__(self, machine: FakeMachine, place: int, model: Model) -> None:
        self.machine = machine
        self.place = place
        self.model = model
        self.uuid = self.raw.uuid.decode()

    @property
    def raw(self) -> Any:
        """Its ``struct gpu``."""
        return self.machine.state.gpus[self.place]

    def set(
        self,
        *,
        utilization: int | None = None,
        memory_utilization: int | None = None,
        temperature_c: int | None = None,
        power_w: float | None = None,
        memory_bytes: int | None = None,
        pcie_kb_per_s: tuple[int, int] | None = None,
        remapped: tuple[int, int, bool, bool] | None = None,
        ecc_corrected: int | None = None,
        ecc_uncorrected: int | None = None,
        mig_needs_reset: bool | None = None,
    ) -> None:
        """Change what it measures; what is not named stays.

        ``utilization`` and ``memory_bytes`` are those without processes: its processes' come on top. ``pcie_kb_per_s``
        is sent and received, ``remapped`` corrected rows, uncorrected rows, pending and failed.
        """
        plain = {
            "gpu_percent": utilization,
            "memory_percent": memory_utilization,
            "temperature_c": temperature_c,
            "nobodys_bytes": memory_bytes,
            "ecc_corrected_volatile": ecc_corrected,
            "ecc_corrected_aggregate": ecc_corrected,
            "ecc_uncorrected_volatile": ecc_uncorrected,
            "ecc_uncorrected_aggregate": ecc_uncorrected,
            "mig_needs_reset": mig_needs_reset,
        }
        with self.machine.locked():
            raw = self.raw
            for name, value in plain.items():
                if value is not None:
                    setattr(raw, name, value)
            if pcie_kb_per_s is not None:
                raw.pcie_tx_kb_per_s, raw.pcie_rx_kb_per_s = pcie_kb_per_s
            if remapped is not None:
                raw.remapped_corrected, raw.remapped_uncorrected = remapped[:2]
                raw.remapping_pending, raw.remapping_failed = remapped[2:]
            if power_w is not None:
                now_ns = time.monotonic_ns()
                raw.energy_mj += int((now_ns - raw.energy_at_ns) / 1e9 * raw.power_mw)
                raw.energy_at_ns, raw.power_mw = now_ns, round(power_w * 1000)

    # --- processes ----------------------------------------------------------------------------------------------------

    def add_process(
        self,
        pid: int,
        memory_bytes: int,
        *,
        utilization: int = 0,
        memory_utilization: int = 0,
        instance: FakeInstance | None = None,
        by_mps: bool = False,
        cgroup: Path | None = None,
        stays: bool | None = None,
    ) -> None:
        """Put a process on the GPU or on the MIG device of ``instance``, or change the one that is there.

        It is gone when the process ends, unless it ``stays`` (so does one that does not run as it is put there).
        ``cgroup`` is the folder to count it in; without it the one that it is in.
        """
        started = _started(pid)
        with self.machine.locked() as state:
            self._drop(pid, instance)
            one = next(one for one in state.processes if not one.used)
            ctypes.memset(ctypes.byref(one), 0, ctypes.sizeof(one))
            one.pid, one.gpu, one.memory_bytes = pid, self.place, memory_bytes
            one.sm_percent, one.memory_percent, one.by_mps = utilization, memory_utilization, by_mps
            one.instance_id, one.compute_id = (instance.id, 0) if instance else (NONE, NONE)
            one.started = 0 if stays else started
            one.cgroup = str(cgroup or "").encode()
            one.used = 1

    def remove_process(self, pid: int) -> None:
        """Take a process from the GPU and its instances."""
        with self.machine.locked() as state:
            for one in state.processes:
                if one.used and one.gpu == self.place and one.pid == pid:
                    one.used = 0

    def _drop(self, pid: int, instance: FakeInstance | None) -> None:
        where = instance.id if instance else NONE
        for one in self.machine.state.processes:
            if one.used and one.gpu == self.place and one.pid == pid and one.instance_id == where:
                one.used = 0

    # --- MIG ----------------------------------------------------------------------------------------------------------

    @property
    def instances(self) -> list[FakeInstance]:
        """Return the GPU instances that exist."""
        with self.machine.locked():
            return [FakeInstance(self, place) for place, one in enumerate(self.raw.instances) if one.used]

    def switch_mig(self, *, on: bool) -> None:
        """As by ``nvidia-smi -mig`` from elsewhere. The instances there are go."""
        for instance in self.instances:
            instance.destroy()
        with self.machine.locked():
            self.raw.mig_current = self.raw.mig_pending = int(on)

    def create_instance(self, profile: str, start: int) -> FakeInstance:
        """As by another administrator: a GPU instance with a compute instance of its size; the place must be free."""
        with self.machine.locked() as state:
            kind, place = next(
                (kind, place)
                for place, kind in enumerate(self.raw.profiles)
                if kind.used and kind.name == profile.encode()
            )
            for other in self.raw.instances:
                size = self.raw.profiles[other.profile].size
                assert not (other.used and other.start < start + kind.size and start < other.start + size), "overlaps"
            assert start in kind.start[: kind.starts], f"{profile} does not begin at {start}"
            made = next(number for number, one in enumerate(self.raw.instances) if not one.used)
            ids = {one.id for one in self.raw.instances if one.used}
            one = self.raw.instances[made]
            ctypes.memset(ctypes.byref(one), 0, ctypes.sizeof(one))
            state.serial += 2
            one.serial, one.profile, one.start = state.serial - 1, place, start
            one.id = next(number for number in range(1, 16) if number not in ids)
            part = one.computes[0]
            part.serial, part.slices = state.serial, kind.slices
            part.uuid = f"MIG-{uuid.uuid5(uuid.NAMESPACE_OID, f'{self.uuid}/{one.id}/{state.serial}')}".encode()
            part.used = one.used = 1
            return FakeInstance(self, made)

    # --- trouble ------------------------------------------------------------------------------------------------------

    def xid(self, number: int, instance: FakeInstance | None = None) -> None:
        """A critical error, as the driver writes it to the kernel's log."""
        self._raise(XID, number, instance)

    def need(self, recovery_action: int) -> None:
        """Change what must be done to heal it (field 230): 0 nothing, 1 reset, 2 reboot, 4 drain and reset."""
        with self.machine.locked():
            self.raw.recovery_action = recovery_action
        self._raise(RECOVERY_ACTION_CHANGED, recovery_action, None)

    def _raise(self, kind: int, data: int, instance: FakeInstance | None) -> None:
        with self.machine.locked() as state:
            event = state.events[state.events_raised % NUMBERS["EVENTS"]]
            event.gpu, event.type, event.data = self.place, kind, data
            event.instance_id, event.compute_id = (instance.id, 0) if instance else (NONE, NONE)
            state.events_raised += 1

    def lose(self) -> None:
        """It falls off the bus: running sessions learn that it is lost, and later ones do not count it."""
        with self.machine.locked():
            self.raw.lost_at_ns = time.monotonic_ns()

    def find(self) -> None:
        """It is back, as after a reset."""
        with self.machine.locked():
            self.raw.lost_at_ns = 0

    def vanish(self) -> None:
        """Its UUID is unknown from now on, as when the device was removed; the indices of those behind it change."""
        with self.machine.locked():
            self.raw.present = 0

    def appear(self) -> None:
        """It is listed again after :meth:`vanish`."""
        with self.machine.locked():
            self.raw.present = 1


class FakeMachine:
    """A machine of GPUs as in ``"1xH100-80GB MIG, 2xL4"``; ``MIG`` behind a model switches the mode on.

    Models are those of :data:`tests.nvml.models.MODELS`. ``privileged`` is whether the callers may do what an
    administrator may. ``uuids_repeat`` gives a MIG device the name of an earlier one with the same numbers.
    """

    def __init__(
        self,
        path: Path,
        description: str,
        *,
        old_driver: bool = False,
        privileged: bool = True,
        uuids_repeat: bool = False,
        cgroup_root: Path = Path("/sys/fs/cgroup"),
    ) -> None:
        self.path = path
        self.old_driver = old_driver
        path.write_bytes(bytes(ctypes.sizeof(_State)))
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), 0)
        self.state: Any = _State.from_buffer(self._map)
        self.gpus: list[FakeGpu] = []
        with self.locked() as state:
            driver = OLD_DRIVER if old_driver else DRIVER
            state.driver_version, state.cuda_version = driver[0].encode(), driver[1]
            state.privileged, state.mig_uuids_repeat = privileged, uuids_repeat
            state.cgroup_root = str(cgroup_root).encode()
            for model, mig in _parsed(description):
                self._build(model, mig)
            state.magic = NUMBERS["MAGIC"]

    def _build(self, model: Model, mig: bool) -> None:
        place = len(self.gpus)
        raw = self.state.gpus[place]
        raw.name, raw.memory_bytes, raw.reserved_bytes = model.name.encode(), model.memory_bytes, model.reserved_bytes
        raw.uuid = f"GPU-{uuid.uuid5(uuid.NAMESPACE_OID, f'{self.path}/{place}')}".encode()
        raw.architecture, raw.multiprocessors = model.architecture, model.multiprocessors
        raw.capability_major, raw.capability_minor = model.capability
        raw.minor, raw.bus, raw.persistence = place, 16 + place, 1
        raw.temperature_c, raw.power_mw = 30, round(model.idle_w * 1000)
        raw.energy_at_ns = time.monotonic_ns()
        raw.mig_capable = bool(model.profiles)
        raw.mig_current = raw.mig_pending = mig
        assert model.profiles or not mig, f"{model.name} has no MIG"
        for entry, profile in zip(raw.profiles, model.profiles, strict=False):
            entry.used, entry.enumerated, entry.id, entry.name = (
                1,
                profile.enumerated,
                profile.id,
                profile.name.encode(),
            )
            entry.slices, entry.size, entry.most = profile.slices, profile.size, profile.most
            entry.starts = len(profile.starts)
            entry.start[: len(profile.starts)] = profile.starts
            entry.multiprocessors, entry.memory_mib = profile.multiprocessors, profile.memory_mib
            entry.copy_engines = profile.slices
            entry.jpegs = entry.ofas = profile.media_engines
            entry.decoders = profile.slices // 2 + profile.media_engines
        raw.present = 1
        self.gpus.append(FakeGpu(self, place, model))

    @contextlib.contextmanager
    def locked(self) -> Iterator[Any]:
        """Lock the state against other readers and writers and return it."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield self.state
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file. Processes that have loaded the stub keep it."""
        self.lift()
        self.gpus.clear()
        self._file.close()

    # --- rules --------------------------------------------------------------------------------------------------------

    def fail(self, function: str, error: int, *, gpu: FakeGpu | None = None, times: int | None = None) -> None:
        """From now on, or ``times`` times, ``function`` (a C name, or ``*``) gives ``error``."""
        self._rule(_FAIL, function, gpu, error, times)

    def hang(self, function: str = "*", *, gpu: FakeGpu | None = None, seconds: float | None = None) -> None:
        """Calls of ``function`` that begin from now on do not return, until the rule is lifted or for ``seconds``."""
        until_ns = _FOREVER_NS if seconds is None else time.monotonic_ns() + int(seconds * 1e9)
        self._rule(_HANG, function, gpu, until_ns=until_ns)

    def garble(self, function: str, *, byte: int = 0xFF, gpu: FakeGpu | None = None, times: int | None = None) -> None:
        """``function`` succeeds, and each byte of its answer is ``byte``. Counts and handles stay as they are."""
        self._rule(_GARBAGE, function, gpu, byte, times)

    def hide_processes(self) -> None:
        """Lists of processes are empty from now on, as where the driver lists none; their memory is in use."""
        self._rule(_HIDE, "*", None)

    def no_driver(self) -> None:
        """The library is there and the driver is not, as after a kernel update."""
        self.fail("nvmlInitWithFlags", 9)

    def lift(self) -> None:
        """Every rule, also for the calls that hang."""
        with self.locked() as state:
            for rule in state.rules:
                rule.kind = 0

    def _rule(
        self, kind: int, function: str, gpu: FakeGpu | None, error: int = 0, times: int | None = None, until_ns: int = 0
    ) -> None:
        with self.locked() as state:
            rule = next(rule for rule in state.rules if not rule.kind)
            rule.function = function.encode()
            rule.gpu = NONE if gpu is None else gpu.place
            rule.error, rule.until_ns = error, until_ns
            rule.times = NONE if times is None else times
            rule.kind = kind

    # --- what was asked -----------------------------------------------------------------------------------------------

    def calls(self) -> dict[str, int]:
        """How often each function was called, by all processes together, since :meth:`forget_calls`."""
        with self.locked() as state:
            return {one.function.decode(): one.calls for one in state.counters if one.calls}

    def forget_calls(self) -> None:
        """Count from nothing again."""
        with self.locked() as state:
            for one in state.counters:
                one.calls = 0

    def limits(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Soft and hard limits in bytes that the driver has been given, by GPU and cgroup."""
        with self.locked() as state:
            return {
                (self.gpus[one.gpu].uuid, one.cgroup.decode()): (one.soft_bytes, one.hard_bytes)
                for one in state.limits
                if one.used
            }


_TERM = re.compile(r"(\d+)x([A-Za-z0-9-]+)( MIG)?")


def _parsed(description: str) -> Iterator[tuple[Model, bool]]:
    for term in description.split(","):
        match = _TERM.fullmatch(term.strip())
        assert match, f"{term!r} is not a number and a model, like 2xL4 or 1xA30 MIG"
        for _ in range(int(match[1])):
            yield MODELS[match[2]], bool(match[3])


def _started(pid: int) -> int:
    """When a process started, as /proc says it; 0 where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[19])
