"""What the tests of several rooms share: an isolated Jupyter environment, a pool process, kernels and servers.

Nothing here waits a fixed time: every wait polls a condition and fails with a sentence at its deadline. Every process
that a fixture starts is ended by it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.compiled import session_compiler
from tests.crash.mutations.sampling import sample_seed
from tests.helpers import KernelHelper, PoolProcess, ServerProcess
from tests.libcuda.stub import CudaStub
from tests.nvml.machine import FakeMachine
from tests.nvml.stub import Stub
from tests.slurm.fixture import slurm, slurm_cluster

__all__ = ["slurm", "slurm_cluster"]  # fixtures of all folders

ROOT = Path(__file__).parent.parent
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell ignores it for what it starts in the background, and so would every process that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
#: Where it only matters that something is found, not how short it can be told.
hypothesis.settings.register_profile("no-shrinking", phases=[hypothesis.Phase.generate])


def pytest_report_header() -> str:
    """Show which mutations this run draws."""
    return f"mutations: drawn by FASTGPU_MUTATIONS_SEED={sample_seed()}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run modules with slow tests first, those with browsers before all: a long test must not begin as the last one."""
    ranks: dict[Path, int] = {}
    for item in items:
        rank = 0 if item.get_closest_marker("browser") else 1 if item.get_closest_marker("slow") else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    items.sort(key=lambda item: ranks[item.path])


#: How many characters of the log of a process are shown where a test fails.
LOG_TAIL = 4000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the log of each process that the fixtures of a failed test started."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, PoolProcess | ServerProcess):
                with contextlib.suppress(OSError):  # it was not started
                    report.sections.append((f"Log of {name}", value.log[-LOG_TAIL:]))
    return report


#: So many more descriptors than at its start a process of tests may have at its end: what libraries keep once loaded.
DESCRIPTORS_MORE = 24


@pytest.fixture(scope="session", autouse=True)
def _no_descriptor_leaks() -> Iterator[None]:
    """A test, or what it tests, that keeps files or sockets open fails the last test of its process."""
    before = open_descriptors()
    yield
    gc.collect()  # what is in circles is closed when they are found
    after = open_descriptors()
    kept = sorted(target for number, target in after.items() if before.get(number) != target)
    assert len(after) - len(before) <= DESCRIPTORS_MORE, f"{len(kept)} descriptors were left open: {kept}"


def open_descriptors() -> dict[int, str]:
    """What this process has open, by number."""
    found = {}
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 (names, not paths)
        with contextlib.suppress(OSError):  # the one by which they are listed
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")  # noqa: PTH115 (a Path follows it)
    return found


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment of its own: no user configuration, no other pool, the FastGPU kernelspec installed."""
    isolate(tmp_path, monkeypatch)
    return tmp_path


def isolate(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Give this process, and those that it starts from now on, an environment in ``folder``."""
    for name in ("FASTGPU_SOCKET", "FASTGPU_LEASE", "FASTGPU_TOKEN_FILE", "FASTGPU_LEASE_STATE", "FASTGPU_PYTHON"):
        patch.delenv(name, raising=False)
    patch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    patch.delenv("JPY_SESSION_NAME", raising=False)
    for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        own = folder / name.split("_")[-2 if "_" in name else 0].lower()
        own.mkdir(mode=0o700)
        patch.setenv(name, str(own))
    patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    patch.setenv("FASTGPU_SIMULATE", "1xA100-80GB")  # for a pool that is started on demand
    park_idle(folder, 0)
    patch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    # A server would start one after each first launch; the tests of standby kernels start servers with them.
    (folder / "config/jupyter_server_config.py").write_text("c = get_config()\nc.StandbyKernels.count = 0\n")
    shutil.copytree(ROOT / "kernels" / "fastgpu", folder / "data" / "kernels" / "fastgpu")


def park_idle(folder: Path, seconds: float) -> None:
    """After how many seconds the pools of an isolated environment take a kernel without a running cell for idle.

    Never, unless a test says otherwise: on a busy machine any test may be slow enough to be idle somewhere.
    """
    config = folder / "config/jupyter_fastgpu_config.py"
    config.write_text(f"c = get_config()\nc.Parking.idle_s = {seconds}\n")


@pytest.fixture(scope="session")
def installed() -> None:
    """Jupyter finds the provisioner only where the project is installed."""
    if not entry_points(group="jupyter_client.kernel_provisioners", name="fastgpu-provisioner"):
        pytest.fail(
            "The provisioner is not registered: install the project first (`make` does, or `pip install -e .`)."
        )


@pytest.fixture
def pool(isolated: Path) -> Iterator[PoolProcess]:
    """A running pool with one simulated A100 of 80 GB."""
    process = PoolProcess(isolated, "1xA100-80GB")
    process.start()
    yield process
    process.end()


@pytest.fixture
def kernels(isolated: Path, installed: None) -> Iterator[KernelHelper]:
    """Starts kernels through jupyter_client, in this process."""
    helper = KernelHelper(isolated)
    yield helper
    helper.end()


@pytest.fixture
def jupyter(isolated: Path, installed: None) -> Iterator[ServerProcess]:
    """A Jupyter server with the extension in it; not started yet."""
    server = ServerProcess(isolated)
    yield server
    server.end()


@pytest.fixture(scope="session")
def nvml_stub(tmp_path_factory: pytest.TempPathFactory) -> Stub:
    """A ``libnvidia-ml.so.1`` for processes that are to see the GPUs of a :class:`FakeMachine`."""
    return Stub(session_compiler(tmp_path_factory))


@pytest.fixture
def fake_machine(tmp_path: Path) -> Iterator[Callable[..., FakeMachine]]:
    """Builds machines with NVIDIA GPUs, as in ``fake_machine("1xH100-80GB MIG, 2xL4")``."""
    machines: list[FakeMachine] = []

    def build(description: str, **options: Any) -> FakeMachine:
        machines.append(FakeMachine(tmp_path / f"nvml-{len(machines)}", description, **options))
        return machines[-1]

    yield build
    for machine in machines:
        machine.close()


@pytest.fixture
def use_machine(
    isolated: Path, nvml_stub: Stub, fake_machine: Callable[..., FakeMachine], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FakeMachine]:
    """Builds the machine that processes see which are started from now on: pools, kernels, servers, commands."""
    monkeypatch.delenv("FASTGPU_SIMULATE")

    def build(description: str, **options: Any) -> FakeMachine:
        machine = fake_machine(description, **options)
        for name, value in nvml_stub.environment(machine).items():
            monkeypatch.setenv(name, value)
        return machine

    return build


@pytest.fixture(scope="session")
def cuda_stub(tmp_path_factory: pytest.TempPathFactory) -> CudaStub:
    """A ``libcuda.so.1`` for processes that are to have memory on GPUs that exist only in files."""
    return CudaStub(session_compiler(tmp_path_factory), tmp_path_factory.mktemp("libcuda"))
