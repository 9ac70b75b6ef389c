"""The mechanism MPS: a control daemon for each user and GPU.

MPS lets processes of one user hand their work to one server, so that small kernels of several run side by side. It does
not isolate them: a fatal error of one process ends what all others have there. So there is one control daemon for each
user and GPU, and no other user's processes come to it: another user's leases on the same GPU have a daemon of their
own, and the two take turns.

The limits are enforced by CUDA in each process, from variables that the process reads when it begins to use the GPU. So
a lease with two processes may take twice its memory before MPS objects; the pool adds up, and watches
(:mod:`core.lease.memory_limit`). The share of the GPU's processors is a limit, nothing is reserved. Neither changes for
a process that runs, and CUDA does not park MPS clients.

A daemon is started with the first lease and ends with the last. ``LogicalGPU.driver_handle`` identifies the daemon of a
lease; a daemon whose start was cut short is found by its user and GPU, which the folder's name encodes. A process that
begins when its daemon has ended would run without MPS and without a limit: such a lease is lost.
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
from typing import NamedTuple, Protocol

from .....core.model.entities import Enforcement, LimitScope, LogicalGPU, Mechanism, MechanismCapability
from .....errors import HostFault, Message
from .....units import MIB
from ....host import single_instance
from ...driver import LimitResult
from . import daemon as daemons
from .daemon import PATH_MAX, PIPE_DIRECTORY, PROGRAM, Daemon
from .processes import parent_of

log = logging.getLogger("fastgpu.pool")
LOST = (
    "The MPS control daemon of this GPU has ended or cannot be found, so the limits of this lease are not enforced. "
    "Restart the kernel to get a new lease; your other notebooks on this GPU have lost theirs as well."
)
UNSEEN = Message.of_text(
    "The kernel does not see the folder of the MPS control daemon, as in a container of its own: it takes turns with "
    "others instead, and CUDA enforces no limit."
)


class MpsDevices(Protocol):
    """The devices, as far as this mechanism needs them."""

    def require(self, device_id: str) -> None:
        """Raise ``HostFault`` unless the device answers."""

    def memory_bytes(self, device_id: str) -> int:
        """Return all memory of a device; from memory, without a call to it."""

    def mps_obstacle(self, device_id: str) -> Message | None:
        """Return what prevents the device from serving by MPS, or ``None``."""


class MpsSettings(NamedTuple):
    """How a pool serves by MPS."""

    folder: Path  #: for the folders of its daemons; created when it is needed
    on: bool = False
    all_users: bool = False  #: whether the pool serves users other than the one that it runs as


def folder_for(socket_path: Path) -> Path:
    """Return the folder for daemons: beside the pool's socket, or in the folder for temporary files where such a path
    is too long for a socket.
    """
    beside = socket_path.parent / "mps"
    if len(os.fsencode(beside)) + len("/01234567.1234567890") <= PATH_MAX:
        return beside
    name = hashlib.sha256(os.fsencode(socket_path)).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"fastgpu-mps-{os.geteuid()}-{name}"


@dataclass
class _Served:
    """A daemon, and the leases that use it, by generation."""

    daemon: Daemon
    device_id: str
    name: str  #: of its user and device
    generations: set[int] = field(default_factory=set)


class MpsMechanism:
    """The control daemons of one pool. For the thread that calls the driver."""

    def __init__(self, devices: MpsDevices, settings: MpsSettings | None = None) -> None:
        self._devices = devices
        self._settings = settings
        self._starter = daemons.DaemonStarter()
        self._served: dict[str, _Served] = {}  #: by folder
        self._unsure: set[str] = set()  #: names of folders in which a start was cut short
        self._has_adopted = self._is_tidy = False

    # -- what there is ------------------------------------------------------------------------------------------------

    def adopt(self, held: Iterable[LogicalGPU]) -> None:
        """Record which daemons leases use, by the journal."""
        self._has_adopted = True
        for gpu in held:
            if gpu.mechanism is not Mechanism.MPS:
                continue
            daemon = Daemon.parse(gpu.driver_handle)
            if daemon is None:
                self._unsure.add(_name(gpu))
            else:
                self._serve(daemon, gpu)

    def end_unused(self) -> None:
        """End the daemons of a pool manager that was killed before it journalled them; once, after :meth:`adopt`."""
        if self._is_tidy or not self._has_adopted:
            return
        self._is_tidy = True
        for folder in self._folders():
            if str(folder) not in self._served and folder.name.partition(".")[0] not in self._unsure:
                log.warning("Ending the MPS control daemon of %s: no lease uses it.", folder)
                with suppress(HostFault):
                    daemons.end(daemons.find(folder) or Daemon.unknown(folder))

    def refusal(self) -> str | None:
        """Return why MPS is not used though it is switched on, as a sentence; ``None`` where it is used."""
        if self._settings is None or not self._settings.on:
            return None
        if daemons.program() is None:
            return f"MPS is switched on, and {PROGRAM} was not found: parts of GPUs are shared without it."
        if self._settings.all_users and os.geteuid() != 0:
            return (
                "MPS is switched on, and serves only the user that its daemon runs as, so a pool of the whole system "
                "must run as root for it: parts of GPUs are shared without it."
            )
        return None

    def serves(self, device_id: str) -> bool:
        """Return whether MPS clients may be on a device."""
        return any(served.device_id == device_id for served in list(self._served.values()))

    def is_server(self, pid: int) -> bool:
        """Return whether a process is a server of one of the daemons: it has memory on a device, and no lease."""
        parent = parent_of(pid)
        return any(served.daemon.pid == parent and served.daemon.runs for served in list(self._served.values()))

    def loss_reason(self, gpu: LogicalGPU) -> str | None:
        """Return why a lease has lost its daemon; ``None`` where it runs and its processes find it."""
        self._starter.reap()
        daemon = Daemon.parse(gpu.driver_handle)
        return None if daemon is not None and daemon.serves else LOST

    # -- LeaseMechanism -----------------------------------------------------------------------------------------------

    def capability(self, device_id: str) -> MechanismCapability | None:
        """Return a limit for each process, fixed when it starts; where MPS is switched on and the device can."""
        if self._settings is None or not self._settings.on or self.refusal() is not None:
            return None
        if self._devices.mps_obstacle(device_id) is not None:
            return None
        return MechanismCapability(Mechanism.MPS, Enforcement.USERSPACE, LimitScope.PROCESS, parkable=False)

    def prepare(self, gpu: LogicalGPU) -> str:
        """Start the user's daemon on the device, unless it runs, and return its identity."""
        self._devices.require(gpu.device_id)
        daemon = Daemon.parse(gpu.driver_handle)
        if daemon is None or not daemon.serves:
            daemon = self._find_running(gpu) or self._start(gpu)
        self._serve(daemon, gpu)
        return str(daemon)

    def _find_running(self, gpu: LogicalGPU) -> Daemon | None:
        """Return the daemon of the lease's user on its device, by whatever pool manager it was started."""
        for folder in self._folders(_name(gpu)):
            served = self._served.get(str(folder))
            daemon = served.daemon if served else daemons.find(folder)
            if daemon is None or not (daemon.serves if served else daemon.runs):
                continue
            if served is None:  # the pool manager that started it was killed, and the start may have failed
                try:
                    daemons.wait_until_it_answers(daemon)
                except HostFault:
                    daemons.end(daemon, quit_s=0)  # or every later try would find it again
                    raise
            return daemon
        return None

    def _start(self, gpu: LogicalGPU) -> Daemon:
        if self._settings is None or not self._settings.on:
            raise HostFault("MPS was switched off since it was granted.")
        obstacle = self._devices.mps_obstacle(gpu.device_id) or Message.of_optional(self.refusal())
        if obstacle is not None:
            raise HostFault(Message.of("mps.cannot_serve", reason=obstacle))
        single_instance.create_private_folder(self._settings.folder, 0o711 if self._settings.all_users else 0o700)
        folder = self._settings.folder / f"{_name(gpu)}.{gpu.generation}"  # as no other grant has it
        daemons.end(Daemon.unknown(folder))  # what is left of an earlier start for this lease
        return self._starter.start(folder, gpu.device_id, _owner(gpu))

    def _serve(self, daemon: Daemon, gpu: LogicalGPU) -> None:
        served = self._served.setdefault(daemon.folder, _Served(daemon, gpu.device_id, _name(gpu)))
        served.generations.add(gpu.generation)

    def limit(self, gpu: LogicalGPU, pid: int) -> LimitResult:
        """Return that CUDA in the process enforces the limit, where the process finds the daemon."""
        daemon = Daemon.parse(gpu.driver_handle)
        if daemon is None or daemons.is_visible_to(pid, daemon):
            return LimitResult(Enforcement.USERSPACE, gpu.driver_handle)
        return LimitResult(Enforcement.COOPERATIVE, gpu.driver_handle, UNSEEN)

    def release(self, gpu: LogicalGPU) -> None:
        """End the user's daemon on the device where no lease uses it; also one that was never journalled."""
        name, known = _name(gpu), Daemon.parse(gpu.driver_handle)
        folders = self._folders(name) if known is None else [Path(known.folder)]
        for folder in folders:
            if str(folder) not in self._served:
                daemon = known or daemons.find(folder) or Daemon.unknown(folder)
                self._served[str(folder)] = _Served(daemon, gpu.device_id, name)
        for served in list(self._served.values()):
            served.generations.discard(gpu.generation)
            if served.name == name and not served.generations:
                daemons.end(served.daemon)  # where it raises, it is tried again
                del self._served[served.daemon.folder]
        self._starter.reap()
        if self._settings is not None:
            with suppress(OSError):  # another daemon's folder is in it
                self._settings.folder.rmdir()

    def env(self, gpu: LogicalGPU) -> Mapping[str, str]:
        """Return where the daemon is, and the limits for device number 0: the daemon and its clients see one device.

        By its UUID a device is not found in some drivers. Libraries get no fraction beside the limit: where CUDA shows
        them the limit as the whole memory, that would be a part of a part.
        """
        daemon = Daemon.parse(gpu.driver_handle)
        device_bytes = self._devices.memory_bytes(gpu.device_id)
        limits = {
            "FASTGPU_MEMORY_BYTES": str(gpu.memory_bytes),
            "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={gpu.memory_bytes // MIB}M",
            "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": str(max(1, gpu.memory_bytes * 100 // device_bytes)),
        }
        return limits if daemon is None else {PIPE_DIRECTORY: daemon.folder, **limits}

    def _folders(self, name: str = "") -> list[Path]:
        if self._settings is None or not self._settings.folder.is_dir():
            return []
        return sorted(self._settings.folder.glob(f"{name or '*'}.*"))


def _owner(gpu: LogicalGPU) -> int:
    return os.geteuid() if gpu.owner_uid is None else gpu.owner_uid


def _name(gpu: LogicalGPU) -> str:
    """Return the name of a user and a device, for a folder."""
    return hashlib.sha256(f"{_owner(gpu)}/{gpu.device_id}".encode()).hexdigest()[:8]
