"""Whether memory on NVIDIA's GPUs can be parked, and which GPUs it can come back to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import pynvml

from ....core.model.entities import DeviceSpec, LogicalGPU, Mechanism
from ....errors import HostFault
from . import session
from .cuda_checkpoint import MOVE_FROM, PARK_FROM, CheckpointParker
from .parking import LeaseParker

NOT_PARKABLE = "What is on this GPU could not be brought back to whichever GPU is free then, so it is not parked."


class ParkingSupport:
    """Parking on the GPUs of one session. ``usage_of`` returns the memory that processes have on a device, by pid."""

    def __init__(self, usage_of: Callable[[str], Mapping[int, int | None]]) -> None:
        self._usage_of = usage_of
        self._parker: LeaseParker | str | None = None  #: what parks, or why nothing does, once that is known
        self._parkable: set[str] = set()

    def find_parkable(self, specs: Iterable[DeviceSpec]) -> set[str]:
        """Return the ids of the devices whose memory can be parked; they hold for later calls, too."""
        if self._parker is None:
            self._parker = self._begin()
        whole = [spec for spec in specs if not spec.profiles]  # no driver parks what is on a MIG instance
        self._parkable = {spec.id for spec in whole if self._can_come_back(spec, whole)}
        return self._parkable

    def park(self, gpu: LogicalGPU, pid: int) -> int:
        """Move what the process tree of ``pid`` has on the logical GPU to the host; return how many bytes."""
        if gpu.mechanism is Mechanism.MPS:
            raise HostFault("CUDA cannot park what runs by MPS.")
        if not self._parkable.issuperset(gpu.device_ids):
            raise HostFault(self._parker if isinstance(self._parker, str) else NOT_PARKABLE)
        return self._require_parker().park(gpu.device_ids, pid, gpu.memory_bytes)

    def resume(self, gpu: LogicalGPU, pid: int, origin: Sequence[str]) -> None:
        """Move it back, from the devices of ``origin`` to those of the logical GPU."""
        self._require_parker().resume(origin or gpu.device_ids, gpu.device_ids, pid)

    def _require_parker(self) -> LeaseParker:
        if isinstance(self._parker, LeaseParker):
            return self._parker
        raise HostFault(self._parker or NOT_PARKABLE)

    def _begin(self) -> LeaseParker | str:
        """Return what moves leases' memory, or why nothing does."""
        try:
            release = session.ask("say its version", pynvml.nvmlSystemGetDriverVersion).partition(".")[0]
            if not release.isdigit() or int(release) < PARK_FROM:
                return f"Parking needs a driver of R{PARK_FROM} or newer."
            parker = CheckpointParker()
        except HostFault as missing:
            return str(missing)
        return LeaseParker(parker, self._usage_of, session.all_uuids, moves=int(release) >= MOVE_FROM)

    def _can_come_back(self, spec: DeviceSpec, specs: Iterable[DeviceSpec]) -> bool:
        """Return whether what was on the GPU can come back to any GPU of its model that is free then."""
        if not isinstance(self._parker, LeaseParker):
            return False
        return self._parker.moves or sum(other.model == spec.model for other in specs) == 1
