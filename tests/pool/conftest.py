"""Pools that tests of this room share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.pool.http.limits import ServiceLimits
from tests.conftest import isolate
from tests.helpers import PoolProcess
from tests.pool.devices.nvidia.simulated_mps import FakeMpsControl
from tests.pool.served import ServedPool
from tests.waiting import wait_until

Serve = Callable[..., ServedPool]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a pool with the limits that are named, and ends it with the test."""
    pools: list[ServedPool] = []

    def start(simulate: str = "1xA100-80GB", **limits: Any) -> ServedPool:
        pools.append(ServedPool(tmp_path, simulate, ServiceLimits(**limits)))
        return pools[-1]

    yield start
    for pool in pools:
        pool.stop()


@pytest.fixture
def fake_mps_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMpsControl]:
    """Install a fake of NVIDIA's MPS control program where processes find it that are started from now on."""
    control = FakeMpsControl(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{control.folder}{os.pathsep}{os.environ['PATH']}")
    yield control
    control.close()


@pytest.fixture
def half(isolated: Path) -> str:
    """A kernelspec whose kernels ask for half a GPU."""
    spec = json.loads((isolated / "data/kernels/fastgpu/kernel.json").read_text())
    spec["metadata"]["fastgpu"]["profile"] = "half"
    folder = isolated / "data/kernels/half"
    folder.mkdir()
    (folder / "kernel.json").write_text(json.dumps(spec))
    return folder.name


@pytest.fixture
def machine_pool(isolated: Path) -> Iterator[PoolProcess]:
    """A pool manager for the GPUs of the machine; not started yet."""
    process = PoolProcess(isolated, simulate="")
    yield process
    process.end()


@pytest.fixture(scope="module")
def started_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PoolProcess]:
    """A pool manager that those tests of a module share which neither stop nor configure it."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        isolate(folder, patch)
        process = PoolProcess(folder, "1xA100-80GB")
        process.start()
        yield process
        process.end()


@pytest.fixture
def shared(started_pool: PoolProcess) -> Iterator[PoolProcess]:
    """That pool manager, without live leases."""
    yield started_pool
    for lease in started_pool.live():
        started_pool.client.release(lease["id"])
    wait_until(lambda: not started_pool.live(), "the leases end")
