"""Models of GPUs by name: their memory and a list price, both only defaults.

The models of a vendor are in its driver's folder. An administrator sets the pool's own prices with
``Accounting.rates_per_hour``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from ...errors import InvalidRequest, Message
from ...units import MICRO

#: Price of a device that no model matches.
OTHER_RATE_MICRO_PER_HOUR = 500_000
#: Most simulated devices: enough for any demonstration.
SIMULATED_MAX = 1024
_TERM = re.compile(r"(?:([0-9]{1,4})x)?([A-Za-z0-9-]+)")


class CatalogModel(NamedTuple):
    """A model of GPU; ``words`` are what the name that its driver reports contains."""

    memory_bytes: int
    rate_micro_per_hour: int
    words: tuple[str, ...]


class NamedModel(NamedTuple):
    """A model by its name in the catalogue, and its memory."""

    name: str
    memory_bytes: int


class Catalog:
    """Models by name, in order: the first model all of whose words occur in a device's name is the device's."""

    def __init__(self, models: Mapping[str, CatalogModel]) -> None:
        self.models = dict(models)
        #: Model by device name: looked up for each device at each inventory, and a machine has few models.
        self._known: dict[str, str | None] = {}

    def rate_of(self, device_name: str, rates: Mapping[str, float]) -> int:
        """Return micro-units per hour of a device: from ``rates`` (units per hour, by model or device name) where it
        has an entry, else the list price.
        """
        model = self._model_of(device_name)
        for key in (device_name, model):
            if key is not None and key in rates:
                return round(rates[key] * MICRO)
        return self.models[model].rate_micro_per_hour if model else OTHER_RATE_MICRO_PER_HOUR

    def models_like(self, name: str) -> list[NamedModel]:
        """Return the models that ``name``, as a scheduler writes it, can be: for ``a100`` those of 40 and of 80 GB."""
        words = re.findall(r"[A-Z0-9]+", name.upper())
        # A name of two or three words may be written as one, and the other way round.
        runs = {"".join(words[at : at + count]) for at in range(len(words)) for count in (1, 2, 3)}
        found = [NamedModel(key, model.memory_bytes) for key, model in self.models.items() if _lead(key) in runs]
        return [one for one in found if one.name.upper().rpartition("-")[2] in runs] or found

    def names_model_or_device(self, name: str) -> bool:
        """Return whether ``name`` is a model, or could be the name of a device of one, with more words than that.

        The words of a model alone, are neither: such a key has no effect.
        """
        model = None if name in self.models else self._model_of(name)
        words = () if model is None else self.models[model].words
        return name in self.models or (model is not None and len(name) > sum(map(len, words)) + len(words))

    def _model_of(self, device_name: str) -> str | None:
        if device_name not in self._known:
            found = (key for key, model in self.models.items() if key == device_name or _matches(model, device_name))
            self._known[device_name] = next(found, None)
        return self._known[device_name]

    def parse_simulated(self, text: str) -> list[str]:
        """Return one model name for each device in a text like ``"2xA100-80GB, T4-16GB"``.

        Raises :class:`InvalidRequest` that names the term which cannot be read.
        """
        names: list[str] = []
        known = {name.lower(): name for name in self.models}
        joined = re.sub(r"(?<=[0-9])\s*x\s*", "x", text)
        for term in filter(None, re.split(r"[,+;\s]+", joined)):
            match = _TERM.fullmatch(term)
            name = known.get(match[2].lower()) if match else None
            if match is None or name is None:
                models = ", ".join(similar_names(match[2] if match else "", list(self.models)))
                raise InvalidRequest(Message.of("pool_start.simulate_term", text=repr(term[:40]), models=models))
            names += [name] * int(match[1] or 1)
        if not names or len(names) > SIMULATED_MAX:
            raise InvalidRequest(Message.of("pool_start.simulate_count", count=str(SIMULATED_MAX)))
        return names


def similar_names(name: str, names: Sequence[str]) -> Sequence[str]:
    """Return those of ``names`` that contain ``name``, or else up to three that are spelt like it, or else all."""
    containing = [one for one in names if name and name.lower() in one.lower()]
    return containing or get_close_matches(name, names, n=3, cutoff=0.5) or names


def _matches(model: CatalogModel, device_name: str) -> bool:
    # Whole words, so that "A10" is not found in "A100"; in "A100-SXM4-80GB" each part is a word.
    return all(re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", device_name) for word in model.words)


def _lead(key: str) -> str:
    """Return the name of a model without its memory."""
    return key.upper().rpartition("-")[0]
