"""Which generic resources of Slurm serve a request: whole GPUs by type, shards of one, or MIG instances by type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

from ....errors import InvalidRequest, Message
from ..engine import GPUKind, Want
from .parse import Gres, NodeRow

#: A type that a site gave to MIG instances, such as ``1g.10gb`` or ``a100_3g.20gb``.
_MIG = re.compile(r"(?:(?P<model>.*?)[_-])?(?P<profile>\d+g\.\d+gb(?:\+\w+)?)")
#: Types that are tried for one request; each takes a call of ``sbatch``.
CHOICES_MAX = 4


def kinds_of(rows: Iterable[NodeRow], shards_per_gpu: Mapping[str, int]) -> list[GPUKind]:
    """Return the GPUs of the cluster by partition and type. ``shards_per_gpu``: by type, where nodes do not say it."""
    found: dict[tuple[str, str], GPUKind] = {}
    for row in rows:
        for kind in _kinds_of_row(row, shards_per_gpu) if row.is_up else ():
            known = found.get((kind.partition, kind.model))
            found[kind.partition, kind.model] = kind if known is None else _merged(known, kind)
    return list(found.values())


def gres_choices(want: Want, kinds: Sequence[GPUKind]) -> list[str]:
    """Return the values of ``--gres`` that serve a request, the preferred one first.

    Raises :class:`InvalidRequest` where no GPU of the cluster does, with what there is.
    """
    partitions = set(want.options.partition.split(",")) if want.options.partition else None
    near = [kind for kind in kinds if (kind.partition in partitions if partitions else kind.default_partition)]
    near = near or list(kinds)
    if not near:  # the nodes are hidden from this user: Slurm decides
        return [f"gpu:{':'.join((*want.models[:1], str(want.gpus)))}"]
    if want.partition_profile:
        chosen = list(_partition_gres(want, near))
    elif want.fraction:
        chosen = list(_shard_gres(want, Fraction(*want.fraction), near))
    else:
        chosen = list(_whole_gres(want, near))
    return list(dict.fromkeys(chosen))[:CHOICES_MAX]


def is_model(requested: str, model: str) -> bool:
    """Return whether the type ``model`` is what a request calls ``requested``: ``A100-80GB`` is ``a100``, too."""
    words, known = _words(requested), _words(model)
    return bool(words and known) and (words <= known or known <= words)


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z0-9]+", name.lower()))


def _kinds_of_row(row: NodeRow, shards_per_gpu: Mapping[str, int]) -> Iterator[GPUKind]:
    gpus = [one for one in row.gres if one.name == "gpu"]
    mig = {one: match for one in gpus if (match := _MIG.fullmatch(one.type))}
    whole = [one for one in gpus if one not in mig]
    for one in whole:
        parts = tuple(
            part.type
            for part, match in mig.items()
            if (is_model(match["model"], one.type) if match["model"] else len(whole) == 1)
        )
        shards = shards_per_gpu.get(one.type) or _shards_per_gpu(one, whole, row.gres)
        yield _kind(row, one.type, one.number, shards, parts)
    attached = {one.type for one, match in mig.items() if not match["model"] and len(whole) == 1}
    for one, match in mig.items():
        model = match["model"] or ""
        if one.type not in attached and not any(is_model(model, known.type) for known in whole):
            yield _kind(row, model, 0, None, (one.type,))


def _kind(row: NodeRow, model: str, count: int, shards: int | None, mig: tuple[str, ...]) -> GPUKind:
    return GPUKind(row.partition, model, count, row.nodes, shards, mig, row.time_limit_max_ms, row.is_default)


def _shards_per_gpu(gpu: Gres, gpus: Sequence[Gres], gres: Sequence[Gres]) -> int | None:
    """Return how many shards a GPU of a node has; none where that is not a whole number, or not that of one type."""
    shards = [
        one for one in gres if one.name == "shard" and one.type in ({gpu.type, ""} if len(gpus) == 1 else {gpu.type})
    ]
    count = sum(one.number for one in shards)
    return count // gpu.number if gpu.number and count and count % gpu.number == 0 else None


def _merged(known: GPUKind, other: GPUKind) -> GPUKind:
    return known._replace(
        per_node_max=max(known.per_node_max, other.per_node_max),
        nodes=known.nodes + other.nodes,
        shards_per_gpu=known.shards_per_gpu or other.shards_per_gpu,
        mig=tuple(dict.fromkeys((*known.mig, *other.mig))),
    )


def _whole_gres(want: Want, kinds: Sequence[GPUKind]) -> Iterator[str]:
    whole = [kind for kind in kinds if kind.per_node_max]
    if not want.models and not any(kind.mig for kind in kinds) and want.memory_bytes_min is None:
        yield f"gpu:{want.gpus}"
        return
    # Where MIG instances are types of their own, "any GPU" would be one of them, too.
    models = list(_models(want, whole))
    fitting = [kind.model for kind in models if kind.per_node_max >= want.gpus]
    if not fitting:
        largest = max(models, key=lambda kind: kind.per_node_max)
        raise InvalidRequest(
            Message.of("slurm.too_many", gpus=want.gpus, model=largest.model or "GPU", most=largest.per_node_max)
        )
    yield from (f"gpu:{':'.join(filter(None, (model, str(want.gpus))))}" for model in fitting)


def _shard_gres(want: Want, fraction: Fraction, kinds: Sequence[GPUKind]) -> Iterator[str]:
    divided = [kind for kind in kinds if kind.shards_per_gpu]
    if not divided:
        raise InvalidRequest(Message.of("slurm.no_shards"))
    whole = next(_models(want, kinds))  # refuses models that the cluster does not have
    if want.models and not any(is_model(name, kind.model) for name in want.models for kind in divided):
        there = tuple(sorted({kind.model for kind in divided if kind.model}))
        raise InvalidRequest(Message.of("slurm.model_not_divided", model=whole.model, names=there))
    models = list(_models(want, divided))
    for kind in models:
        shards = fraction * (kind.shards_per_gpu or 0)
        if shards.denominator == 1:
            yield f"shard:{':'.join(filter(None, (kind.model, str(shards.numerator))))}"
    if not any((fraction * (kind.shards_per_gpu or 0)).denominator == 1 for kind in models):
        per_gpu = models[0].shards_per_gpu or 1
        raise InvalidRequest(
            Message.of("slurm.no_such_fraction", fraction=str(fraction), model=models[0].model, shards=per_gpu)
        )


def _partition_gres(want: Want, kinds: Sequence[GPUKind]) -> Iterator[str]:
    profile = (want.partition_profile or "").lower()
    models = [kind for kind in kinds if not want.models or any(is_model(name, kind.model) for name in want.models)]
    found = [
        name for kind in models for name in kind.mig if (match := _MIG.fullmatch(name)) and match["profile"] == profile
    ]
    if not found:
        there = tuple(sorted({name for kind in kinds for name in kind.mig}))
        raise InvalidRequest(
            Message.of("slurm.no_partition_profile", profile=profile, names=there)
            if there
            else Message.of("slurm.no_partitions")
        )
    yield from (f"gpu:{name}:{max(want.gpus, 1)}" for name in found)


def _models(want: Want, kinds: Sequence[GPUKind]) -> Iterator[GPUKind]:
    """Yield the kinds of the models that a request accepts, in its order; without a model those of most nodes first."""
    most = sorted(kinds, key=lambda kind: -kind.nodes)
    named = [kind for name in want.models for kind in most if is_model(name, kind.model)] if want.models else most
    if not named:
        there = tuple(sorted({kind.model for kind in kinds if kind.model}))
        raise InvalidRequest(Message.of("slurm.no_model", model=", ".join(want.models), names=there))
    least = want.memory_bytes_min or 0
    large = [kind for kind in named if kind.memory_bytes is None or kind.memory_bytes >= least]
    if not large:
        raise InvalidRequest(Message.of("slurm.too_little_memory", least_bytes=least))
    yield from large
