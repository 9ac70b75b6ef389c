"""The stub of ``libnvidia-ml.so.1``, compiled, and a process in which the real ``pynvml`` talks to it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.compiled import Compiler
from tests.nvml.machine import FakeMachine

_HERE = Path(__file__).parent
_NAME = "libnvidia-ml.so.1"
_VARIABLE = "FASTGPU_FAKE_NVML_STATE"


class Stub:
    """The library, in ``folder``; ``old_folder`` has one that lacks what drivers before R520 lack."""

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self.folder = self._built("nvml")

    @functools.cached_property
    def old_folder(self) -> Path:
        """Built when it is first asked for."""
        return self._built("nvml-old", "-DOLD_DRIVER")

    def _built(self, folder: str, *flags: str) -> Path:
        return self._compiler.library(folder, _NAME, sorted(_HERE.glob("*.c")), *flags, "-lpthread")

    def environment(self, machine: FakeMachine) -> dict[str, str]:
        """What a process needs in its environment, from its start on, to see ``machine``."""
        folder = self.old_folder if machine.old_driver else self.folder
        paths = [str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {"LD_LIBRARY_PATH": os.pathsep.join(paths), _VARIABLE: str(machine.path)}


class Caller:
    """A process that makes calls of the real ``pynvml`` for a test; names persist from one line to the next.

    ``code`` is Python with ``pynvml``'s names and those of :mod:`ctypes`. Structures come back as dictionaries, and
    :class:`Refused` is raised with the number of an ``NVMLError``.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CALLER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | environment,
        )  # fmt: skip

    def __call__(self, code: str) -> Any:
        """The value of an expression, or nothing for a statement."""
        self.send(code)
        return self.answer()

    def send(self, code: str) -> None:
        """Begin, and do not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(code) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What the line that was sent came to."""
        assert self._process.stdout is not None
        kind, value = json.loads(self._process.stdout.readline())
        if kind == "refused":
            raise Refused(value)
        assert kind == "value", value
        return value

    def see(self, machine: FakeMachine) -> None:
        """Begin a session with another machine. The library stays the one that it was started with."""
        self(f"import os; os.environ[{_VARIABLE!r}] = {str(machine.path)!r}; nvmlInit()")

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


class Refused(Exception):
    """An ``NVMLError``."""

    def __init__(self, number: int) -> None:
        super().__init__(f"NVML_ERROR {number}")
        self.number = number


_CALLER = """
import ctypes, json, sys, traceback
from ctypes import *
from pynvml import *
import pynvml

def plain(value):
    if isinstance(value, (ctypes.Structure, ctypes.Union)):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if isinstance(value, ctypes._SimpleCData):
        return value.value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple, ctypes.Array)):
        return [plain(one) for one in value]
    if value is None or isinstance(value, (int, float, str)):
        return value
    if isinstance(value, ctypes._Pointer):
        return None
    return {name: plain(one) for name, one in (value if isinstance(value, dict) else vars(value)).items()}

names = globals()
for line in sys.stdin:
    code = json.loads(line)
    try:
        try:
            answer = ["value", plain(eval(compile(code, "told", "eval"), names))]
        except SyntaxError:
            exec(compile(code, "told", "exec"), names)
            answer = ["value", None]
    except NVMLError as error:
        answer = ["refused", error.value]
    except Exception:
        answer = ["broken", traceback.format_exc()]
    print(json.dumps(answer), flush=True)
"""
