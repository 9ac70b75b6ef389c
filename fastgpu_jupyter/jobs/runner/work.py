"""How the work process of each kind of job is started, and the message that it gets on its channel."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ...wire.job_states import JobKind
from .. import places
from ..host_link import CHANNEL
from .work_output import PROGRESS_SOCKET

if TYPE_CHECKING:
    from ...wire.schemas.jobs import HandOver, JobBody
    from ..cache import Ingredient

_MODULE = "fastgpu_jupyter.jobs.work"


class WorkCommand(NamedTuple):
    """The command of a work process, and whether it has a channel for what to do and what came of it."""

    argv: list[str]
    has_channel: bool


def command_of(body: JobBody) -> WorkCommand:
    """Return how the work process is started; :data:`CHANNEL` stands for the number of its descriptor."""
    kind = JobKind(body["kind"])
    if kind is JobKind.COMMAND:
        return WorkCommand(list(body["program"]["argv"]), has_channel=False)
    if kind is JobKind.FUNCTION:
        interpreter = body["environment"]["interpreter"]
        return WorkCommand([interpreter, "-P", "-m", f"{_MODULE}.function", CHANNEL], has_channel=True)
    # nbclient runs in the interpreter of the runner, the kernel that it starts in the interpreter of the job.
    return WorkCommand([sys.executable, "-P", "-m", f"{_MODULE}.notebook", CHANNEL], has_channel=True)


def run_message(start: HandOver, folder: Path) -> dict[str, Any]:
    """Return what the work process of a job in ``folder`` is to do."""
    body = start["body"]
    return {
        "job": start["id"],
        "mark": start["mark"],
        "kind": body["kind"],
        "folder": str(folder),
        "payload": str(folder / places.PAYLOAD),
        "store": str(places.results_folder(folder.parent)),
        "program": body["program"],
        "cwd": body["environment"]["cwd"],
        "interpreter": body["environment"]["interpreter"],
        "progress": str(folder / PROGRESS_SOCKET),
        "declared": _declared(body),
    }


def _declared(body: JobBody) -> list[str] | None:
    """Return the files that the cache key of a job covers, None where it has no key: nothing is watched then."""
    cache = body.get("cache")
    if cache is None or cache["key"] is None:
        return None
    from ..cache import declared_paths

    return declared_paths(cast("list[Ingredient]", cache["ingredients"]))
