"""Models of GPUs that people know: their memory and a list price, both only defaults.

Prices are rounded on-demand prices of large clouds per GPU and hour in US dollars; an administrator sets the pool's own
with ``FastGPUPool.rates``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from ...errors import InvalidRequest
from ...units import GIB, MICRO


class Model(NamedTuple):
    """A model of GPU; ``words`` are what its NVML name contains."""

    memory_bytes: int
    rate_micro_per_hour: int
    words: tuple[str, ...]


#: In order: the first model all of whose words occur in a device's name gives its price.
MODELS: dict[str, Model] = {
    "B200-180GB": Model(180 * GIB, 6_250_000, ("B200",)),
    "H200-141GB": Model(141 * GIB, 4_500_000, ("H200",)),
    "H100-94GB": Model(94 * GIB, 3_900_000, ("H100", "NVL")),
    "H100-80GB": Model(80 * GIB, 3_900_000, ("H100",)),
    "A100-80GB": Model(80 * GIB, 2_500_000, ("A100", "80GB")),
    "A100-40GB": Model(40 * GIB, 1_800_000, ("A100",)),
    "L40S-48GB": Model(48 * GIB, 1_900_000, ("L40S",)),
    "A40-48GB": Model(48 * GIB, 1_300_000, ("A40",)),
    "A30-24GB": Model(24 * GIB, 1_000_000, ("A30",)),
    "A10-24GB": Model(24 * GIB, 1_000_000, ("A10",)),
    "L4-24GB": Model(24 * GIB, 700_000, ("L4",)),
    "V100-32GB": Model(32 * GIB, 2_200_000, ("V100", "32GB")),
    "V100-16GB": Model(16 * GIB, 2_000_000, ("V100",)),
    "T4-16GB": Model(16 * GIB, 350_000, ("T4",)),
    "RTX4090-24GB": Model(24 * GIB, 450_000, ("RTX 4090",)),
    "RTX3090-24GB": Model(24 * GIB, 300_000, ("RTX 3090",)),
}

#: For a device that no model matches.
OTHER_RATE_MICRO_PER_HOUR = 500_000


def rate_of(name: str, rates: Mapping[str, float]) -> int:
    """Micro-units per hour of a device named ``name``: from ``rates`` (units per hour by catalogue or device name)
    where it has an entry, else the list price.
    """
    model = _model_of(name)
    for key in (name, model):
        if key is not None and key in rates:
            return round(rates[key] * MICRO)
    return MODELS[model].rate_micro_per_hour if model else OTHER_RATE_MICRO_PER_HOUR


@cache  # asked for each device at each look; a machine has few models
def _model_of(name: str) -> str | None:
    return next((key for key, entry in MODELS.items() if key == name or _matches(entry, name)), None)


def _matches(model: Model, name: str) -> bool:
    # Whole words, so that "A10" is not found in "A100"; letters glued behind, as in "A100-SXM4-80GB", are other words.
    return all(re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", name) for word in model.words)


_TERM = re.compile(r"(?:([0-9]{1,4})x)?([A-Za-z0-9-]+)")

#: Most simulated devices: enough for any demonstration.
SIMULATED_MAX = 1024


def parse_simulated(text: str) -> list[str]:
    """Catalogue names, one a device, from ``"2xA100-80GB, T4-16GB"``.

    Raises :class:`InvalidRequest` that names the term which cannot be read.
    """
    names: list[str] = []
    known = {name.lower(): name for name in MODELS}
    joined = re.sub(r"(?<=[0-9])\s*x\s*", "x", text)
    for term in filter(None, re.split(r"[,+;\s]+", joined)):
        match = _TERM.fullmatch(term)
        name = known.get(match[2].lower()) if match else None
        if match is None or name is None:
            raise InvalidRequest(
                f"{term[:40]!r} in --simulate is not a number and a model, like 2xA100-80GB. "
                f"Models: {', '.join(MODELS)}."
            )
        names += [name] * int(match[1] or 1)
    if not names or len(names) > SIMULATED_MAX:
        raise InvalidRequest(f"--simulate takes 1 to {SIMULATED_MAX} devices, like 2xA100-80GB.")
    return names
