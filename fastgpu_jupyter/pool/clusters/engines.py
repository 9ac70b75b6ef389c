"""The engines that there are, by name; each is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import InvalidRequest, Message
from .engine import Engine
from .options import EngineOptions


def create_engine(options: EngineOptions, folder: Path) -> Engine:
    """Return the engine that the settings name. Raises :class:`InvalidRequest` where there is none of that name."""
    name = options.engine.partition(":")[0]
    make = _ENGINES.get(name.strip().lower())
    if make is None:
        raise InvalidRequest(Message.of("cluster.unknown_engine", name=repr(options.engine[:40]), engines=SHOWN))
    return make(options, folder)


def _fake(options: EngineOptions, folder: Path) -> Engine:
    from .fake import FakeEngine

    return FakeEngine(options.engine.partition(":")[2], folder / "fake")


def _slurm(options: EngineOptions, _: Path) -> Engine:
    from .slurm.adapter import SlurmEngine, SlurmOptions

    return SlurmEngine(SlurmOptions(options.shards_per_gpu, python=options.python))


_ENGINES: dict[str, Callable[[EngineOptions, Path], Engine]] = {"slurm": _slurm, "fake": _fake}
#: Those that sentences name.
SHOWN = "slurm"
