"""Each driver is held to what every driver must keep."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import Enforcement
from fastgpu_jupyter.pool.devices.driver import Driver
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from tests.nvml import machine as nvml_machine
from tests.nvml.stub import Stub
from tests.pool.devices.driver_conformance import DriverConformance, Nothing, allocate
from tests.pool.devices.fake_driver import FakeMachine, fake_spec
from tests.pool.devices.nvidia.simulated_mps import FakeMpsControl
from tests.pool.devices.remote_driver import remote


class SimulatedBench(Nothing):
    def driver(self) -> Driver:
        return SimulatedDriver("2xA100-80GB,T4-16GB", {})


class TestSimulated(DriverConformance):
    @pytest.fixture
    def bench(self) -> SimulatedBench:
        return SimulatedBench()


class TestFake(DriverConformance):
    @pytest.fixture
    def bench(self) -> FakeMachine:
        return FakeMachine([fake_spec("fake-0"), fake_spec("fake-1", 1)])


class TestFakeThatKeepsLimits(DriverConformance):
    @pytest.fixture
    def bench(self) -> FakeMachine:
        return FakeMachine([fake_spec("fake-0", 0, Enforcement.DRIVER)])


#: In place of the host's control groups: those below a folder, and the group that a file there names for a process.
_GROUPS = """
import os
from pathlib import Path
from fastgpu_jupyter.pool.devices.nvidia.driver import NvidiaDriver
from fastgpu_jupyter.pool.devices.registration import DriverOptions
from fastgpu_jupyter.pool.host import cgroup
folder = Path(os.environ["GROUPS"])
cgroup.root = lambda: folder
cgroup.group_of = lambda pid: next((one.parent for one in folder.glob(f"*/cgroup.procs")
                                    if str(pid) in one.read_text().split()), folder)
"""


class NvmlBench:
    """The driver for NVIDIA GPUs on the stub of their library."""

    def __init__(self, stub: Stub, machine: nvml_machine.FakeMachine, groups: Path) -> None:
        self.options = "DriverOptions()"  #: as an expression
        self._environment = {**stub.environment(machine), "GROUPS": str(groups)}
        self._machine, self._groups = machine, groups
        self._pids = itertools.count(4_000_000)
        self._kernels: list[subprocess.Popen[bytes]] = []

    def driver(self) -> Driver:
        return remote(self._environment, _GROUPS, f"NvidiaDriver({self.options})")

    def _gpu(self, device_id: str) -> nvml_machine.FakeGpu:
        return next(gpu for gpu in self._machine.gpus if gpu.uuid == device_id)

    def occupy(self, device_id: str, memory_bytes: int) -> int:
        pid = next(self._pids)
        self._gpu(device_id).add_process(pid, memory_bytes, stays=True)
        return pid

    def leave(self, pid: int) -> None:
        for gpu in self._machine.gpus:
            gpu.remove_process(pid)

    def lose(self, device_id: str) -> None:
        self._gpu(device_id).lose()

    def mend(self, device_id: str) -> None:
        self._gpu(device_id).find()

    def remove(self, device_id: str) -> None:
        self._gpu(device_id).vanish()

    def confuse(self, device_id: str) -> None:
        self._machine.garble("nvmlDeviceGetMemoryInfo", gpu=self._gpu(device_id))

    def divide(self, device_id: str) -> None:
        self._gpu(device_id).switch_mig(on=True)

    def own_group(self) -> int:
        kernel = subprocess.Popen(
            [sys.executable, "-I", "-c", "import sys; print(flush=True); sys.stdin.read()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "FASTGPU_LEASE": "a"},
        )  # fmt: skip
        self._kernels.append(kernel)
        assert kernel.stdout is not None
        kernel.stdout.readline()  # its environment is its own by now
        (self._groups / "kernel").mkdir()
        (self._groups / "kernel" / "cgroup.procs").write_text(f"{kernel.pid}\n")
        return kernel.pid

    def limit_bytes(self, device_id: str) -> int | None:
        limits = self._machine.limits()
        return next((hard for (uuid, _), (_, hard) in limits.items() if uuid == device_id), None)

    def close(self) -> None:
        for kernel in self._kernels:
            kernel.communicate(timeout=20)


@pytest.mark.slow
class TestNvml(DriverConformance):
    #: Whether its driver has limits of memory.
    old_driver = False

    @pytest.fixture
    def bench(
        self, nvml_stub: Stub, fake_machine: Callable[..., nvml_machine.FakeMachine], tmp_path: Path
    ) -> Iterator[NvmlBench]:
        groups = tmp_path / "groups"
        groups.mkdir()
        (groups / "cgroup.procs").touch()
        with contextlib.closing(
            NvmlBench(nvml_stub, fake_machine("2xH100-80GB,1xA100-SXM4-80GB", old_driver=self.old_driver), groups)
        ) as bench:
            yield bench


class TestNvmlOfAnOldDriver(TestNvml):
    old_driver = True


@pytest.mark.slow
class TestNvmlWithMps(DriverConformance):
    @pytest.fixture
    def bench(
        self,
        nvml_stub: Stub,
        fake_machine: Callable[..., nvml_machine.FakeMachine],
        tmp_path: Path,
        fake_mps_control: FakeMpsControl,
    ) -> Iterator[NvmlBench]:
        groups = tmp_path / "groups"
        groups.mkdir()
        (groups / "cgroup.procs").touch()
        machine = fake_machine("2xH100-80GB,1xA100-SXM4-80GB")
        with contextlib.closing(NvmlBench(nvml_stub, machine, groups)) as bench:
            bench.options = f"DriverOptions(mps=True, socket_path=Path({str(tmp_path / 'pool.sock')!r}))"
            yield bench


class MigBench(NvmlBench):
    """The same where MIG divides every GPU; processes are on a partition that another program created."""

    def occupy(self, device_id: str, memory_bytes: int) -> int:
        gpu, pid = self._gpu(device_id), next(self._pids)
        instance = next(iter(gpu.instances), None) or gpu.create_instance("3g.40gb", 0)
        gpu.add_process(pid, memory_bytes, instance=instance, stays=True)
        return pid

    def divide(self, device_id: str) -> None:
        self._gpu(device_id).switch_mig(on=False)


@pytest.mark.slow
class TestMig(DriverConformance):
    @pytest.fixture
    def bench(
        self, nvml_stub: Stub, fake_machine: Callable[..., nvml_machine.FakeMachine], tmp_path: Path
    ) -> Iterator[MigBench]:
        groups = tmp_path / "groups"
        groups.mkdir()
        (groups / "cgroup.procs").touch()
        machine = fake_machine("2xH100-80GB MIG,1xA100-SXM4-80GB MIG")
        with contextlib.closing(MigBench(nvml_stub, machine, groups)) as bench:
            yield bench


@pytest.mark.slow
def test_device_nodes_of_a_partition_include_its_capability_files(
    nvml_stub: Stub, fake_machine: Callable[..., nvml_machine.FakeMachine], tmp_path: Path
) -> None:
    machine = fake_machine("1xH100-80GB MIG")
    minors = tmp_path / "mig-minors"
    lines = [f"gpu0/gi{gi}/access {10 * gi}\ngpu0/gi{gi}/ci0/access {10 * gi + 1}" for gi in range(15)]
    minors.write_text("\n".join(["config 1", "monitor 2", *lines]) + "\n")
    code = (
        "from pathlib import Path\n"
        "from fastgpu_jupyter.pool.devices.nvidia import mig\n"
        "from fastgpu_jupyter.pool.devices.nvidia.driver import NvidiaDriver\n"
        "from fastgpu_jupyter.pool.devices.registration import DriverOptions\n"
        f"mig.MIG_MINORS = Path({str(minors)!r})\n"
    )
    driver = remote(nvml_stub.environment(machine), code, "NvidiaDriver(DriverOptions())")
    gpu = allocate(driver.inventory()[0][0], "half")
    gpu = replace(gpu, driver_handle=driver.prepare(gpu))
    (instance,) = machine.gpus[0].instances
    caps = [f"/dev/nvidia-caps/nvidia-cap{10 * instance.id}", f"/dev/nvidia-caps/nvidia-cap{10 * instance.id + 1}"]
    assert list(driver.device_nodes(gpu)) == ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", *caps]
    driver.close()
