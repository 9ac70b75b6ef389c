"""A Jupyter server and a pool that the tests of a module share, and kernelspecs like FastGPU's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import isolate
from tests.helpers import PoolProcess, ServerProcess
from tests.waiting import wait_until

#: The command of a kernel without a gate.
PLAIN = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]


class Running(NamedTuple):
    """A pool with one simulated A100 of 80 GB, and a Jupyter server with the extension."""

    pool: PoolProcess
    jupyter: ServerProcess


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, installed: None) -> Iterator[Running]:
    """Both, for the tests of a module that neither stop nor configure them."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        running = Running(PoolProcess(folder, "1xA100-80GB"), ServerProcess(folder))
        try:
            running.pool.start()
            running.jupyter.start()
            yield running
        finally:
            running.jupyter.end()
            running.pool.end()


@pytest.fixture
def running(started: Running) -> Iterator[Running]:
    """Both, without notebooks and without leases."""
    yield started
    started.jupyter.close_sessions()
    wait_until(lambda: not started.pool.live(), "the leases end")


def write_kernelspec(folder: Path, name: str, **changes: Any) -> None:
    """A kernelspec like FastGPU's, with other metadata or another command."""
    spec = json.loads((folder / "data" / "kernels" / "fastgpu" / "kernel.json").read_text())
    spec["argv"] = changes.get("argv", spec["argv"])
    spec["metadata"]["fastgpu"] = changes.get("fastgpu", spec["metadata"]["fastgpu"])
    spec["metadata"]["kernel_provisioner"]["config"] = changes.get("config", {})
    target = folder / "data" / "kernels" / name
    target.mkdir()
    (target / "kernel.json").write_text(json.dumps(spec))
