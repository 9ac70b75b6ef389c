"""What a standby kernel tells its server of the files that its start has read.

:func:`begin` is called first in the process, before it imports anything else, and :meth:`StartFiles.report` when it is
ready. A file that changes between the two is reported as :data:`~fastgpu_jupyter.wire.observed.UNSETTLED`, so that the
standby kernel is never used. Configuration, startup files and history are read after the hand-over only.
"""

from __future__ import annotations

import os
import site
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..wire.observed import UNSETTLED, FileState, Observed, file_state, listed

#: Files of the system that each program reads at its start.
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime")
_INSTALLED = ("site-packages", "dist-packages")
#: More files of modules outside site-packages are too many to be compared at each launch.
FILES_MAX = 400
#: File systems round the time of a change down, to a tick of the system's clock.
CLOCK_TICK_NS = 20_000_000


class StartFiles:
    """The files of a start as they were at its beginning."""

    def __init__(self) -> None:
        self.begun_ns = time.time_ns() - CLOCK_TICK_NS
        #: As it is in every kernel, before IPython adds the notebook's folder.
        self.sys_path = [path for path in sys.path if path]
        self.site = [*dict.fromkeys(_site_folders(self.sys_path))]
        self.interpreter = _states(_interpreter_files())
        self.system = _states(SYSTEM_FILES)
        self.distributions = _states(_distribution_files(self.site))

    def report(self, variables: Iterable[str] = ()) -> Observed:
        """Return what the server compares; ``variables`` are those that modules have read."""
        modules = [*sys.modules.values()]
        names = dict(_top_level_names(sys.modules))
        folders = [path for path in self.sys_path if path not in self.site and not _is_standard(path)]
        executable = os.stat("/proc/self/exe")  # noqa: PTH116
        return {
            "pid": os.getpid(),
            "executable": [executable.st_dev, executable.st_ino],
            "prefix": sys.prefix,
            "sys_path": self.sys_path,
            "files": {
                "interpreter": self.interpreter,
                "system": self.system,
                "distributions": self.distributions,
                "modules": self._settled(_module_files(modules, self.site)),
            },
            "listed": {folder: listed(folder, names) for folder in folders},
            "names": names,
            "modules": len(modules),
            "variables": sorted(variables),
            "memory_bytes": memory_bytes(),
        }

    def _settled(self, paths: Iterable[str]) -> dict[str, FileState]:
        states: dict[str, FileState] = {}
        for path in paths:
            if len(states) >= FILES_MAX:
                return {path: UNSETTLED}
            state = file_state(path)
            states[path] = UNSETTLED if state is not None and state[0] >= self.begun_ns else state
        return states


def begin() -> StartFiles:
    """Return the files of this start, before it reads them."""
    return StartFiles()


def memory_bytes() -> int:
    """Return the memory of this process, in bytes: what is shared counts in part; 0 where the system does not say."""
    try:
        with open("/proc/self/smaps_rollup") as lines:  # noqa: PTH123 (pathlib is not imported yet)
            return next((1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    except OSError:
        return 0


def _states(paths: Iterable[str]) -> dict[str, FileState]:
    return {path: file_state(path) for path in paths}


def _site_folders(sys_path: Iterable[str]) -> Iterator[str]:
    """Yield where distributions are installed, whether or not the folder is there."""
    yield from site.getsitepackages()
    if site.ENABLE_USER_SITE:
        yield site.getusersitepackages()
    yield from (path for path in sys_path if os.path.basename(path) in _INSTALLED)  # noqa: PTH119


def _distribution_files(folders: Iterable[str]) -> Iterator[str]:
    yield f"{sys.prefix}/conda-meta"
    for folder in folders:
        yield folder
        try:
            names = os.listdir(folder)  # noqa: PTH208
        except OSError:
            continue
        yield from (f"{folder}/{name}" for name in names if name.endswith((".pth", ".egg-link")))


def _interpreter_files() -> Iterator[str]:
    yield sys.executable
    yield f"{sys.prefix}/pyvenv.cfg"
    yield from (path for path in sys.path if path and _is_standard(path))


def _is_standard(path: str) -> bool:
    """Whether a folder or an archive of ``sys.path`` belongs to the interpreter."""
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    archive = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return path in (library, f"{library}/lib-dynload") or os.path.basename(path) == archive  # noqa: PTH119


def _top_level_names(modules: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the modules that a file in the notebook's folder could replace, and where each was found."""
    for name, module in [*modules.items()]:
        if "." in name or name in sys.stdlib_module_names or name in ("__main__", "__mp_main__"):
            continue
        # A package is found in the folder that has its folder, also where that has no file __init__.py.
        found = next(iter(getattr(module, "__path__", ())), None) or getattr(module, "__file__", None)
        if isinstance(found, str) and found.startswith("/"):
            yield name, os.path.dirname(found)  # noqa: PTH120


def _module_files(modules: Iterable[Any], installed: Iterable[str]) -> Iterator[str]:
    """Yield the files of modules that an edit may change without the installation of a distribution."""
    prefixes = (f"{os.path.dirname(os.__file__)}/", *(f"{folder}/" for folder in installed))  # noqa: PTH120
    for module in modules:
        path = getattr(module, "__file__", None)
        if isinstance(path, str) and not path.startswith(prefixes):
            yield path
