"""Whether a standby kernel is what a cold start would be now, and if it is not, the reason.

A standby kernel was started by the very command, in the complete environment, of a launch that is expected. Nothing of
the user's has run in it, and it has read no configuration. Before it is used, :func:`difference` compares its start
with the launch that is wanted, and looks again at the files that its start has read: below a millisecond in all. What
cannot be compared is a difference.

Compared are not the times of files inside ``site-packages``, but of the folder itself, which each installation changes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.machinery import all_suffixes
from types import MappingProxyType
from typing import NamedTuple

from ..compat.jax import MEMORY_FRACTIONS
from ..messages import language
from ..wire import variables
from ..wire.locate import SOCKET_VARIABLE
from ..wire.observed import Observed, file_state, listed

#: Stands in a command for the path of the connection file.
CONNECTION_FILE = "{connection_file}"
#: Variables that differ from launch to launch. Nothing reads them before the hand-over sets them.
LAUNCH_VARIABLES = frozenset(
    {
        "JPY_SESSION_NAME",
        "JPY_PARENT_PID",
        SOCKET_VARIABLE,
        variables.PYTHON,
        language.VARIABLE,
        *variables.OF_A_LEASE,
        *MEMORY_FRACTIONS,
    }
)
#: Variables with paths, divided by colons, that are read before the hand-over. An empty path is the current folder.
_PATHS = frozenset(
    {"HOME", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "PYTHONUSERBASE"}
)
_SUFFIXES = ("", *all_suffixes())


class MissReason(StrEnum):
    """Why a launch was a cold start."""

    OFF = "off"
    FIRST_USE = "first_use"  #: no launch of this kernelspec was expected
    NONE_READY = "none_ready"
    COMMAND = "command"
    ENVIRONMENT = "environment"
    INTERPRETER = "interpreter"
    SYSTEM = "system"  #: libraries or the time zone of the system
    DISTRIBUTIONS = "distributions"
    MODULES = "modules"  #: files of imported modules that are in no installed distribution
    FOLDER = "folder"  #: the notebook's folder has a module with the name of one that is imported, or is not there
    PROCESS = "process"  #: limits, groups or signals of the server
    PRELOAD = "preload"
    UNKNOWN = "unknown"  #: the standby kernel's report was not understood
    NOT_ANSWERING = "not_answering"
    DIED = "died"
    BUDGET = "budget"


class Miss(NamedTuple):
    """Why a launch was a cold start, and what differed: the name of a variable, never its value, or a path."""

    reason: MissReason
    what: str = ""


class Start(NamedTuple):
    """The start of a kernel, except for what differs from launch to launch."""

    kernelspec: str
    command: tuple[str, ...]  #: with :data:`CONNECTION_FILE` for the path of that file
    environment: Mapping[str, str]  #: complete, without the launch variables
    preload: tuple[str, ...] = ()
    #: Variables with which a process sees no device, for a standby kernel until the hand-over; None if not known yet.
    hidden: Mapping[str, str] | None = None
    #: What this launch has beside ``environment``, or other than that.
    launch: Mapping[str, str] = MappingProxyType({})

    @property
    def process(self) -> tuple[object, ...]:
        """Return what is the same for all launches of this start."""
        return self.kernelspec, self.command, self.environment, self.preload


def start_of(
    kernelspec: str,
    command: Sequence[str],
    connection_file: str,
    environment: Mapping[str, str],
    preload: Sequence[str] = (),
) -> Start:
    """Return the start of a launch by its command and its environment, which may have the variables of a lease."""
    words = tuple(word.replace(connection_file, CONNECTION_FILE) if connection_file else word for word in command)
    hidden = environment.get(variables.HIDDEN)
    always = without_launch_variables(environment)
    launch = {name: value for name, value in environment.items() if always.get(name) != value}
    return Start(kernelspec, words, always, tuple(preload), None if hidden is None else json.loads(hidden), launch)


def without_launch_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` as it would be without a lease, and without :data:`LAUNCH_VARIABLES`."""
    without = variables.without_lease(environment)
    return {name: value for name, value in without.items() if name not in LAUNCH_VARIABLES}


def standby_environment(start: Start) -> dict[str, str]:
    """Return the environment of a standby kernel, which sees no device."""
    return {**start.environment, **(start.hidden or {})}


def difference(ready: Start, observed: Observed, wanted: Start, folder: str | None = None) -> Miss | None:
    """Return why a kernel that starts now for ``wanted`` would not be what ``ready`` is; None if it would be the same.

    ``folder`` is the working directory, None for that of this process.
    """
    return next(_differences(ready, observed, wanted, folder), None)


def changed_variable(ready: Start, observed: Observed, launch: Mapping[str, str]) -> Miss | None:
    """Return which variable a module imported ahead has read that ``launch`` sets to another value."""
    had = standby_environment(ready)
    changed = (name for name in observed["variables"] if name in launch and launch[name] != had.get(name))
    return next((Miss(MissReason.PRELOAD, name) for name in changed), None)


def never_matches(ready: Start, observed: Observed) -> Miss | None:
    """Return why even a launch with the very start of a standby kernel would be a cold start; None if it need not be.

    There is no use in starting such a standby kernel again before the next launch.
    """
    return difference(ready, observed, ready, "/")


def _differences(ready: Start, observed: Observed, wanted: Start, folder: str | None) -> Iterator[Miss]:
    if ready.command != wanted.command:
        yield Miss(MissReason.COMMAND)
    if ready.environment != wanted.environment:
        yield Miss(MissReason.ENVIRONMENT, _differing_name(ready.environment, wanted.environment))
    if ready.preload != wanted.preload:
        yield Miss(MissReason.PRELOAD)
    if (miss := changed_variable(ready, observed, wanted.launch)) is not None:
        yield miss
    yield from _relative(wanted)
    yield from _different_interpreter(observed, wanted)
    for reason, files in observed["files"].items():
        for path, state in files.items():
            if file_state(path) != state:
                yield Miss(MissReason(reason), path)
    yield from _different_listings(observed)
    yield from _shadowed(observed, os.getcwd() if folder is None else folder)  # noqa: PTH109


def _differing_name(ready: Mapping[str, str], wanted: Mapping[str, str]) -> str:
    return min(name for name in {*ready, *wanted} if ready.get(name) != wanted.get(name))


def _relative(wanted: Start) -> Iterator[Miss]:
    """Yield a miss for each path whose meaning depends on the notebook's folder, which a standby kernel gets late."""
    if "/" in wanted.command[0] and not wanted.command[0].startswith(("/", "~")):
        yield Miss(MissReason.COMMAND, wanted.command[0])
    for name, value in wanted.environment.items():
        if name in _PATHS:
            paths = value.split(":") if value else []
        elif name == "LD_PRELOAD":
            paths = [path for path in value.replace(":", " ").split() if "/" in path]
        else:
            continue
        if not all(path.startswith("/") for path in paths):
            yield Miss(MissReason.ENVIRONMENT, name)


def _different_interpreter(observed: Observed, wanted: Start) -> Iterator[Miss]:
    """Yield a miss unless the first word of the command is the interpreter that runs, without a program between.

    Such a program, as ``conda run`` or a shell, reads files of its own.
    """
    word = wanted.command[0] if wanted.command else ""
    path = shutil.which(os.path.expanduser(word), path=wanted.environment.get("PATH"))  # noqa: PTH111
    try:
        found = None if path is None else os.stat(path)  # noqa: PTH116
    except OSError:
        found = None
    if found is None or [found.st_dev, found.st_ino] != observed["executable"]:
        yield Miss(MissReason.INTERPRETER, word)


def _different_listings(observed: Observed) -> Iterator[Miss]:
    for path, before in observed["listed"].items():
        # The entries that matter are listed only if the folder has changed, as folders of users do.
        same = file_state(path) == before["state"] or listed(path, observed["names"])["entries"] == before["entries"]
        if before["entries"] is None or not same:
            yield Miss(MissReason.MODULES, path)


def _shadowed(observed: Observed, folder: str) -> Iterator[Miss]:
    """Yield a miss for a module in the notebook's folder that a cold start could import for one of the same name."""
    for name, where in observed["names"].items():
        for suffix in _SUFFIXES:
            path = f"{folder}/{name}{suffix}"
            if os.access(path, os.F_OK) and not _is_same(folder, where):
                yield Miss(MissReason.FOLDER, path)


def _is_same(folder: str, other: str) -> bool:
    try:
        return os.path.samefile(folder, other)  # noqa: PTH121
    except OSError:
        return False
