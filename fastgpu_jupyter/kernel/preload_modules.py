"""Imports modules in a standby kernel, and finds what would make their import in the notebook another one.

The process has neither the environment of the lease, nor the notebook's folder, nor a shell yet. A module that depends
on any of these, or that does more than define things, is refused; the process has run it then, and must end.
"""

from __future__ import annotations

import builtins
import contextlib
import os
import random
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from ipykernel.zmqshell import ZMQInteractiveShell

from ..compat import jax as compat_jax
from ..compat import torch as compat_torch
from ..compat.import_hook import ImportHook
from ..wire.preload import Refusal, RefusalReason
from .later_streams import recorded_streams
from .preload_questions import questions

#: What a refusal quotes of the evidence, in characters.
DETAIL_MAX = 300
#: Libraries with a global generator of random numbers that is another one in each process, and how its state is read.
#: That of PyTorch begins with the same seed in all.
GENERATORS: Mapping[str, Callable[[Any], str]] = {
    "numpy.random": lambda module: repr(module.get_state(legacy=False)),
}
#: Filters of warnings that the modules have set.
_filters: list[Any] = []


def run(
    names: Sequence[str], launch_variables: Collection[str], begins: Callable[[str], None] = lambda _: None
) -> Refusal | None:
    """Import the modules in order; return why one is refused, None if all are there.

    ``launch_variables`` are set at the hand-over only. ``begins`` is called with each name, because the import of a
    module may end the process or never end.
    """
    before = list(warnings.filters)
    # It asks for the working directory, where processes that it spawns begin; the hand-over tells it that.
    import_module("multiprocessing.process")
    with _environment_of_a_kernel():
        for name in names:
            begins(name)
            refusal = _import(name, launch_variables)
            if refusal is not None:
                return refusal
    _filters[:] = [one for one in warnings.filters if one not in before]
    return None


@contextlib.contextmanager
def _environment_of_a_kernel() -> Iterator[None]:
    """Set, inside the context, the variables that the start of each kernel sets before any cell."""
    before = dict(os.environ)
    if not os.environ.get("MPLBACKEND"):
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    shell: Any = ZMQInteractiveShell
    shell.init_environment(None)
    set_here = {name: value for name, value in os.environ.items() if before.get(name) != value}
    try:
        yield
    finally:
        for name, value in set_here.items():
            if os.environ.get(name) == value:  # else a module has set it
                os.environ.pop(name)
                os.environ.update({name: before[name]} if name in before else {})


def finish() -> None:
    """Do again what the shell, which a notebook's import comes after, has changed since: before any code of the user's.

    The filters of the modules go before those of IPython, and other processes find the notebook's ``__main__``.
    """
    for action, message, category, module, line in reversed(_filters):
        warnings.filterwarnings(action, _pattern(message), category, _pattern(module), line)
    _filters.clear()
    sys.modules["__mp_main__"] = sys.modules["__main__"]


def _pattern(expression: Any) -> str:
    return "" if expression is None else str(expression.pattern)


def _import(name: str, launch_variables: Collection[str]) -> Refusal | None:
    before, raised = _process(), None
    with _output() as output, questions(launch_variables) as asked, _generators() as seeded:
        try:
            import_module(name)
        except SystemExit as error:
            raised = RefusalReason.EXITS, str(error)[:DETAIL_MAX]
        except BaseException as error:  # noqa: BLE001 (also an interrupt: the module has not been imported)
            raised = _reason(name, error), f"{type(error).__name__}: {error}"[:DETAIL_MAX]
    if compat_torch.driver_is_loaded() or _has_initialized():
        return Refusal(name, RefusalReason.USES_DEVICES)
    if asked:
        return Refusal(name, *asked[0])
    if raised:
        return Refusal(name, *raised)
    if output:
        return Refusal(name, RefusalReason.PRINTS, output[0][:DETAIL_MAX])
    if seeded:
        return Refusal(name, RefusalReason.SEEDS, seeded[0])
    after = _process()
    changed = next((key for key in before if after[key] != before[key]), None)
    return None if changed is None else Refusal(name, _REASONS.get(changed, RefusalReason.CHANGES_PROCESS), changed)


def _reason(name: str, error: BaseException) -> RefusalReason:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return RefusalReason.NOT_FOUND if missing and f"{name}.".startswith(f"{missing}.") else RefusalReason.RAISES


def _has_initialized() -> bool:
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    return (torch is not None and compat_torch.is_initialized(torch)) or (
        jax is not None and compat_jax.backends_are_initialized(jax) is not False
    )


# ---- what a module does ----------------------------------------------------------------------------------------------

_REASONS = {"threads": RefusalReason.STARTS_THREADS, "processes": RefusalReason.STARTS_PROCESSES}


def _process() -> dict[str, Any]:
    """Return what an import must not change, by its name. Threads of libraries in other languages are not seen."""
    return {
        "threads": set(sys._current_frames()),  # noqa: SLF001 (documented; threading knows only its own threads)
        "processes": _has_children(),
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "signal_mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "timer": signal.getitimer(signal.ITIMER_REAL)[0] > 0,
        "limits": [resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")],
        "processors": os.sched_getaffinity(0),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "working_directory": os.getcwd(),  # noqa: PTH109
        "sys.path": list(sys.path),
        "streams": (sys.stdin, sys.stdout, sys.stderr, builtins.input, builtins.print),
        "hooks": (sys.excepthook, sys.displayhook, sys.gettrace(), sys.getprofile(), sys.unraisablehook),
        "recursion_limit": sys.getrecursionlimit(),
        "main": sys.modules["__main__"],
    }


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


@contextlib.contextmanager
def _output() -> Iterator[list[str]]:
    """Yield a list that has what was written to the standard streams and their descriptors, when the context ends."""
    output: list[str] = []
    kept = [os.dup(1), os.dup(2)]
    caught = os.memfd_create("preload")
    try:
        with recorded_streams() as streams:
            begun = [len(stream.recorded) for stream in streams]
            _flush()
            os.dup2(caught, 1)
            os.dup2(caught, 2)
            try:
                yield output
            finally:
                _flush()
                os.dup2(kept[0], 1)
                os.dup2(kept[1], 2)
            texts = [stream.recorded[start:] for stream, start in zip(streams, begun, strict=True)]
        texts.append(os.pread(caught, 4 * DETAIL_MAX, 0).decode(errors="replace"))
        output += filter(None, texts)
    finally:
        for descriptor in (*kept, caught):
            os.close(descriptor)


def _flush() -> None:
    """Write what libraries in C have buffered: it would appear in the output of the first notebook."""
    import ctypes

    ctypes.CDLL(None).fflush(None)


@contextlib.contextmanager
def _generators() -> Iterator[list[str]]:
    """Yield a list of the global generators whose state was changed in the context, when it ends."""
    changed: list[str] = []
    states: dict[str, str] = {"random": repr(random.getstate())}

    def imported(name: str) -> None:
        states[name] = GENERATORS[name](sys.modules[name])

    for name in GENERATORS:
        if name in sys.modules:
            imported(name)
    hook = ImportHook(GENERATORS, imported)
    hook.install()
    try:
        yield changed
    finally:
        hook.remove()
    for name, state in states.items():
        now = repr(random.getstate()) if name == "random" else GENERATORS[name](sys.modules[name])
        if now != state:
            changed.append(name)
