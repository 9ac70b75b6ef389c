"""MPS: what a GPU needs for it, the environment of a process, and the life of its control daemons."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import Enforcement, LimitScope, LogicalGPU, Mechanism
from fastgpu_jupyter.errors import HostFault, Message
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.devices.nvidia.mps import daemon as mps_daemon
from fastgpu_jupyter.pool.devices.nvidia.mps.daemon import PATH_MAX, PROGRAM, Daemon
from fastgpu_jupyter.pool.devices.nvidia.mps.mechanism import MpsMechanism, MpsSettings, folder_for
from fastgpu_jupyter.pool.devices.nvidia.mps.requirements import MpsFacts, find_obstacle
from fastgpu_jupyter.units import GIB
from tests.helpers import alive
from tests.pool.devices.nvidia.simulated_mps import FakeMpsControl
from tests.waiting import wait_until

OTHER_UID = 65534
#: A Python that every user can run; that of the tests may be in a home directory.
PYTHON = "/usr/bin/python3"
as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(PYTHON).exists(), reason="only root starts processes of other users"
)


class DeviceControl:
    """GPUs of 80 GiB that can all that MPS needs."""

    lacks: str | None = None

    def require(self, device_id: str) -> None:
        pass

    def memory_bytes(self, device_id: str) -> int:
        return 80 * GIB

    def supports_memory_limits(self, device_id: str) -> bool:
        return False

    def set_memory_limit(self, device_id: str, cgroup: str, memory_bytes: int | None) -> None:
        raise AssertionError

    def mps_obstacle(self, device_id: str) -> Message | None:
        return Message.of_optional(self.lacks)


def half(generation: int, device_id: str = "GPU-a", owner_uid: int | None = None) -> LogicalGPU:
    return LogicalGPU(
        device_id, 40 * GIB, whole=False, mechanism=Mechanism.MPS, enforcement=Enforcement.USERSPACE,
        rate_micro_per_hour=0, generation=generation, scope=LimitScope.PROCESS,
        owner_uid=os.geteuid() if owner_uid is None else owner_uid,
    )  # fmt: skip


# -- what it needs, and says ------------------------------------------------------------------------------------------

ABLE = MpsFacts((9, 0), 0, 13000, lists_processes=True)


@pytest.mark.parametrize(
    ("facts", "why", "remedy"),
    [
        (ABLE, None, None),
        (ABLE._replace(capability=(7, 0), cuda=11050), None, None),
        (ABLE._replace(capability=(6, 1)), "older than Volta", None),
        (ABLE._replace(capability=None), "older than Volta", None),
        (ABLE._replace(cuda=11040), "its driver", None),
        (ABLE._replace(lists_processes=False), "its driver", None),
        (ABLE._replace(compute_mode=3), "compute mode", "sudo nvidia-smi -i 4 -c DEFAULT"),
        (ABLE._replace(compute_mode=None), "compute mode", "sudo nvidia-smi -i 4 -c DEFAULT"),
    ],
)
def test_find_obstacle_names_what_is_missing_and_the_remedy(
    facts: MpsFacts, why: str | None, remedy: str | None
) -> None:
    found = find_obstacle(facts, 4)
    assert (found is None) == (why is None)
    if found is not None:
        assert str(why) in render(found.reason)
        assert found.remedy == remedy


def test_daemon_parse_reads_its_own_text() -> None:
    daemon = Daemon(7, 99, "/run/fastgpu/mps/with:colon.0")
    assert Daemon.parse(str(daemon)) == daemon
    for text in ("", "7", "7:99:", "a:b:c", "/sys/fs/cgroup/kernel"):
        assert Daemon.parse(text) is None


def test_folder_for_is_beside_the_socket_unless_too_long() -> None:
    assert folder_for(Path("/run/fastgpu/pool.sock")) == Path("/run/fastgpu/mps")
    long = Path("/home") / ("u" * 90) / "pool.sock"
    assert folder_for(long) == folder_for(long)
    assert folder_for(long) != folder_for(long.with_name("other.sock"))
    assert len(str(folder_for(long) / "01234567.1234567890")) <= PATH_MAX


def test_env_names_the_daemon_and_the_limits() -> None:
    mps, gpu = MpsMechanism(DeviceControl()), replace(half(1), driver_handle=str(Daemon(7, 99, "/run/mps/a.0")))
    assert mps.env(gpu) == {
        "CUDA_MPS_PIPE_DIRECTORY": "/run/mps/a.0",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=40960M",
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
        "FASTGPU_MEMORY_BYTES": str(40 * GIB),
    }
    tiny = replace(gpu, memory_bytes=GIB // 2)
    assert mps.env(tiny)["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] == "1", "none is not a limit"


def test_limit_of_a_process_without_the_daemon_is_cooperative(tmp_path: Path) -> None:
    mps, gpu = MpsMechanism(DeviceControl()), replace(half(1), driver_handle=str(Daemon(7, 99, str(tmp_path))))
    limited = mps.limit(gpu, os.getpid())
    assert (limited.enforcement, limited.driver_handle) == (Enforcement.COOPERATIVE, gpu.driver_handle)
    assert "does not see the folder" in str(limited.detail)
    (tmp_path / "control").touch()
    assert mps.limit(gpu, os.getpid()) == (Enforcement.USERSPACE, gpu.driver_handle, None)


def test_capability_needs_mps_switched_on_and_supported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    hardware = DeviceControl()
    assert MpsMechanism(hardware).capability("GPU-a") is None
    off, on = (MpsMechanism(hardware, MpsSettings(tmp_path / "mps", on=one)) for one in (False, True))
    assert (off.capability("GPU-a"), off.refusal()) == (None, None)
    assert on.capability("GPU-a") is None
    assert f"{PROGRAM} was not found" in str(on.refusal())
    (tmp_path / PROGRAM).touch(0o755)
    capability = on.capability("GPU-a")
    assert capability is not None
    assert (capability.enforcement, capability.scope, capability.resizable, capability.parkable) == (
        Enforcement.USERSPACE, LimitScope.PROCESS, False, False,
    )  # fmt: skip
    everybody = MpsMechanism(hardware, MpsSettings(tmp_path / "mps", on=True, all_users=True))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert everybody.capability("GPU-a") is None
    assert "must run as root" in str(everybody.refusal())
    monkeypatch.undo()
    hardware.lacks = "it is older than Volta"
    assert on.capability("GPU-a") is None


def test_prepare_after_mps_was_switched_off_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match="switched off"):
        MpsMechanism(DeviceControl()).prepare(half(1))
    mps = MpsMechanism(DeviceControl(), MpsSettings(tmp_path / "mps", on=False))
    with pytest.raises(HostFault, match="switched off"):
        mps.prepare(half(1))
    mps.release(half(1))
    assert not (tmp_path / "mps").exists()


# -- its daemons ------------------------------------------------------------------------------------------------------

slow = pytest.mark.slow


@pytest.fixture
def setup(fake_mps_control: FakeMpsControl, tmp_path: Path) -> MpsSettings:
    return MpsSettings(folder_for(tmp_path / "runtime/fastgpu/pool.sock"), on=True)


def prepared(mps: MpsMechanism, gpu: LogicalGPU) -> LogicalGPU:
    return replace(gpu, driver_handle=mps.prepare(gpu))


@pytest.fixture
def mps(setup: MpsSettings) -> MpsMechanism:
    setup.folder.parent.mkdir(parents=True, exist_ok=True)
    return MpsMechanism(DeviceControl(), setup)


@slow
def test_daemon_serves_a_users_leases_until_the_last(
    mps: MpsMechanism, setup: MpsSettings, fake_mps_control: FakeMpsControl
) -> None:
    first, second = prepared(mps, half(1)), prepared(mps, half(2))
    other = prepared(mps, half(3, "GPU-b"))
    assert first.driver_handle == second.driver_handle != other.driver_handle
    assert [(one.device_id, one.uid) for one in fake_mps_control.running] == [
        ("GPU-a", os.geteuid()), ("GPU-b", os.geteuid()),
    ]  # fmt: skip
    daemon, beside = fake_mps_control.running
    assert os.getsid(daemon.pid) == daemon.pid, "it outlives the process that started it"
    assert (daemon.folder.stat().st_mode & 0o777, setup.folder.stat().st_mode & 0o777) == (0o700, 0o700)
    assert mps.env(first)["CUDA_MPS_PIPE_DIRECTORY"] == str(daemon.folder)
    assert mps.serves("GPU-a")
    assert mps.loss_reason(first) is None
    mps.release(first)
    mps.release(first)
    assert daemon.runs
    mps.release(second)
    assert (daemon.runs, beside.runs, daemon.folder.exists()) == (False, True, False)
    assert not mps.serves("GPU-a")
    mps.release(other)
    mps.release(other)
    assert not setup.folder.exists()


@slow
def test_daemon_is_adopted_after_a_restart(
    mps: MpsMechanism, setup: MpsSettings, fake_mps_control: FakeMpsControl
) -> None:
    noted, cut_short = prepared(mps, half(1)), half(2, "GPU-b")
    mps.prepare(cut_short)  # and was killed before it noted that
    again = MpsMechanism(DeviceControl(), setup)
    again.adopt([noted, cut_short])
    again.end_unused()
    assert again.prepare(noted) == noted.driver_handle
    found = prepared(again, cut_short)
    assert len(fake_mps_control.started) == 2
    assert [mps.loss_reason(gpu) for gpu in (noted, found)] == [None, None]
    for gpu in (noted, found):
        again.release(gpu)
    assert fake_mps_control.running == []


@slow
def test_daemon_without_a_lease_is_ended(
    mps: MpsMechanism, setup: MpsSettings, fake_mps_control: FakeMpsControl
) -> None:
    noted = prepared(mps, half(1))
    mps.prepare(half(2, "GPU-b"))
    again = MpsMechanism(DeviceControl(), setup)
    again.end_unused()
    assert len(fake_mps_control.running) == 2, "it has not adopted what leases use"
    again.adopt([noted])
    again.end_unused()
    assert [one.device_id for one in fake_mps_control.running] == ["GPU-a"]
    never_noted = half(3, "GPU-c")
    again.prepare(never_noted)
    again.release(never_noted)  # given back before the journal knew of it
    assert [one.device_id for one in fake_mps_control.running] == ["GPU-a"]
    later = MpsMechanism(DeviceControl())  # a pool manager without MPS
    later.adopt([noted])
    assert later.loss_reason(noted) is None
    later.release(noted)
    assert fake_mps_control.running == []


@slow
def test_daemon_that_does_not_start_leaves_nothing(
    mps: MpsMechanism, setup: MpsSettings, fake_mps_control: FakeMpsControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_mps_control.plan("refuse")
    with pytest.raises(HostFault, match=r"ended as soon as it was started\. It said: .*told to refuse"):
        mps.prepare(half(1))
    fake_mps_control.plan("hang")
    monkeypatch.setattr(mps_daemon, "START_S", 1.0)
    with pytest.raises(HostFault, match="did not answer for 1 seconds"):
        mps.prepare(half(1))
    assert (fake_mps_control.running, list(setup.folder.iterdir()), mps.serves("GPU-a")) == ([], [], False)
    fake_mps_control.plan("serve")
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{fake_mps_control.folder}{os.pathsep}{os.environ['PATH']}")
    mps.release(prepared(mps, half(1)))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(HostFault, match="was not found"):
        mps.prepare(half(2))


@slow
def test_daemon_that_does_not_quit_is_killed(
    mps: MpsMechanism, fake_mps_control: FakeMpsControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mps_daemon, "QUIT_S", 0.5)
    fake_mps_control.plan("deaf")
    gpu = prepared(mps, half(1))
    server = fake_mps_control.running[0].start_server()
    assert alive(server)
    mps.release(gpu)
    assert (fake_mps_control.running, alive(server)) == ([], False)


@slow
def test_killed_daemon_loses_its_leases_and_is_replaced(mps: MpsMechanism, fake_mps_control: FakeMpsControl) -> None:
    gpu, beside = prepared(mps, half(1)), prepared(mps, half(2))
    (daemon,) = fake_mps_control.running
    server = daemon.start_server()
    assert mps.is_server(server)
    assert not mps.is_server(daemon.pid)
    assert not mps.is_server(os.getpid())
    daemon.kill()
    for lost in (gpu, beside):
        assert "has ended" in str(mps.loss_reason(lost))
    after = prepared(mps, half(3))
    assert after.driver_handle != gpu.driver_handle
    assert mps.env(after) != mps.env(gpu), "no client of the old one reaches the new one"
    mps.release(gpu)
    assert daemon.folder.exists()
    mps.release(beside)
    assert not daemon.folder.exists()
    wait_until(lambda: not alive(server), "its server was ended with it")
    assert mps.loss_reason(after) is None
    mps.release(after)
    assert fake_mps_control.running == []


@slow
def test_daemon_without_its_folder_is_lost_and_ended(
    mps: MpsMechanism, setup: MpsSettings, fake_mps_control: FakeMpsControl
) -> None:
    gpu = prepared(mps, half(1))
    server = fake_mps_control.running[0].start_server()
    shutil.rmtree(setup.folder)
    assert "has ended or cannot be found" in str(mps.loss_reason(gpu))
    after = prepared(mps, half(2))
    assert len(fake_mps_control.running) == 2
    again = MpsMechanism(DeviceControl(), setup)
    again.adopt([gpu, after])
    again.end_unused()
    again.release(gpu)
    wait_until(lambda: not alive(server), "its server is ended with it")
    assert [str(one.folder) for one in fake_mps_control.running] == [again.env(after)["CUDA_MPS_PIPE_DIRECTORY"]]
    again.release(after)
    assert fake_mps_control.running == []


@pytest.fixture
def anybodys_folder() -> Iterator[Path]:
    """One that every user can reach, which those of pytest are not."""
    folder = Path(tempfile.mkdtemp(prefix="fastgpu-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@slow
@as_root
def test_daemon_of_each_user_runs_as_that_user(anybodys_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_mps_control = FakeMpsControl(anybodys_folder / "bin", PYTHON)
    monkeypatch.setenv("PATH", f"{fake_mps_control.folder}{os.pathsep}{os.environ['PATH']}")
    folder = anybodys_folder / "mps"
    mps = MpsMechanism(DeviceControl(), MpsSettings(folder, on=True, all_users=True))
    mine, his = prepared(mps, half(1)), prepared(mps, half(2, owner_uid=OTHER_UID))
    assert mine.driver_handle != his.driver_handle
    own, other = fake_mps_control.running
    assert (own.uid, other.uid) == (0, OTHER_UID)
    assert (other.folder.stat().st_uid, other.folder.stat().st_mode & 0o777) == (OTHER_UID, 0o700)
    # The mark of another user's process does not count.
    liar = subprocess.Popen(
        ["/bin/sleep", "1000"],
        env={mps_daemon.MARK: str(own.folder)},
        user=OTHER_UID,
        group=OTHER_UID,
        extra_groups=[],
    )
    try:
        wait_until(lambda: Path(f"/proc/{liar.pid}/comm").read_text() == "sleep\n", "it is itself")
        assert mps_daemon.family(str(own.folder)) == [own.pid]
    finally:
        liar.kill()
        liar.wait()
    again = MpsMechanism(DeviceControl(), MpsSettings(folder, on=True, all_users=True))
    again.adopt([mine, half(2, owner_uid=OTHER_UID)])
    assert again.prepare(half(2, owner_uid=OTHER_UID)) == his.driver_handle
    for gpu in (mine, his):
        again.release(gpu)
    assert fake_mps_control.running == []
    fake_mps_control.close()


@slow
def test_real_control_program_serves_and_ends(tmp_path: Path) -> None:
    """Its daemon needs no GPU until a process comes to it."""
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed")
    mps = MpsMechanism(DeviceControl(), MpsSettings(folder_for(tmp_path / ("x" * 90) / "pool.sock"), on=True))
    gpu = prepared(mps, half(1))
    daemon = Daemon.parse(gpu.driver_handle)
    assert daemon is not None
    assert mps_daemon.find(Path(daemon.folder)) == daemon
    assert mps_daemon.ask(daemon.folder, "get_default_active_thread_percentage", 20).strip() == "100.0"
    assert "Unknown command" in mps_daemon.ask(daemon.folder, "nonsense", 20)
    again = MpsMechanism(DeviceControl(), MpsSettings(folder_for(tmp_path / ("x" * 90) / "pool.sock"), on=True))
    again.adopt([half(1)])
    assert again.prepare(half(1)) == gpu.driver_handle
    again.release(gpu)
    assert not daemon.runs
    assert not Path(daemon.folder).exists()
    with pytest.raises(HostFault):
        mps_daemon.ask(daemon.folder, "get_server_list", 20)
