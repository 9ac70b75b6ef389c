"""Tests on a real NVIDIA GPU, skipped where there is none. They change no setting of it: no MIG mode, no clocks.

What they measure is printed at the end as a table for ``RESULTS.md``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gpu.cuda import WorkerProcess

HERE = Path(__file__).parent
_FIGURES: list[tuple[str, str]] = []
Note = Callable[[str, str], None]
Work = Callable[..., WorkerProcess]


def has_gpu() -> bool:
    """Whether the kernel runs NVIDIA's driver and shows a GPU. The library is not loaded to find out."""
    driver = Path("/proc/driver/nvidia/version").exists() or Path("/dev/nvidiactl").exists()
    return driver and any(path.name[6:].isdigit() for path in Path("/dev").glob("nvidia[0-9]*"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all as ``gpu``, and skip them where there is none."""
    ours = [item for item in items if HERE in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.gpu)
        item.add_marker(pytest.mark.timeout(600))
        if not has_gpu():
            item.add_marker(pytest.mark.skip(reason="this machine has no NVIDIA GPU"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The figures, to be copied into ``RESULTS.md``."""
    if _FIGURES:
        terminalreporter.section(f"measured on the GPU, {time.strftime('%Y-%m-%d', time.gmtime())}")
        for what, figure in _FIGURES:
            terminalreporter.write_line(f"| {what} | {figure} |")


@pytest.fixture
def note() -> Note:
    """Keep a figure: what it is of, and the figure with its unit."""
    return lambda what, figure: _FIGURES.append((what, figure))


@pytest.fixture(scope="session")
def gpu() -> str:
    """UUID of the first GPU that is not divided by MIG; NVML has a session for the time of the tests."""
    pynvml = pytest.importorskip("pynvml")
    pynvml.nvmlInit()
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        try:
            divided = pynvml.nvmlDeviceGetMigMode(handle)[0]
        except pynvml.NVMLError:
            divided = 0
        if not divided:
            name, driver = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlSystemGetDriverVersion()
            _FIGURES.insert(0, ("GPU and driver", f"{name}, {driver}"))
            return str(pynvml.nvmlDeviceGetUUID(handle))
    pytest.skip("every GPU of this machine is divided by MIG")


@pytest.fixture
def work(gpu: str) -> Iterator[Work]:
    """Starts processes that work on the GPU, and ends them with the test."""
    started: list[WorkerProcess] = []

    def start(**environment: str) -> WorkerProcess:
        started.append(WorkerProcess(os.environ | {"CUDA_VISIBLE_DEVICES": gpu} | environment))
        started[-1]("start")
        return started[-1]

    yield start
    for process in started:
        process.close()
