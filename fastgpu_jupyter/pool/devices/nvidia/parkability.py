"""Whether memory on NVIDIA's GPUs can be parked, and which GPUs it can come back to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import pynvml

from ....core.model.entities import DeviceSpec, LogicalGPU, Mechanism
from ....errors import HostFault
from ..driver import NotNow, ProcessList, ReserveHostMemory
from . import session
from .checkpoint_process import CheckpointProcesses
from .cuda_checkpoint import MOVE_FROM, PARK_FROM, CheckpointParker
from .parking import LeaseParker

NOT_PARKABLE = "What is on this GPU could not be brought back to whichever GPU is free then, so it is not parked."
STARTS = "CUDA is being initialized; parking is possible once it is."
#: How long the first inventory waits for CUDA; less than the start of a pool manager waits for the inventory.
FIRST_S = 3.0
#: The pause after the first attempt to initialize CUDA that failed, and the longest one; it doubles with each. At boot
#: a part of the driver may not be loaded yet.
RETRY_S, RETRY_S_MAX = 15.0, 300.0


class ParkingSupport:
    """Parking on the GPUs of one session.

    ``list_processes`` returns what the driver says of the processes on a device, and ``free_of`` the memory that is
    free there, or ``None`` where that is unknown.
    """

    def __init__(
        self,
        list_processes: Callable[[str], ProcessList],
        free_of: Callable[[str], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._list_processes = list_processes
        self._free_of = free_of
        self._clock = clock
        self._processes = CheckpointProcesses()
        self._parker: LeaseParker | None = None
        self._missing = STARTS  #: why nothing is parked, while that is so
        self._attempt: threading.Thread | None = None
        self._attempts = 0
        self._next_s = 0.0  #: when CUDA may be tried again
        self._parkable: set[str] = set()

    def find_parkable(self, specs: Iterable[DeviceSpec]) -> set[str]:
        """Return the ids of the devices whose memory can be parked; they hold for later calls, too."""
        if self._parker is None:
            self._begin()
        whole = [spec for spec in specs if not spec.profiles]  # no driver parks what is on a MIG instance
        self._parkable = {spec.id for spec in whole if self._can_come_back(spec, whole)}
        return self._parkable

    def park(self, gpu: LogicalGPU, pid: int, reserve: ReserveHostMemory) -> int:
        """Move what the process tree of ``pid`` has on the logical GPU to the host; return how many bytes."""
        if gpu.mechanism is Mechanism.MPS:
            raise HostFault("CUDA cannot park what runs by MPS.")
        if self._parker is None:
            raise HostFault(self._missing)
        if not self._parkable.issuperset(gpu.device_ids):
            raise HostFault(NOT_PARKABLE)
        return self._parker.park(gpu.device_ids, pid, gpu.memory_bytes, reserve, whole=gpu.whole)

    def resume(self, gpu: LogicalGPU, pid: int, origin: Sequence[str], memory_bytes: int) -> None:
        """Move it back, from the devices of ``origin`` to those of the logical GPU."""
        if self._parker is None:  # it was parked by an earlier pool manager, so it can be resumed
            raise NotNow(self._missing)
        self._parker.resume(origin or gpu.device_ids, gpu.device_ids, pid, memory_bytes)

    def close(self) -> None:
        """End the process that uses CUDA and moves nothing now; the next move starts another one."""
        self._processes.close()

    def _begin(self) -> None:
        """Try to find what moves leases' memory, or why nothing does; in a thread, because CUDA may hang."""
        try:
            release = session.ask("say its version", pynvml.nvmlSystemGetDriverVersion).partition(".")[0]
        except HostFault as fault:
            self._missing = str(fault)
            return
        if not release.isdigit() or int(release) < PARK_FROM:
            self._missing = f"Parking needs a driver of R{PARK_FROM} or newer."
            return
        if (self._attempt is not None and self._attempt.is_alive()) or self._clock() < self._next_s:
            return
        moves = int(release) >= MOVE_FROM
        self._attempt = threading.Thread(target=self._initialize, args=(moves,), name="cuda-init", daemon=True)
        self._attempt.start()
        if not self._attempts:
            self._attempt.join(FIRST_S)

    def _initialize(self, moves: bool) -> None:
        try:
            self._processes.probe()
        except HostFault as fault:
            self._missing = str(fault)
            self._next_s = self._clock() + min(RETRY_S * 2**self._attempts, RETRY_S_MAX)
            self._attempts += 1
            return
        parker = CheckpointParker(self._processes)
        self._parker = LeaseParker(parker, self._list_processes, self._free_of, session.all_uuids, moves=moves)

    def _can_come_back(self, spec: DeviceSpec, specs: Iterable[DeviceSpec]) -> bool:
        """Return whether what was on the GPU can come back to any GPU of its model that is free then."""
        if self._parker is None:
            return False
        return self._parker.moves or sum(other.model == spec.model for other in specs) == 1
