"""Notices what a module asks for, while it is imported, that only the hand-over or the start of the kernel brings."""

from __future__ import annotations

import _thread
import builtins
import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any

import IPython
from ipykernel.zmqshell import ZMQInteractiveShell
from IPython.core import getipython
from IPython.core.formatters import DisplayFormatter

from ..wire.preload import RefusalReason

Question = tuple[RefusalReason, str]
#: Modules that look at all variables for those that begin with their own name.
LOOK_FOR_OWN = frozenset({"tqdm.utils"})
#: Names of the environment variables that modules have read.
variables_read: set[str] = set()


@contextlib.contextmanager
def questions(launch_variables: Collection[str]) -> Iterator[list[Question]]:
    """Yield a list of the questions that are asked inside the context."""
    asked = _Asked()
    preview = _ShellPreview(asked)
    getitem, shell = _Environ.__getitem__, getipython.get_ipython

    def read_variable(environ: Any, name: str) -> Any:
        if environ is os.environ and not _goes_through_all():
            variables_read.add(name)
            if name in launch_variables:
                asked.note(RefusalReason.READS_GRANT, name)
        return getitem(environ, name)

    # Modules may keep the functions, which do afterwards what those do that they replace.
    def get_ipython() -> Any:
        return shell() if asked.is_over else preview.shell

    replaced: list[tuple[Any, str, Any]] = [
        (_Environ, "__getitem__", read_variable),
        (getipython, "get_ipython", get_ipython),
        (IPython, "get_ipython", get_ipython),
        *(
            (os, name, asked.when_called(RefusalReason.READS_FOLDER, getattr(os, name)))
            for name in ("getcwd", "getcwdb")
        ),
        *(
            (_thread, name, asked.when_called(RefusalReason.STARTS_THREADS, getattr(_thread, name)))
            for name in ("start_new_thread", "start_new")
        ),
    ]
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in replaced]
    named: Any = builtins
    named.get_ipython = get_ipython
    for owner, name, value in replaced:
        setattr(owner, name, value)
    try:
        yield asked.questions
    finally:
        preview.compare()
        asked.is_over = True
        for owner, name, value in before:
            if value is None:  # IPython finds it when it is asked for
                delattr(owner, name)
            else:
                setattr(owner, name, value)
        with contextlib.suppress(AttributeError):
            del named.get_ipython


_Environ: Any = type(os.environ)


def _goes_through_all() -> bool:
    """Whether a module that is known looks at all variables for those that begin with its own name."""
    frame = sys._getframe(3)  # noqa: SLF001 (documented) that of the caller of ``os.environ.items()``
    return frame.f_globals.get("__name__") in LOOK_FOR_OWN


class _Asked:
    """The questions so far."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.is_over = False

    def note(self, reason: RefusalReason, what: str) -> None:
        if not self.is_over:
            self.questions.append((reason, what))

    def when_called(self, reason: RefusalReason, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, whose calls are noted."""

        def call(*args: Any, **named: Any) -> Any:
            self.note(reason, function.__name__)
            return function(*args, **named)

        return call


class _ShellPreview:
    """What modules may learn of IPython's shell before there is one: its type, and the formats that it shows."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked
        self._formatter: Any = DisplayFormatter()
        self._formats = self._state()

        class Kernel:
            """The shell has one, which is how pandas knows that it is no terminal."""

            def __getattribute__(self, name: str) -> Any:
                if asked.is_over:
                    now: Any = getipython.get_ipython()
                    return getattr(now.kernel, name)
                asked.note(RefusalReason.ASKS_SHELL, f"kernel.{name}")
                return object.__getattribute__(self, name)

        known = {"display_formatter": self._formatter, "kernel": Kernel()}

        class Shell(ZMQInteractiveShell):
            """The type, in the eyes of a module."""

            def __getattribute__(self, name: str) -> Any:
                if asked.is_over:
                    return getattr(getipython.get_ipython(), name)
                if name in known:
                    return known[name]
                if name != "__class__":
                    asked.note(RefusalReason.ASKS_SHELL, name)
                return object.__getattribute__(self, name)

        for name in ("__name__", "__qualname__", "__module__"):
            setattr(Shell, name, getattr(ZMQInteractiveShell, name))
        self.shell = object.__new__(Shell)

    def compare(self) -> None:
        """Note a change of the formats, which the shell would not have."""
        if self._state() != self._formats:
            self._asked.note(RefusalReason.ASKS_SHELL, "display_formatter")

    def _state(self) -> dict[str, tuple[object, ...]]:
        printers = ("singleton_printers", "type_printers", "deferred_printers")
        return {
            mimetype: (one.enabled, *(dict(getattr(one, name)) for name in printers))
            for mimetype, one in self._formatter.formatters.items()
        }
