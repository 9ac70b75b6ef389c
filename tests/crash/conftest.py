"""Pool managers that are killed: forked from one process that has the imports done, so that hundreds are quick."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import alive
from tests.waiting import wait_until


class Forked:
    """A pool manager at this user's socket, started and killed again and again."""

    def __init__(self, folder: Path, simulate: str) -> None:
        self.output = folder / "pool.out"
        self.arguments = ["--simulate", simulate]
        self.client = PoolClient(user_socket(), timeout_s=10)
        self.pid = 0
        self._source = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.failing_pool", "--many"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def _ask(self, **what: Any) -> Any:
        assert self._source.stdin is not None
        assert self._source.stdout is not None
        self._source.stdin.write(json.dumps(what) + "\n")
        self._source.stdin.flush()
        return json.loads(self._source.stdout.readline())

    def launch(self, crash_at: str | None = None) -> None:
        """Start one, and do not wait for it."""
        arguments = [*self.arguments, "--Limits.requests_per_s_per_tenant=100000"]
        self.pid = self._ask(arguments=arguments, crash_at=crash_at, output=str(self.output))

    def start(self, crash_at: str | None = None) -> bool:
        """Start one, and wait until it answers or is gone; whether it answers."""
        self.launch(crash_at)
        return wait_until(lambda: self.answers() or not alive(self.pid), f"it answers; see {self.output}") and alive(
            self.pid
        )

    def answers(self) -> bool:
        try:
            self.client.health()
        except FastGPUError:
            return False
        return True

    def kill(self, number: int = signal.SIGKILL) -> int:
        """End it and wait for its end; its status."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        status = int(self._ask(wait=self.pid))
        self.pid = 0
        return status

    def close(self) -> None:
        if self.pid:
            self.kill()
        assert self._source.stdin is not None
        assert self._source.stdout is not None
        self._source.stdin.close()
        self._source.stdout.close()
        self._source.wait(10)


@pytest.fixture
def forked(isolated: Path) -> Iterator[Forked]:
    """Pool managers with eight simulated devices; none runs yet."""
    pools = Forked(isolated, "8xA100-80GB")
    yield pools
    pools.close()
