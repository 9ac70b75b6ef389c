"""The set-up of an engine: from the settings of a pool to the service that serves it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ..devices.registry import CATALOG
from .allocation import Allocations
from .engine import Engine
from .engines import create_engine
from .options import EngineOptions
from .service import ClusterBase, ClusterService, Times

FOLDER = "cluster"


class ClusterSetUp(NamedTuple):
    """An engine with its options, and the folder for the keys of its agents."""

    engine: Engine
    options: EngineOptions
    folder: Path
    rates: Mapping[str, float]
    times: Times = Times()

    @classmethod
    def of(cls, options: EngineOptions, state_dir: Path, rates: Mapping[str, float]) -> ClusterSetUp:
        """Return the set-up that the settings describe. Raises :class:`InvalidRequest` for an unknown engine."""
        folder = state_dir / FOLDER
        return cls(create_engine(options, folder), options, folder, rates)

    def service(self, base: ClusterBase) -> ClusterService:
        """Return the service of the engine."""
        allocations = Allocations(CATALOG, self.rates, self.options.memory_bytes)
        return ClusterService(self.engine, self.options, self.folder, base, allocations=allocations, times=self.times)
