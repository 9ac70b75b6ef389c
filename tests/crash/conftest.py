"""A pool manager that tests kill and start again; it is forked from a process that has imported the package."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from tests.crash.forking import Forker
from tests.helpers import alive
from tests.waiting import DEADLINE_S, wait_until


class KillablePool:
    """The pool manager at the socket of this user, which can be killed and started many times."""

    def __init__(self, folder: Path, simulate: str) -> None:
        self.output = folder / "pool.out"
        self.arguments = ["--simulate", simulate]
        self.client = PoolClient(user_socket(), timeout_s=DEADLINE_S)
        self.pid = 0
        self._forker = Forker("tests.crash.failing_pool")

    def launch(self, crash_at: str | None = None) -> None:
        """Start it without waiting for it; it ends itself at the failpoint ``crash_at``."""
        arguments = [*self.arguments, "--Limits.requests_per_s_per_tenant=100000"]
        self.pid = self._forker.send(arguments=arguments, crash_at=crash_at, output=str(self.output))

    def start(self, crash_at: str | None = None) -> bool:
        """Start it, wait until it answers or has ended, and return whether it answers."""
        self.launch(crash_at)
        return wait_until(
            lambda: self.answers() or not alive(self.pid), f"the pool manager answers; see {self.output}"
        ) and alive(self.pid)

    def answers(self) -> bool:
        """Return whether it answers a request."""
        try:
            self.client.health()
        except FastGPUError:
            return False
        return True

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it by a signal and return its exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        status = int(self._forker.send(wait=self.pid))
        self.pid = 0
        return status

    def close(self) -> None:
        """End it, and the process that it is forked from."""
        if self.pid:
            self.kill()
        self._forker.close()


@pytest.fixture
def killable_pool(isolated: Path) -> Iterator[KillablePool]:
    """Yield a pool manager with eight simulated devices that is not started yet."""
    pool = KillablePool(isolated, "8xA100-80GB")
    yield pool
    pool.close()
