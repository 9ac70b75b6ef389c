"""What a cell can see of how its kernel was started, and what may differ between two kernels of one start.

The source of this module is run in a cell, which then calls :func:`probe`.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import contextlib
import gc
import json
import locale
import logging
import os
import re
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Paths of values that may differ. Most are times, addresses and numbers of the process, which no two kernels share.
MAY_DIFFER = (
    # The modules of standby kernels themselves.
    r"modules",
    r"constants/(sys/modules/)?fastgpu_jupyter\.(kernel|wire)[./](standby|standby_link|observed)",
    # When the process, or a module in it, was started.
    r"constants/_pydev_bundle\.pydev_log/_last_log_time",
    r"constants/debugpy\.common\.timestamp/timestamp_zero",
    r"constants/logging/_startTime",
    r"constants/psutil/_last_\w*cpu_times\w*/.*",
    # Its number, and addresses of its objects.
    r"constants/_pydevd_bundle\._debug_adapter\.pydevd_schema_log/_pid(_msg)?",
    r"constants/(threading/_active|_pydevd_sys_monitoring\._pydevd_sys_monitoring/_thread_active)/.*",
    r"constants/_?ctypes/_\w+_addr",
    r"constants/IPython\.lib\.pretty/_singleton_pprinters/.*",
    r"constants/linecache/cache/.*",
    # Sets of types, in the order of their addresses; modules that were there when a traceback was made.
    r"constants/pure_eval\.utils/\w+_types.*",
    r"constants/inspect/(_filesbymodname|modulesbyfile)/.*",
    # Drawn for each process: keys that are not used, and the kernel's identity.
    r"(constants/[\w.]+/\w+_flags|app/traits/flags)/secure\[1\]/Session/key",
    r"kernel/traits/ident",
    # The ports that the server has chosen.
    r"(app|kernel)/traits/(_ports|_recorded_ports)/.*|app/traits/\w+_port",
    # One session of the history after the other.
    r"history/session",
)
#: A module of the debugger takes one of the numbers that Python gives to threads, when it is imported.
THREAD_NUMBER = re.compile(r"\bThread-\d+")
#: SQLite has these open while it writes.
PASSING_FILES = ("history.sqlite-journal", "profile_default")


def plain(value: Any) -> Any:
    """A value that can be compared: of a constant itself, of a collection its elements, of anything else the type."""
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return repr(value)
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(plain, value)]
    if isinstance(value, set | frozenset):
        return [type(value).__name__, *sorted(str(plain(each)) for each in value)]
    if type(value) is dict:
        return {str(key): plain(each) for key, each in value.items()}
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{getattr(value, '__module__', '')}.{value.__qualname__}"
    return f"a {type(value).__module__}.{type(value).__qualname__}"


def of_traits(configurable: Any) -> dict[str, Any]:
    """The class and the traits of an object of IPython."""
    traits = {name: plain(getattr(configurable, name)) for name in sorted(configurable.trait_names())}
    return {"classes": str(type(configurable).__mro__), "traits": traits}


def of_process() -> dict[str, Any]:
    """What the system knows of this process."""
    files = {name: Path(f"/proc/self/{name}").read_text() for name in (
        "cgroup", "cmdline", "comm", "coredump_filter", "limits", "oom_score_adj", "personality", "timerslack_ns",
    )}  # fmt: skip
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    of_moment = ("Vm", "Rss", "Huge", "NS", "SigQ", "Threads")
    for name in (*(name for name in status if name.startswith(of_moment)), "State", "Pid", "Tgid",
                 "voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"):  # fmt: skip
        status.pop(name, None)
    mask = os.umask(0o22)
    os.umask(mask)
    return {
        **files,
        "status": status,
        "umask": mask,
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if "RLIMIT_" in name},
        "group": [os.getpid() - os.getpgid(0), os.getpid() - os.getsid(0), os.getppid()],
        "scheduling": [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), sorted(os.sched_getaffinity(0))],
        "executable": [str(Path(f"/proc/self/{name}").readlink()) for name in ("exe", "root", "cwd")],
        "descriptors": sorted(_lasting_descriptors().elements()),
    }


def _lasting_descriptors() -> Counter[str]:
    """The open files, as soon as they stay the same: threads open some for a moment, also at their end."""
    deadline, since = time.monotonic() + 10.0, time.monotonic()
    found = Counter(_descriptors())
    while time.monotonic() < min(since + 0.4, deadline):
        time.sleep(0.02)
        now = Counter(_descriptors())
        if now != found:
            found, since = now, time.monotonic()
    return found


def _descriptors() -> Iterator[str]:
    for entry in Path("/proc/self/fd").iterdir():
        try:
            target = str(entry.readlink())
            flags = Path(f"/proc/self/fdinfo/{entry.name}").read_text().split("flags:")[1].split()[0]
        except OSError:
            continue  # that of the folder
        if not (target.removesuffix(" (deleted)").endswith(PASSING_FILES) or _is_connected(entry.name, target)):
            yield f"{target if target[0] == '/' else target.partition(':')[0]} {flags}"


def _is_connected(descriptor: str, target: str) -> bool:
    """Whether it is a connection to a client or to the pool manager, which come when they like."""
    if target.startswith("socket:"):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor))) as found:
            return bool(found.getpeername())
    return False


def of_signals() -> dict[str, Any]:
    """How signals are handled."""
    return {
        "handlers": {each.name: plain(signal.getsignal(each)) for each in signal.Signals},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakes": signal.set_wakeup_fd(signal.set_wakeup_fd(-1)) >= 0,
        "timers": [signal.getitimer(each) for each in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
    }


def of_interpreter() -> dict[str, Any]:
    """The state of Python."""
    hooks = (
        sys.excepthook, sys.displayhook, sys.breakpointhook, sys.unraisablehook, threading.excepthook, sys.gettrace(),
        sys.getprofile(), threading.gettrace(), threading.getprofile(), sys.get_asyncgen_hooks(),
    )  # fmt: skip
    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    known: Any = atexit
    return {
        "argv": [sys.argv, sys.orig_argv],
        "path": [sys.path, plain(sys.path_hooks), plain(sys.meta_path), sys.prefix, sys.exec_prefix, sys.executable],
        "flags": [plain(tuple(sys.flags)), sys.dont_write_bytecode, plain(sys.warnoptions)],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), threading.stack_size(), sys.getdlopenflags()],
        "hooks": [plain(each) for each in hooks],
        "streams": [[plain(each), getattr(each, "encoding", None)] for each in streams],
        "locale": [sys.getfilesystemencoding(), locale.setlocale(locale.LC_ALL), time.tzname, time.timezone],
        "threads": sorted(
            f"{each.name} {type(each).__name__} {each.daemon}"
            for each in threading.enumerate()
            if "fastgpu-" not in each.name
        ),
        "warnings": [plain(each) for each in warnings.filters],
        "garbage": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), plain(gc.callbacks), gc.get_debug()],
        "exit": known._ncallbacks(),
        "builtins": sorted(vars(builtins)),
        "folder for files": tempfile.tempdir,
        "loop": plain(asyncio.get_event_loop_policy()),
    }


def of_logger(name: str) -> list[Any]:
    """The settings of a logger."""
    logger = logging.getLogger(name)
    return [logger.level, logger.propagate, logger.disabled, [plain(each) for each in logger.handlers]]


def of_shell(shell: Any) -> dict[str, Any]:
    """The state of IPython."""
    history = shell.history_manager
    return {
        "app": {**of_traits(shell.kernel.parent), "config": str(shell.kernel.parent.config)},
        "kernel": {**of_traits(shell.kernel), "handlers": sorted(shell.kernel.shell_handlers)},
        "shell": {**of_traits(shell), "starting folder": shell.starting_dir, "hidden": sorted(shell.user_ns_hidden)},
        "magics": {kind: sorted(magics) for kind, magics in shell.magics_manager.magics.items()},
        "hooks": {name: plain(hook) for name, hook in vars(shell.hooks).items()},
        "callbacks": {name: [plain(each) for each in found] for name, found in shell.events.callbacks.items()},
        "extensions": sorted(shell.extension_manager.loaded),
        "namespace": {name: plain(value) for name, value in shell.user_ns.items()},
        "history": {
            "session": history.session_number,
            "file": str(history.hist_file),
            "In, Out": [plain(shell.user_ns["In"]), plain(shell.user_ns["Out"]), plain(history.dir_hist)],
            "count": shell.execution_count,
        },
    }


def of_modules() -> dict[str, Any]:
    """The values of all modules, which are what they have read at their import."""
    own = {"__builtins__", "__cached__", "__loader__", "__spec__", "__warningregistry__"}
    return {
        name: {key: plain(value) for key, value in vars(module).items() if key not in own}
        for name, module in list(sys.modules.items())
        if name != "__main__" and hasattr(module, "__dict__")
    }


def probe(shell: Any) -> dict[str, Any]:
    """What the kernel of ``shell`` was started with, by subject."""
    return {
        "environment": [list(each) for each in os.environ.items()],
        "process": of_process(),
        "signals": of_signals(),
        "interpreter": of_interpreter(),
        "loggers": {name: of_logger(name) for name in ("", *logging.root.manager.loggerDict)},
        **of_shell(shell),
        "modules": sorted(sys.modules),
        "constants": of_modules(),
    }


def save(shell: Any, path: str) -> None:
    """Write what the kernel was started with to a file."""
    if hasattr(shell.kernel, "gate"):
        shell.kernel.gate.closed.set()  # its threads import modules soon after the start
    Path(path).write_text(json.dumps(probe(shell), default=str))


def differences(cold: Any, standby: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of all values that differ and may not."""
    if any(re.fullmatch(pattern, path) for pattern in MAY_DIFFER) or cold == standby:
        return
    if isinstance(cold, dict) and isinstance(standby, dict):
        for name in sorted({*cold, *standby}):
            yield from differences(cold.get(name), standby.get(name), f"{path}/{name}" if path else name)
    elif isinstance(cold, list) and isinstance(standby, list) and len(cold) == len(standby):
        for number, pair in enumerate(zip(cold, standby, strict=True)):
            yield from differences(*pair, f"{path}[{number}]")
    else:
        yield f"{path}: {str(cold)[:300]} -> {str(standby)[:300]}"
