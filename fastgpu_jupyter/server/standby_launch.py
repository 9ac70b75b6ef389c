"""The standby kernel of one launch: it begins to be the kernel while the lease is requested."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..wire.preload import MODULES_MAX, is_module_name
from ..wire.variables import HIDDEN
from . import standby
from .preload_refusals import refusals
from .standby_process import NotTaken, details_of
from .start_match import Miss, MissReason
from .threads import in_thread

if TYPE_CHECKING:
    from .standby import StandbyKernels
    from .standby_process import LaunchDetails, StandbyProcess
    from .start_match import Start


def begin(manager: Any, launch: Mapping[str, Any], preload: Iterable[str]) -> StandbyLaunch | None:
    """Ask for a standby kernel for what the ``pre_launch`` of ``manager`` returns; None where all starts are cold."""
    kernels = standby.of(getattr(manager, "parent", None))
    if kernels is None:
        return None
    return StandbyLaunch(kernels, *start_of_launch(manager, launch, preload), launch["cmd"])


def start_of_launch(manager: Any, launch: Mapping[str, Any], preload: Iterable[str]) -> tuple[Start, LaunchDetails]:
    """Return the start and the rest of a launch by what its ``pre_launch`` returns; refused modules are left out."""
    names = [name for name in preload if is_module_name(name)]
    allowed = refusals.allowed(manager.kernel_name, names[:MODULES_MAX])
    return details_of(manager.kernel_name, manager.connection_file, launch, allowed)


class StandbyLaunch:
    """A launch that may take a standby kernel over, by :meth:`process`; without that, :meth:`give_up` ends it."""

    def __init__(self, kernels: StandbyKernels, start: Start, details: LaunchDetails, command: Sequence[str]) -> None:
        self._kernels = kernels
        self._start = start
        self._details = details
        self._command = list(command)
        self._taking = asyncio.ensure_future(kernels.take(self._start, self._details))
        #: The standby kernel, once it has become the kernel.
        self._taken: StandbyProcess | None = None

    @property
    def is_taken(self) -> bool:
        """Whether a standby kernel has become the kernel."""
        return self._taken is not None

    @property
    def folder(self) -> str:
        """Return the working directory of the kernel."""
        return self._details.folder

    async def process(self, command: list[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        """Return the process that has become the kernel, in this environment; None for a cold start."""
        # For the next standby kernels; the lease says what hides the devices.
        self._start = self._start._replace(hidden=json.loads(environment.get(HIDDEN, "null")))
        taken = await self._taking
        if taken is None:
            return None
        if command != self._command:
            self._kernels.count_launch(self._start, Miss(MissReason.COMMAND))
            _end_later(taken)
            return None
        try:
            process = await in_thread(taken.go, environment)
        except NotTaken as error:
            self._kernels.count_launch(self._start, error.miss)
            await in_thread(taken.end)
            return None
        except BaseException:
            _end_later(taken)
            raise
        self._kernels.count_launch(self._start, None)
        self._taken = taken
        return process

    async def when_bound(self) -> None:
        """Return when clients can connect to the kernel, if it was a standby kernel."""
        if self._taken is not None:
            await self._taken.when_bound()

    def note(self) -> None:
        """Note that a kernel was launched, so that a standby kernel is made ready for the next one."""
        self._kernels.note_launch(self._start)

    def give_up(self) -> None:
        """End the standby kernel that has begun to be the kernel of this launch, unless it has become it."""
        if self._taken is not None:
            return
        self._taking.cancel()
        self._taking.add_done_callback(_end_taken)


def _end_taken(taking: asyncio.Future[StandbyProcess | None]) -> None:
    if not taking.cancelled() and taking.exception() is None and (taken := taking.result()) is not None:
        _end_later(taken)


def _end_later(taken: StandbyProcess) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends with this one
        asyncio.get_running_loop().run_in_executor(None, taken.end)
