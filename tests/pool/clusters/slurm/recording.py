"""A recording of what the commands of a Slurm printed, and an adapter that gets it as answers.

``tests/slurm/record.py`` makes recordings; ``recordings/`` has one file for each version. A recording has *steps*: what
the adapter was asked, which commands it ran for that, and what they printed. Each step was asked of a new adapter, so
that it is complete in itself. Of the user's jobs, a step about one job has that job only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from fastgpu_jupyter.pool.clusters.slurm.commands import Commands, Ran

FOLDER = Path(__file__).with_name("recordings")
#: Stands for the number of the user, in arguments and for the owner of a job.
USER = "UID"


class Answer(msgspec.Struct, frozen=True):
    """A command, and what it printed."""

    argv: tuple[str, ...]
    status: int
    output: str = ""
    errors: str = ""


class Step(msgspec.Struct, frozen=True):
    """What the adapter was asked, and the answers that it got."""

    name: str
    at: float  #: when, in seconds since 1970
    answers: list[Answer]
    jobs: tuple[str, ...] = ()  #: that it was asked about
    gres: str = ""  #: that was requested
    options: ClusterRequest = ClusterRequest()


class Recording(msgspec.Struct, frozen=True):
    """The steps of one version, and where they are from."""

    slurm: str  #: such as ``20.11.4``
    package: str  #: of the distribution, with its version
    date: str
    made_on: str  #: the kind of cluster
    steps: list[Step]

    def step(self, name: str) -> Step | None:
        """The step of that name, ``None`` where it was not recorded."""
        return next((one for one in self.steps if one.name == name), None)


class Replay(Commands):
    """Answers as a step says. Raises ``AssertionError`` for a command that was not run when it was recorded."""

    def __init__(self, step: Step, user: str) -> None:
        super().__init__({})
        self._answers, self._user = step.answers, user

    def _execute(self, argv: Sequence[str], text: str, timeout_s: float, environment: Mapping[str, str]) -> Ran:
        words = tuple(USER if word == self._user else word for word in argv)
        found = next((one for one in self._answers if one.argv == words), None)
        assert found, f"The recording has no answer of {words}, only of {[one.argv for one in self._answers]}."
        return Ran(found.output.replace(f"({USER})", f"({self._user})"), found.errors, found.status)


def recordings() -> dict[str, Recording]:
    """The recordings by the name of their file, which is the version, and more where a version has several."""
    paths = sorted(FOLDER.glob("*.json"))
    return {path.stem: msgspec.json.decode(path.read_bytes(), type=Recording) for path in paths}


def engine_of(step: Step) -> SlurmEngine:
    """An adapter that gets the answers of a step, at the time of the step."""
    engine = SlurmEngine(clock=lambda: step.at)
    engine._commands = Replay(step, engine._user)
    return engine
