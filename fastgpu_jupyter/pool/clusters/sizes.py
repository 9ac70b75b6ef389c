"""The sizes that a request can have on a cluster, from the kinds of GPUs that it offers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ...core.model.entities import Enforcement, Lease, Mechanism, MechanismCapability
from ...core.model.size import DEVICES_MAX, OPTIONS_MAX, PARTS_MAX, Size, SizeEffect
from ...core.placement.mechanisms import ENFORCED_BY
from ...core.sizing.kinds import ModelCount
from ...core.sizing.options import SizeChoice, SizeChoices
from ...errors import Message
from .allocation import Allocations, memory_of_part, part_of, want_of_size
from .engine import GPUKind


def size_choices(
    kinds: Sequence[GPUKind], allocations: Allocations, model: Size, closed: Message | None, reason: Message | None
) -> SizeChoices:
    """Return the sizes of the kinds that ``model`` matches, and all models. What is free only the engine knows.

    ``closed``: why no request is accepted at present. ``reason``: who decides when one starts. A model of which no
    memory is known is left out.
    """
    models: dict[str, ModelCount] = {}
    choices: dict[Size, SizeChoice] = {}
    for kind in kinds:
        memory_bytes = kind.memory_bytes or allocations.least_memory_of(kind.model)
        if memory_bytes is None:
            continue
        before = models.get(kind.model)
        devices = kind.per_node_max * kind.nodes + (before.devices if before else 0)
        models[kind.model] = ModelCount(kind.model, memory_bytes, devices)
        if not model.matches(kind.model, memory_bytes):
            continue
        for size in _sizes_of(kind):
            want = want_of_size(size)
            numerator, denominator = part_of(want)
            rate_micro = allocations.rate_of(kind.model) * size.devices * numerator // denominator
            choices[size] = SizeChoice(
                size,
                kind.model,
                memory_of_part(want, memory_bytes) * size.devices,
                rate_micro,
                _capability(size),
                SizeEffect.UNAVAILABLE if closed else SizeEffect.QUEUED,
                closed or reason,
            )
    ordered = sorted(choices.values(), key=lambda choice: choice.memory_bytes)
    return SizeChoices(None, None, list(models.values()), _thinned(ordered))


def choices_of_kind(kinds: Sequence[GPUKind], allocations: Allocations, lease: Lease) -> list[SizeChoice] | None:
    """Return the sizes that a new request like that of an active lease can have on the kind of GPU that it has.

    ``None`` where that is not known: the engine has not said what it offers, the kind has another name there or may be
    one of several, or its memory is not certain.
    """
    gpu, size = lease.logical_gpu, lease.request.size
    granted = gpu.cluster.devices[0].model.lower() if gpu is not None and gpu.cluster is not None else ""
    same = [kind for kind in kinds if kind.model.lower() == granted]
    if not same and size.models:  # the device itself has another name than its kind
        same = [kind for kind in kinds if size.matches(kind.model, kind.memory_bytes or size.device_memory_min)]
    if len({kind.model for kind in same}) != 1 or not all(kind.memory_bytes for kind in same):
        return None
    enforced = ENFORCED_BY[lease.request.isolation]
    return [
        choice
        for choice in size_choices(same, allocations, Size(), None, None).choices
        if choice.size.whole or choice.capability is None or choice.capability.enforcement in enforced
    ]


def _sizes_of(kind: GPUKind) -> Iterator[Size]:
    models = (kind.model.lower(),)
    for profile in kind.mig:
        yield Size(models=models, partition=profile)
    for denominator in _denominators(kind.shards_per_gpu or 1):
        yield Size(models=models, part=(1, denominator))
    count = 1
    while count <= min(kind.per_node_max, DEVICES_MAX):
        yield Size(count, models)
        count *= 2


def _denominators(shards: int) -> Iterable[int]:
    """Return the parts of a GPU that are offered, as their denominators: a half, a quarter and so on."""
    return [part for part in (2, 4, 8, 16, 32, PARTS_MAX) if part <= shards and shards % part == 0]


def _capability(size: Size) -> MechanismCapability:
    """Return what a lease is promised: MIG divides the hardware, parts of a GPU are only counted."""
    enforcement = Enforcement.HARDWARE if size.partition is not None else Enforcement.NONE
    return MechanismCapability(Mechanism.CLUSTER, enforcement, parkable=False)


def _thinned(choices: list[SizeChoice]) -> list[SizeChoice]:
    """Return so many as are shown at most, one whole GPU of each model first."""
    whole = [choice for choice in choices if choice.size.whole and choice.size.devices == 1]
    others = [choice for choice in choices if choice not in whole]
    kept = (whole + others)[:OPTIONS_MAX]
    return [choice for choice in choices if choice in kept]
