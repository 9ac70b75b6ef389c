"""Leases of one user on one GPU whose processes compute at the same time, by NVIDIA's Multi-Process Service (MPS).

What MPS is: processes of one user hand their work to one server, so that small kernels of several run side by side.
What it is not: a wall. A fatal error of one process ends what all others have there. So there is one control daemon for
each user and GPU, and nobody else's processes come to it: another user's leases on the same GPU have a daemon of their
own, and the two take turns.

Who keeps the limits: CUDA in each process by itself, as the process was told when it began to use the GPU (here, by its
environment). So a lease with two processes has twice its memory for all that MPS minds; the pool adds up, and watches
(:mod:`core.lease.memory_limit`). What a process may use of the GPU's processors is a limit, nothing is reserved.
Neither changes for a process that runs, and CUDA does not park what runs by MPS.

A daemon is started with the first lease and ends with the last. ``LogicalGPU.driver_handle`` identifies the daemon
of a lease; a start that was cut short is found by the user and the GPU, of which the folder's name is made. A process
that begins when its daemon has ended would run without MPS and without a limit: such a lease is lost.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ....core.model.entities import Enforcement, LimitScope, LogicalGPU, Mechanism, MechanismCapability
from ....errors import HostFault
from ....units import MIB
from ...host import single_instance
from ..driver import LimitResult
from ..nvidia import mps_daemon
from ..nvidia.mps_daemon import PATH_MAX, PROGRAM, Daemon
from .base import DeviceControl

log = logging.getLogger("fastgpu.pool")
#: From these on: Volta, where each process has an address space of its own; and CUDA with limits of memory (R495).
CAPABILITY_FROM = (7, 0)
CUDA_FROM = 11050
#: Lets processes of several programs use the GPU; else a second user's daemon could not.
SHARED_MODE = 0
LOST = (
    "The MPS control daemon of this GPU has ended or cannot be found any more, so nobody keeps this lease's limits. "
    "Restart the kernel to get a new lease; your other notebooks on this GPU are told the same."
)
UNSEEN = (
    "The kernel does not see the folder of the MPS control daemon, as in a container of its own: it takes turns with "
    "others instead, and CUDA keeps no limit."
)


class MpsFacts(NamedTuple):
    """What decides whether a GPU can serve by MPS; ``None`` where the driver does not say."""

    capability: tuple[int, int] | None
    compute_mode: int | None
    cuda: int | None
    lists: bool  #: whether the driver lists processes that run by MPS: else nobody knew whose memory is gone


class Missing(NamedTuple):
    """What a GPU lacks, as the end of a sentence, and the command that mends it."""

    why: str
    remedy: str | None = None


def missing(ability: MpsFacts, index: int) -> Missing | None:
    """What stands in the way of MPS, or ``None``."""
    if ability.capability is None or ability.capability < CAPABILITY_FROM:
        return Missing("it is older than Volta")
    if ability.cuda is None or ability.cuda < CUDA_FROM or not ability.lists:
        return Missing("its driver has no limits for MPS, or does not list who runs by it; R510 or newer does")
    if ability.compute_mode != SHARED_MODE:
        remedy = f"sudo nvidia-smi -i {index} -c DEFAULT"
        return Missing("its compute mode lets one program only use it", remedy)
    return None


class MpsSettings(NamedTuple):
    """How a pool serves by MPS."""

    folder: Path  #: for those of its daemons; made when it is needed
    on: bool = False
    everybody: bool = False  #: whether it serves other users than the one it runs as


def folder_for(socket_path: Path) -> Path:
    """Beside the pool's socket, or, where such a path is too long for a socket, in the folder for temporary files."""
    beside = socket_path.parent / "mps"
    if len(os.fsencode(beside)) + len("/01234567.1234567890") <= PATH_MAX:
        return beside
    name = hashlib.sha256(os.fsencode(socket_path)).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"fastgpu-mps-{os.geteuid()}-{name}"


@dataclass
class _Served:
    """A daemon, and the leases that have it, by generation."""

    daemon: Daemon
    device_id: str
    name: str  #: of its user and device
    generations: set[int] = field(default_factory=set)


class Mps:
    """A control daemon for each user and GPU. Used by the thread that asks devices."""

    def __init__(self, hardware: DeviceControl, setup: MpsSettings | None = None) -> None:
        self._hardware = hardware
        self._setup = setup
        self._starter = mps_daemon.Starter()
        self._served: dict[str, _Served] = {}  #: by folder
        self._unsure: set[str] = set()  #: names of folders in which a start was cut short
        self._was_told = self._is_tidy = False

    # -- what there is ------------------------------------------------------------------------------------------------

    def adopt(self, held: Iterable[LogicalGPU]) -> None:
        """Learn which daemons leases have, by the journal."""
        self._was_told = True
        for gpu in held:
            if gpu.mechanism is not Mechanism.MPS:
                continue
            daemon = Daemon.read(gpu.driver_handle)
            if daemon is None:
                self._unsure.add(_name(gpu))
            else:
                self._serve(daemon, gpu)

    def tidy(self) -> None:
        """End the daemons of a pool manager that was killed before it noted them; once, knowing what leases have."""
        if self._is_tidy or not self._was_told:
            return
        self._is_tidy = True
        for folder in self._folders():
            if str(folder) not in self._served and folder.name.partition(".")[0] not in self._unsure:
                log.warning("Ending the MPS control daemon of %s: no lease has it.", folder)
                with suppress(HostFault):
                    mps_daemon.end(mps_daemon.find(folder) or Daemon(0, 0, str(folder)))

    def why_not(self) -> str | None:
        """Why this pool serves nobody by MPS though it is switched on, as a sentence; ``None`` where it does."""
        if self._setup is None or not self._setup.on:
            return None
        if mps_daemon.program() is None:
            return f"MPS is switched on, and {PROGRAM} was not found: parts of GPUs are shared without it."
        if self._setup.everybody and os.geteuid() != 0:
            return (
                "MPS is switched on, and serves only the user that its daemon runs as, so a pool of the whole system "
                "must run as root for it: parts of GPUs are shared without it."
            )
        return None

    def serves(self, device_id: str) -> bool:
        """Whether processes may be on a device by MPS."""
        return any(served.device_id == device_id for served in list(self._served.values()))

    def is_server(self, pid: int) -> bool:
        """Whether a process is one of the daemons' servers: it has memory on a device, and no lease."""
        parent = mps_daemon.parent_of(pid)
        return any(served.daemon.pid == parent and served.daemon.runs for served in list(self._served.values()))

    def lost(self, gpu: LogicalGPU) -> str | None:
        """Whether its daemon has ended, or cannot be found where its processes look for it."""
        self._starter.reap()
        daemon = Daemon.read(gpu.driver_handle)
        return None if daemon is not None and daemon.serves else LOST

    # -- LeaseMechanism -----------------------------------------------------------------------------------------------

    def capability(self, device_id: str) -> MechanismCapability | None:
        """A limit for each process, fixed when it starts; where MPS is switched on and the device can."""
        if self._setup is None or not self._setup.on or self.why_not() is not None:
            return None
        if self._hardware.mps_obstacle(device_id) is not None:
            return None
        return MechanismCapability(Mechanism.MPS, Enforcement.USERSPACE, LimitScope.PROCESS, parkable=False)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Have its user's daemon on the device, started if it must be."""
        self._hardware.require(gpu.device_id)
        daemon = Daemon.read(gpu.driver_handle)
        if daemon is None or not daemon.serves:
            daemon = self._running(gpu) or self._started(gpu)
        self._serve(daemon, gpu)
        return str(daemon)

    def _running(self, gpu: LogicalGPU) -> Daemon | None:
        """The daemon of the lease's user on its device, whoever started it."""
        for folder in self._folders(_name(gpu)):
            served = self._served.get(str(folder))
            daemon = served.daemon if served else mps_daemon.find(folder)
            if daemon is None or not (daemon.serves if served else daemon.runs):
                continue
            if served is None:  # its start was cut short: it may not have come to anything
                mps_daemon.wait_until_it_answers(daemon)
            return daemon
        return None

    def _started(self, gpu: LogicalGPU) -> Daemon:
        if self._setup is None or not self._setup.on:
            raise HostFault("MPS was switched off since it was granted.")
        lacks = self._hardware.mps_obstacle(gpu.device_id)
        if lacks is not None or (lacks := self.why_not()) is not None:
            raise HostFault(f"MPS cannot serve on this GPU any more: {lacks}.")
        single_instance.create_private_folder(self._setup.folder, 0o711 if self._setup.everybody else 0o700)
        folder = self._setup.folder / f"{_name(gpu)}.{gpu.generation}"  # as no other grant has it
        mps_daemon.end(Daemon(0, 0, str(folder)))  # what is left of an earlier start for this one
        return self._starter.start(folder, gpu.device_id, _owner(gpu))

    def _serve(self, daemon: Daemon, gpu: LogicalGPU) -> None:
        served = self._served.setdefault(daemon.folder, _Served(daemon, gpu.device_id, _name(gpu)))
        served.generations.add(gpu.generation)

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """The process was told when it started; CUDA in it is the limit, where it finds the daemon."""
        daemon = Daemon.read(gpu.driver_handle)
        if daemon is None or mps_daemon.is_seen_by(pid, daemon):
            return LimitResult(Enforcement.USERSPACE, gpu.driver_handle)
        return LimitResult(Enforcement.COOPERATIVE, gpu.driver_handle, UNSEEN)

    def release(self, gpu: LogicalGPU) -> None:
        """End its user's daemon on the device where no lease has it any more; also one that nobody noted."""
        name, known = _name(gpu), Daemon.read(gpu.driver_handle)
        folders = self._folders(name) if known is None else [Path(known.folder)]
        for folder in folders:
            if str(folder) not in self._served:
                daemon = known or mps_daemon.find(folder) or Daemon(0, 0, str(folder))
                self._served[str(folder)] = _Served(daemon, gpu.device_id, name)
        for served in list(self._served.values()):
            served.generations.discard(gpu.generation)
            if served.name == name and not served.generations:
                mps_daemon.end(served.daemon)  # where it raises, it is tried again
                del self._served[served.daemon.folder]
        self._starter.reap()
        if self._setup is not None:
            with suppress(OSError):  # another one is in it
                self._setup.folder.rmdir()

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Where the daemon is and what the process may take, of the one device that it and the daemon see: number 0.

        By its UUID a device is not found in some drivers. Libraries are not told a part of the device beside the limit:
        where CUDA shows them the limit as all that there is, that would be a part of a part.
        """
        daemon = Daemon.read(gpu.driver_handle)
        device_bytes = self._hardware.memory_bytes(gpu.device_id)
        told = {
            "FASTGPU_MEMORY_BYTES": str(gpu.memory_bytes),
            "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={gpu.memory_bytes // MIB}M",
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(max(1, gpu.memory_bytes * 100 // device_bytes)),
        }
        return told if daemon is None else {"CUDA_MPS_PIPE_DIRECTORY": daemon.folder, **told}

    def _folders(self, name: str = "") -> list[Path]:
        if self._setup is None or not self._setup.folder.is_dir():
            return []
        return sorted(self._setup.folder.glob(f"{name or '*'}.*"))


def _owner(gpu: LogicalGPU) -> int:
    return os.geteuid() if gpu.owner_uid is None else gpu.owner_uid


def _name(gpu: LogicalGPU) -> str:
    """Of a user and a device, as a folder's."""
    return hashlib.sha256(f"{_owner(gpu)}/{gpu.device_id}".encode()).hexdigest()[:8]
