"""What a job read that its cache key does not know: undeclared files, the network, programs and their reading.

An audit hook (PEP 578) sees what Python code opens, also in processes that were forked. It does not see what a library
opens in C (HDF5, Parquet, OpenCV, safetensors), what a program reads that was started, the clock, variables of the
environment, or whether a file exists. A key is therefore asked for, and never made by itself.

Not recorded are: the interpreter, installed libraries and files of the system, what the job itself wrote, listings by
the import system, and sources that are read for a traceback. This module imports the standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import json
import os
import site
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

#: So many different things are recorded; the job is not cached after the first one.
RECORDS_MAX = 1_000
#: Folders of the system: devices, settings, libraries, time zones, fonts.
_SYSTEM = (
    "/proc", "/dev", "/sys", "/etc", "/bin", "/lib", "/lib64", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/share",
    "/usr/local/lib", "/usr/local/share", "/var/cache/fontconfig",
    "/usr/local/cuda",
)  # fmt: skip
#: The parts of an environment that are installed.
_INSTALLED = ("bin", "etc", "include", "lib", "lib64", "share")
#: Modules that open sources to show them, and that list folders to import from them.
_SHOW_SOURCES = frozenset({"linecache", "tokenize", "inspect", "traceback"})
#: Modules of the standard library that start programs to find out about the system.
_ASK_SYSTEM = frozenset({"ctypes.util", "platform", "_aix_support", "sysconfig"})
#: Modules that are loaded once processes are started in ways in which a hook is not passed on.
_UNSEEN = {
    "multiprocessing.popen_spawn_posix": "multiprocessing: spawn",
    "multiprocessing.popen_forkserver": "multiprocessing: forkserver",
}
_FRAMES_MAX = 12


class Opened:
    """What the process opens while this object is active; see :func:`watch`."""

    def __init__(self, declared: Iterable[str], ignored: Iterable[str], log: Path | None) -> None:
        self._pid = os.getpid()
        self._declared = tuple(map(_real, declared))
        self._ignored = (*_ignored(), *map(_real, ignored))
        self._log_file = (
            None if log is None else os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        )
        self._records: dict[tuple[str, str], None] = {}
        #: Files that the job wrote, and folders that it made.
        self._own: set[str] = set()
        self._unseen = {name for name in _UNSEEN if name in sys.modules}

    def __enter__(self) -> Self:
        global _active  # noqa: PLW0603 (a hook cannot be removed; it looks here whether there is something to do)
        _active = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> list[dict[str, str]]:
        """Stop watching, and return what was opened, each as ``path`` and ``why``, in the order in which it was."""
        global _active  # noqa: PLW0603
        if _active is self:
            _active = None
            for name in _UNSEEN.keys() & sys.modules.keys() - self._unseen:
                self.record("unseen", _UNSEEN[name])
        if self._log_file is not None:
            for line in os.pread(self._log_file, os.fstat(self._log_file).st_size, 0).splitlines():
                why, path = json.loads(line)
                self.record(why, path)
            os.close(self._log_file)
            self._log_file = None
        return [{"path": path, "why": why} for why, path in self._records]

    # -- what the hook calls ------------------------------------------------------------------------------------------

    def record(self, why: str, path: str) -> None:
        """Add something that was opened; a forked process writes it into the log, which the first process reads."""
        if (why, path) in self._records or len(self._records) >= RECORDS_MAX:
            return
        self._records[why, path] = None
        if os.getpid() != self._pid and self._log_file is not None:
            os.write(self._log_file, json.dumps([why, path]).encode() + b"\n")

    def on_open(self, path: Any, mode: Any, flags: Any) -> None:
        """Record a file that is read; note one that is written."""
        if not isinstance(path, (str, bytes, os.PathLike)):
            return  # a descriptor, whose opening was seen
        real = _real(os.fsdecode(path))
        flags = flags if isinstance(flags, int) else 0
        writes = flags & (os.O_WRONLY | os.O_RDWR) or (isinstance(mode, str) and mode[:1] in "wax")
        if writes and (flags & os.O_TRUNC or not os.path.exists(real)):  # noqa: PTH110 (os.path raises no events)
            self._own.add(real)
            return
        if (flags & os.O_ACCMODE) == os.O_WRONLY or not os.path.isfile(real):  # noqa: PTH113
            return
        module = _caller_module()
        if module.startswith("importlib") and real.endswith((".py", ".pyc")):
            self._on_import(real)
        elif not (module in _SHOW_SOURCES and real.endswith(".py")):
            self.on_read("read", real)

    def _on_import(self, real: str) -> None:
        source = real
        if real.endswith(".pyc"):
            with contextlib.suppress(ValueError):  # compiled, and without its source
                source = importlib.util.source_from_cache(real)
        self.on_read("imported", source)

    def on_read(self, why: str, real: str) -> None:
        """Record a path unless it is declared, ignored or the job's own."""
        if not (_is_inside(real, self._ignored) or _is_inside(real, self._declared) or _is_inside_any(real, self._own)):
            self.record(why, real)

    def on_path(self, why: str, path: Any) -> None:
        """Record a path that a library opens by itself, once it was told to."""
        if isinstance(path, (str, bytes, os.PathLike)):
            name = os.fsdecode(path)
            if name and not name.startswith((":memory:", "file:")) and (why != "loaded" or os.sep in name):
                real = _real(name)
                if os.path.exists(real):  # noqa: PTH110
                    self.on_read(why, real)
                else:
                    self._own.add(real)

    def on_listing(self, path: Any) -> None:
        """Record that a folder was listed, unless the import system looks for modules in it."""
        if not isinstance(path, int) and not _caller_module().startswith(("importlib", "pkgutil", "zipimport")):
            self.on_read("listed", _real(os.fsdecode(path or ".")))

    def on_made(self, path: Any) -> None:
        """Note a file or folder that the job makes."""
        if isinstance(path, (str, bytes, os.PathLike)):
            self._own.add(_real(os.fsdecode(path)))

    def on_renamed(self, source: Any, target: Any) -> None:
        """Note the new name of what is the job's own."""
        if _is_inside_any(_real(os.fsdecode(source)), self._own):
            self.on_made(target)

    def on_connected(self, address: Any) -> None:
        """Record an address of the network, or a socket in the file system that is not the job's."""
        if isinstance(address, tuple) and len(address) >= 2:
            self.record("connected", f"{address[0]}:{address[1]}")
        elif isinstance(address, (str, bytes)):
            name = os.fsdecode(address)
            real = _real(name) if name.startswith("/") else name
            # The address of the runner's socket for progress may be a shorter one of the same file.
            if name and real != _real(os.environ.get("FASTGPU_PROGRESS", "")):
                self.on_read("connected", real)

    def on_started(self, program: Any) -> None:
        """Record a program, unless the standard library asks it about the system."""
        frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
        for _ in range(_FRAMES_MAX):
            if frame is None:
                break
            if frame.f_globals.get("__name__") in _ASK_SYSTEM:
                return
            frame = frame.f_back
        self.record("started", str(os.fsdecode(program) if isinstance(program, (str, bytes, os.PathLike)) else program))

    def on_forked(self) -> None:
        """Record a forked process where there is no log in which it could write what it opens."""
        if self._log_file is None:
            self.record("unseen", "fork")


def watch(declared: Iterable[str], *, ignored: Iterable[str] = (), log: Path | None = None) -> Opened:
    """Return what records from now on, in a ``with`` block or until ``end()``, what this process opens.

    ``declared`` has the files, folders and sources that the key knows by content. ``ignored`` has further paths that
    are no input, such as the job's folder. With ``log``, a file, forked processes are watched, too.
    """
    global _installed  # noqa: PLW0603
    opened = Opened(declared, ignored, log)
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)
    return opened.__enter__()


_active: Opened | None = None
_installed = False
_inside = threading.local()


def _program_of(executable: Any, arguments: Any) -> Any:
    return executable or (arguments if isinstance(arguments, (str, bytes)) else next(iter(arguments or ()), ""))


_HANDLERS: Mapping[str, Callable[[Opened, tuple[Any, ...]], None]] = {
    "open": lambda opened, given: opened.on_open(*given[:3]),
    "os.listdir": lambda opened, given: opened.on_listing(given[0]),
    "os.scandir": lambda opened, given: opened.on_listing(given[0]),
    "os.mkdir": lambda opened, given: opened.on_made(given[0]),
    "tempfile.mkstemp": lambda opened, given: opened.on_made(given[0]),
    "tempfile.mkdtemp": lambda opened, given: opened.on_made(given[0]),
    "os.rename": lambda opened, given: opened.on_renamed(given[0], given[1]),
    "sqlite3.connect": lambda opened, given: opened.on_path("read", given[0]),
    "ctypes.dlopen": lambda opened, given: opened.on_path("loaded", given[0]),
    # A compiled module has the path of its file; the import of any other module has none.
    "import": lambda opened, given: opened.on_path("imported", given[1]),
    "socket.connect": lambda opened, given: opened.on_connected(given[1]),
    "socket.sendto": lambda opened, given: opened.on_connected(given[1]),
    "subprocess.Popen": lambda opened, given: opened.on_started(_program_of(*given[:2])),
    "os.system": lambda opened, given: opened.on_started(given[0]),
    "os.exec": lambda opened, given: opened.on_started(given[0]),
    "os.posix_spawn": lambda opened, given: opened.on_started(given[0]),
    "os.fork": lambda opened, _: opened.on_forked(),
    "os.forkpty": lambda opened, _: opened.on_forked(),
}


def _hook(event: str, given: tuple[Any, ...]) -> None:
    opened = _active
    if opened is None:
        return
    handle = _HANDLERS.get(event)
    if handle is None or getattr(_inside, "hook", False):
        return
    _inside.hook = True
    try:
        handle(opened, given)
    except Exception as error:  # noqa: BLE001 (an error here would be one of the job's code)
        if not (isinstance(error, OSError) and error.errno == errno.EBADF):
            opened.record("unseen", f"{event}: {type(error).__name__}")
    finally:
        _inside.hook = False


def _caller_module() -> str:
    """Return the name of the module whose code opens or lists; the frames of this module are skipped."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


def _real(path: str) -> str:
    return os.path.realpath(path)


def _is_inside(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(os.path.join(folder, "")) for folder in folders)  # noqa: PTH118


def _is_inside_any(path: str, own: set[str]) -> bool:
    """Return whether a path, or a folder that it is in, is among ``own``."""
    while path not in own:
        parent = os.path.dirname(path)  # noqa: PTH120
        if parent == path:
            return False
        path = parent
    return True


def _ignored() -> tuple[str, ...]:
    """Return the folders of the interpreter, of installed libraries and of the system."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix} - {os.sep}
    found = {os.path.join(prefix, part) for prefix in prefixes for part in _INSTALLED}  # noqa: PTH118
    found |= {path for name, path in sysconfig.get_paths().items() if name != "data"}
    found |= {*site.getsitepackages(), site.getusersitepackages(), os.path.dirname(os.__file__)}  # noqa: PTH120
    found |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages", ".zip"))}
    # Settings and caches of Matplotlib and IPython: fonts, styles and history, which are no input.
    home = os.path.expanduser("~")  # noqa: PTH111
    found |= {f"{home}/{name}" for name in (".config/matplotlib", ".cache/matplotlib", ".cache/fontconfig", ".ipython")}
    found.add(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
    return tuple(sorted({os.path.realpath(path) for path in (*found, *_SYSTEM) if path}))
