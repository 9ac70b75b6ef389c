"""What a request wants of an engine, and what the job of a lease was allocated, with memory and rate."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...core.model.entities import ClusterAllocation, ClusterDevice, ClusterRequest, Enforcement, LeaseRequest
from ...core.model.size import Size
from ...units import parse_memory
from ..devices.catalog import Catalog
from .agent_messages import AgentHello
from .engine import Running, Want

MILLI = 1000
#: Where no one says of which model a GPU is.
UNKNOWN_MODEL = "gpu"
#: The variables of a job that have the numbers of its GPUs on the host; the first has physical ones.
_INDICES = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "GPU_DEVICE_ORDINAL")
_MIG = re.compile(r"(?P<slices>[0-9]+)g\.(?P<memory>[0-9]+gb)")
#: The slices for computing that a device has which MIG divides.
MIG_SLICES = 7


def want_of(request: LeaseRequest) -> Want:
    """Return what a request wants of the engine."""
    options = request.cluster or ClusterRequest()
    return want_of_size(request.size)._replace(
        cpu_milli=request.cpu_milli,
        host_memory_bytes=request.host_memory_bytes,
        time_limit_ms=options.time_limit_ms,
        options=options,
    )


def want_of_size(size: Size) -> Want:
    """Return what a request of that size wants, without options."""
    return Want(
        gpus=size.devices,
        models=size.models,
        fraction=size.part,
        memory_bytes_min=size.memory_bytes or size.device_memory_min or None,
        partition_profile=size.partition,
    )


class Allocations:
    """Makes allocations from what agents report, with the memory that is configured or in the catalogue of models.

    ``rates`` are units per hour of one GPU, by model; ``memory_bytes`` is by the engine's name of the model.
    """

    def __init__(self, catalog: Catalog, rates: Mapping[str, float], memory_bytes: Mapping[str, int]) -> None:
        self._catalog, self._rates = catalog, rates
        self._memory_bytes = {name.lower(): amount for name, amount in memory_bytes.items()}

    def memory_of(self, model: str) -> int | None:
        """Return the memory of one GPU of a model; ``None`` where that is not certain."""
        configured = self._memory_bytes.get(model.lower())
        amounts = {entry.memory_bytes for entry in self._catalog.models_like(model)}
        return configured or (amounts.pop() if len(amounts) == 1 else None)

    def least_memory_of(self, model: str) -> int | None:
        """Return the memory that one GPU of a model has at least; ``None`` where the model is not known."""
        like = [entry.memory_bytes for entry in self._catalog.models_like(model)]
        return self.memory_of(model) or min(like, default=None)

    def rate_of(self, model: str) -> int:
        """Return the rate of one GPU of a model in micro-units per hour.

        Where the name can be that of several, as ``a100``, it is that of the one with the least memory.
        """
        if model in self._rates or model == UNKNOWN_MODEL:
            return self._catalog.rate_of(model, self._rates)
        like, memory_bytes = self._catalog.models_like(model), self.least_memory_of(model)
        named = [one.name for one in like if one.memory_bytes == memory_bytes] or [one.name for one in like]
        return self._catalog.rate_of(named[0] if named else model, self._rates)

    def is_certain(self, want: Want, hello: AgentHello) -> bool:
        """Return whether the rate of a job's GPUs is known without the engine: ``a100`` may be one of several."""
        named = want.models[0] if len(want.models) == 1 else UNKNOWN_MODEL
        return bool(hello.devices) or named in self._rates or self.memory_of(named) is not None

    def of_hello(self, want: Want, hello: AgentHello, running: Running | None) -> ClusterAllocation:
        """Return what a job was allocated, as its agent and the engine say."""
        part = part_of(want)
        devices = []
        for name, model, memory_bytes in self._devices(want, hello, running):
            share = None if memory_bytes is None else memory_of_part(want, memory_bytes)
            rate_micro = self.rate_of(model) * part[0] // part[1]
            devices.append(ClusterDevice(name, model, share, rate_micro))
        return ClusterAllocation(
            host=hello.host,
            devices=tuple(devices),
            milli=max(1, MILLI * part[0] // part[1] * max(1, len(devices))),
            enforcement=_enforcement(want, running),
            ends_at_ms=running.ends_at_ms if running else None,
        )

    def _devices(self, want: Want, hello: AgentHello, running: Running | None) -> list[tuple[str, str, int | None]]:
        """Return name, model and memory of each GPU that the job sees."""
        if hello.devices:
            return [(one.uuid, one.model, one.memory_bytes or self.memory_of(one.model)) for one in hello.devices]
        stated = running.model if running else None
        model = stated or (want.models[0] if len(want.models) == 1 else UNKNOWN_MODEL)
        indices = next((hello.variables[name] for name in _INDICES if hello.variables.get(name)), "")
        names = [f"{hello.host}:gpu{index}" for index in filter(None, re.split(r"[,\s]+", indices))]
        return [(name, model, self.memory_of(model)) for name in names]


def part_of(want: Want) -> tuple[int, int]:
    """Return the part of each GPU that a lease has, as numerator and denominator; 1/1 for all of it."""
    if want.fraction is not None:
        return want.fraction
    found = _MIG.match(want.partition_profile or "")
    return (min(MIG_SLICES, int(found["slices"])), MIG_SLICES) if found else (1, 1)


def memory_of_part(want: Want, memory_bytes: int) -> int:
    """Return what a lease has of a GPU with ``memory_bytes``."""
    found = _MIG.match(want.partition_profile or "")
    if found:  # a driver calls GiB so
        return parse_memory(found["memory"].replace("gb", "GiB"))
    numerator, denominator = part_of(want)
    return memory_bytes * numerator // denominator


def _enforcement(want: Want, running: Running | None) -> Enforcement:
    """Return what enforces the limit: the hardware, where no other process can use the GPU or the part of it."""
    if want.partition_profile is not None:
        return Enforcement.HARDWARE
    isolated = running is not None and running.isolated is True
    return Enforcement.HARDWARE if isolated and want.fraction is None else Enforcement.NONE
