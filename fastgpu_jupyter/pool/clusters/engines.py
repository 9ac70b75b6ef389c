"""The engines that there are, by name; each is imported when it is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import InvalidRequest, Message
from .engine import Engine
from .options import EngineOptions


def create_engine(options: EngineOptions, folder: Path) -> Engine:
    """Return the engine that the settings name. Raises :class:`InvalidRequest` where there is none of that name."""
    name, _, rest = options.engine.partition(":")
    make = _ENGINES.get(name.strip().lower())
    if make is None:
        raise InvalidRequest(Message.of("cluster.unknown_engine", name=repr(options.engine[:40]), engines=SHOWN))
    return make(rest, folder)


def _fake(nodes: str, folder: Path) -> Engine:
    from .fake import FakeEngine

    return FakeEngine(nodes, folder / "fake")


def _slurm(_: str, _folder: Path) -> Engine:
    from .slurm.adapter import SlurmEngine

    return SlurmEngine()


_ENGINES: dict[str, Callable[[str, Path], Engine]] = {"slurm": _slurm, "fake": _fake}
#: Those that sentences name.
SHOWN = "slurm"
