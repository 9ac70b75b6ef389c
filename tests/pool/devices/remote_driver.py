"""A driver in a process of its own: libraries of drivers are loaded once, and a test wants others than the next."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any, cast

from fastgpu_jupyter.pool.devices.driver import Driver

_SERVE = """
import pickle, sys
answers, sys.stdout = sys.stdout.buffer, sys.stderr
code, make = pickle.load(sys.stdin.buffer)
names = {}
exec(code, names)
driver = eval(make, names)
while True:
    try:
        name, args, kwargs = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        answer = True, getattr(driver, name)(*args, **kwargs)
    except Exception as error:
        answer = False, error
    pickle.dump(answer, answers)
    answers.flush()
"""


class RemoteDriver:
    """``make`` is the expression that makes it, ``code`` what is to be done before."""

    def __init__(self, environment: dict[str, str], code: str, make: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | environment
        )
        self._send((code, make))

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        pickle.dump(what, self._process.stdin)
        self._process.stdin.flush()

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self._send((name, args, kwargs))
            assert self._process.stdout is not None
            well, answer = pickle.load(self._process.stdout)
            if not well:
                raise answer
            return answer

        return call

    def close(self) -> None:
        """End its process."""
        self.__getattr__("close")()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)


def remote(environment: dict[str, str], code: str, make: str) -> Driver:
    """Such a driver, as the pool sees one."""
    return cast(Driver, RemoteDriver(environment, code, make))
