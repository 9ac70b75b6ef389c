"""A dispatcher of its own for each test, in an isolated environment."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.jobs import client as jobs_client
from fastgpu_jupyter.jobs.client import JobsClient
from tests.helpers import alive
from tests.waiting import wait_until


@pytest.fixture
def jobs(isolated: Path) -> Iterator[JobsClient]:
    """A client whose dispatcher is started by its first call, and ended with the test."""
    client = JobsClient()
    yield client
    client.close()
    running = jobs_client.running_dispatcher()
    if running is not None:
        pid = running.ping()["pid"]
        running.stop()
        running.close()
        wait_until(lambda: not alive(pid), "The dispatcher ends.")


def kill_dispatcher(client: JobsClient) -> int:
    """Kill the dispatcher with SIGKILL, wait for its end, and return its process number."""
    pid = int(client.ping()["pid"])
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "The killed dispatcher ends.")
    return pid
