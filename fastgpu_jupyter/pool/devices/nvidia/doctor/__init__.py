"""The diagnosis of NVIDIA's driver and GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ...diagnosis import DoctorFinding, DoctorVerdict, HostFacts
from .basics import BASICS
from .facts import NvidiaFacts
from .gather import gather_facts
from .mechanisms import MECHANISMS, MONITORING
from .parking import parking

_RULES: tuple[Callable[[HostFacts, NvidiaFacts], Iterator[DoctorFinding]], ...] = (*MECHANISMS, parking, *MONITORING)


class NvidiaDoctor:
    """Diagnosis of NVIDIA GPUs."""

    def gather(self, root: Path) -> NvidiaFacts:
        """Return the facts about the machine whose files are below ``root``."""
        return gather_facts(root)

    def verdict(self, facts: NvidiaFacts) -> DoctorVerdict:
        """Return whether GPUs can be leased; broken where a GPU or a part of its driver is here and none answers."""
        if facts.answers:
            return DoctorVerdict.SERVES
        nothing = not facts.nvml.library and not facts.pci_gpus and facts.module is None
        return DoctorVerdict.NO_DRIVER if nothing else DoctorVerdict.BROKEN

    def findings(self, host: HostFacts, facts: NvidiaFacts) -> Iterator[DoctorFinding]:
        """Yield all findings; those about mechanisms only where a GPU answers."""
        for basic in BASICS:
            yield from basic(host, facts)
        if facts.answers:
            for rule in _RULES:
                yield from rule(host, facts)
