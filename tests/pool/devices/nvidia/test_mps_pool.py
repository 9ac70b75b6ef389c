"""Leases by MPS: the real pool manager and real kernels, on GPUs that are simulated below ``pynvml`` and with a fake
control program."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict, NeedsRestart
from fastgpu_jupyter.pool.devices.nvidia.mps.daemon import PROGRAM
from fastgpu_jupyter.wire.client import PoolClient, new_token
from tests.helpers import Kernel, KernelHelper, PoolProcess, fastgpu
from tests.nvml.machine import FakeMachine
from tests.pool.conftest import machine_pool
from tests.pool.devices.nvidia.simulated_mps import FakeMpsControl
from tests.views import enforcement_of, explanation_of, gpu_of, mechanisms_of, text, value_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
GIB = 1024**3
Build = Callable[..., FakeMachine]
BY_MPS = "--Sharing.mps=True"
OTHER_UID, PYTHON = 65534, "/usr/bin/python3"
EXCLUSIVE_PROCESS = 3
pool = machine_pool


def ask(pool: PoolProcess, profile: str = "half", **options: Any) -> str:
    return str(pool.client.request(profile, token=new_token(), options=options or None)["id"])  # type: ignore[arg-type]


def active(pool: PoolProcess, profile: str = "half", **options: Any) -> str:
    lease_id = ask(pool, profile, **options)
    pool.wait_state(lease_id, "active")
    return lease_id


def ends(pool: PoolProcess, kernels: KernelHelper, kernel: Kernel) -> None:
    """A kernel is shut down, and its lease is over."""
    lease_id = kernel.lease_id
    kernels.stop(kernel)
    pool.wait_state(lease_id, "ended")


def folder_of(pool: PoolProcess, lease_id: str) -> str | None:
    folder: str | None = pool.lease(lease_id)["environment"].get("CUDA_MPS_PIPE_DIRECTORY")
    return folder


def test_kernels_of_a_user_share_one_daemon(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, half: str, fake_mps_control: FakeMpsControl
) -> None:
    (gpu,) = use_machine("1xH100-80GB").gpus
    pool.start(BY_MPS)
    assert mechanisms_of(pool.client.devices())[0] == ["exclusive", "mps", "shared"]
    assert fake_mps_control.started == [], "no lease needs one yet"
    two = [kernels.start(half), kernels.start(half)]
    for kernel in two:
        pool.wait_state(kernel.lease_id, "active")
        view = pool.lease(kernel.lease_id)
        assert enforcement_of(view) == (
            "mps",
            "userspace",
            "process",
        )
        assert "an error in one of them ends the others there" in text(gpu_of(view)["mechanism_reason"])
        assert not view["parking"]["parkable"]
    (daemon,) = fake_mps_control.running
    assert daemon.device_id == gpu.uuid
    variables = {
        "CUDA_MPS_PIPE_DIRECTORY": str(daemon.folder),
        "CUDA_VISIBLE_DEVICES": gpu.uuid,
        "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "50",
        "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": f"0={pool.lease(two[0].lease_id)['memory']['limit_bytes'] // 2**20}M",
    }
    for kernel in two:
        shown = kernel.run(f"import os; print(*[os.environ[name] for name in {list(variables)}])").stream().split()
        assert shown == list(variables.values())
        with pytest.raises(NeedsRestart, match="reads its limits when it starts"):
            pool.client.resize(kernel.lease_id, "quarter")
        with pytest.raises(Conflict):
            pool.client.park(kernel.lease_id)
        assert "compute at the same time" in "".join(kernel.run("%fastgpu").shown())

    # What its kernel has by MPS is the lease's, and the server belongs to no lease.
    server = daemon.start_server()
    gpu.add_process(server, GIB // 4)
    gpu.add_process(two[0].pid, 3 * GIB, by_mps=True)
    wait_until(lambda: pool.lease(two[0].lease_id)["memory"]["used_bytes"] == 3 * GIB, "its memory is measured")
    foreign = subprocess.Popen(["/bin/sleep", "1000"])
    try:
        gpu.add_process(foreign.pid, GIB)
        listed = wait_until(lambda: pool.client.devices()[0]["unleased_processes"], "a stranger is seen")
        assert [one["pid"] for one in listed] == [foreign.pid]
    finally:
        foreign.kill()
        foreign.wait()
    pool.client.release(two[0].lease_id)
    pool.wait_state(two[0].lease_id, "draining")
    ends(pool, kernels, two[0])
    assert fake_mps_control.running == [daemon]
    ends(pool, kernels, two[1])
    assert (fake_mps_control.started, fake_mps_control.running) == ([daemon], [])
    assert not daemon.folder.exists()


def test_request_that_needs_more_than_mps_uses_another_mechanism(
    use_machine: Build, pool: PoolProcess, fake_mps_control: FakeMpsControl
) -> None:
    use_machine("1xH100-80GB")
    pool.start(BY_MPS)
    by_mps = active(pool, "quarter")
    resizable = active(pool, "quarter", resizable=True)
    assert [gpu_of(pool.lease(one))["mechanism"] for one in (by_mps, resizable)] == ["mps", "shared"]
    assert folder_of(pool, resizable) is None
    pool.client.resize(resizable, "eighth")
    assert gpu_of(pool.lease(resizable))["mechanism"] == "shared"
    assert len(fake_mps_control.running) == 1


def test_pool_uses_mps_only_if_it_can_and_says_why_not(
    use_machine: Build, pool: PoolProcess, fake_mps_control: FakeMpsControl
) -> None:
    machine = use_machine("1xH100-80GB")
    pool.start()
    assert gpu_of(pool.lease(active(pool)))["mechanism"] == "shared"
    pool.kill()
    (fake_mps_control.folder / PROGRAM).rename(fake_mps_control.folder / "hidden")
    pool.start(BY_MPS)
    if shutil.which(PROGRAM) is None:
        assert f"{PROGRAM} was not found" in str(pool.client.pool()["message"])
        assert mechanisms_of(pool.client.devices())[0] == ["exclusive", "shared"]
    (fake_mps_control.folder / "hidden").rename(fake_mps_control.folder / PROGRAM)
    wait_until(lambda: "mps" in mechanisms_of(pool.client.devices())[0], "it is there now")
    assert pool.client.pool()["message"] is None
    with machine.locked():
        machine.gpus[0].raw.compute_mode = EXCLUSIVE_PROCESS
    wait_until(lambda: "mps" not in mechanisms_of(pool.client.devices())[0], "one program only may use it")
    assert gpu_of(pool.lease(active(pool)))["mechanism"] == "shared"
    assert fake_mps_control.started == []


REQUEST = """
import hashlib, http.client, json, socket, sys
connection = http.client.HTTPConnection("pool")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(sys.argv[1])
body = {"size": "half", "token_sha256": hashlib.sha256(b"t").hexdigest()}
headers = {"User-Agent": "a program of others", "Content-Type": "application/json", "Idempotency-Key": "0" * 32}
connection.request("POST", "/v1/leases", json.dumps(body), headers)
print(connection.getresponse().read().decode(), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.geteuid() != 0 or not Path(PYTHON).exists(), reason="only root starts processes of others")
def test_second_user_has_a_daemon_of_their_own(
    use_machine: Build, pool: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_machine("1xH100-80GB")
    folder = Path(tempfile.mkdtemp(prefix="fastgpu-"))
    folder.chmod(0o755)
    control = FakeMpsControl(folder / "bin", PYTHON)
    monkeypatch.setenv("PATH", f"{control.folder}{os.pathsep}{os.environ['PATH']}")
    socket_path = folder / "run" / "pool.sock"
    pool.client = PoolClient(socket_path)
    pool.start(BY_MPS, "--system", f"--socket={socket_path}", f"--FastGPUPool.state_dir={folder / 'state'}")
    mine = active(pool)
    other = subprocess.Popen(
        [PYTHON, "-I", "-c", REQUEST, str(socket_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        user=OTHER_UID, group=OTHER_UID, extra_groups=[], text=True,
    )  # fmt: skip
    try:
        assert other.stdout is not None
        his = str(json.loads(other.stdout.readline())["id"])
        pool.wait_state(his, "active")
        assert folder_of(pool, mine) != folder_of(pool, his)
        assert [one.uid for one in control.running] == [0, OTHER_UID]
        with pytest.raises(Conflict, match="cannot be transferred"):
            pool.client.transfer(mine, "another")
    finally:
        other.communicate()
    pool.wait_state(his, "ended")
    assert [one.uid for one in control.running] == [0]
    pool.client.release(mine)
    pool.wait_state(mine, "ended")
    assert control.running == []
    pool.end()
    control.close()
    shutil.rmtree(folder)


def test_killed_daemon_ends_its_leases_with_a_reason(
    use_machine: Build, pool: PoolProcess, kernels: KernelHelper, half: str, fake_mps_control: FakeMpsControl
) -> None:
    use_machine("2xH100-80GB")
    pool.start(BY_MPS)
    kernel = kernels.start(half)
    pool.wait_state(kernel.lease_id, "active")
    whole = active(pool, "full")
    beside = active(pool, "half")
    (daemon,) = fake_mps_control.running
    daemon.kill()
    for lease_id in (kernel.lease_id, beside):
        pool.wait_state(lease_id, "ended")
        view = pool.lease(lease_id)
        assert value_of(view["end_reason"]) == "device_lost"
        assert "MPS control daemon of this GPU has ended or" in str(explanation_of(view))
    assert pool.state(whole) == "active"
    assert "MPS control daemon of this GPU has ended or" in kernel.run("1").stream("stderr")
    after = active(pool)
    assert folder_of(pool, after) != str(daemon.folder)
    assert not daemon.folder.exists()
    assert len(fake_mps_control.running) == 1


def test_daemon_is_adopted_after_the_pool_was_killed(
    use_machine: Build, pool: PoolProcess, fake_mps_control: FakeMpsControl
) -> None:
    use_machine("1xH100-80GB")
    pool.start(BY_MPS)
    first = active(pool)
    (daemon,) = fake_mps_control.running
    pool.kill()
    assert daemon.runs
    pool.start(BY_MPS)
    assert pool.state(first) == "active"
    beside = active(pool)
    assert folder_of(pool, beside) == folder_of(pool, first) == str(daemon.folder)
    pool.kill()
    pool.start()  # it was switched off: what there is goes on, and no lease is added
    assert folder_of(pool, beside) == str(daemon.folder)
    pool.client.release(beside)
    pool.wait_state(beside, "ended")
    assert gpu_of(pool.lease(active(pool)))["mechanism"] == "shared"
    assert (daemon.runs, len(fake_mps_control.started)) == (True, 1)
    pool.client.release(first)
    pool.wait_state(first, "ended")
    assert fake_mps_control.running == []


def test_pool_killed_during_a_daemons_start_adopts_it(
    use_machine: Build, pool: PoolProcess, fake_mps_control: FakeMpsControl
) -> None:
    use_machine("1xH100-80GB")
    pool.start(BY_MPS)
    lease_id = ask(pool)
    wait_until(lambda: fake_mps_control.started, "it is started")  # and noted perhaps, or not yet
    pool.kill()
    pool.start(BY_MPS)
    pool.wait_state(lease_id, "active")
    assert len(fake_mps_control.started) == 1
    pool.client.release(lease_id)
    pool.wait_state(lease_id, "ended")
    assert fake_mps_control.running == []


def test_daemon_that_hangs_at_start_is_tried_again(
    use_machine: Build, pool: PoolProcess, fake_mps_control: FakeMpsControl
) -> None:
    use_machine("1xH100-80GB")
    pool.start(BY_MPS)
    fake_mps_control.plan("hang")
    lease_id = ask(pool)
    wait_until(lambda: fake_mps_control.started, "it is started")
    assert pool.client.health() == {"status": "ok"}
    wait_until(
        lambda: "did not answer for 5 seconds" in str(explanation_of(pool.lease(lease_id))),
        "it has the reason why it waits",
    )
    assert pool.state(lease_id) in ("waiting", "preparing")
    assert pool.client.devices()[0]["health"]["state"] == "healthy"

    wait_until(lambda: fake_mps_control.running, "another one is started, which hangs")
    pool.kill()
    fake_mps_control.plan("serve")
    pool.start(BY_MPS)
    pool.wait_state(lease_id, "active")
    assert gpu_of(pool.lease(lease_id))["mechanism"] == "mps"
    assert len(fake_mps_control.running) == 1  # what hung is not left
    pool.client.release(lease_id)
    pool.wait_state(lease_id, "ended")
    assert fake_mps_control.running == []


def test_status_shows_mps(use_machine: Build, pool: PoolProcess, fake_mps_control: FakeMpsControl) -> None:
    use_machine("1xH100-80GB")
    pool.start(BY_MPS)
    active(pool)
    assert "mps, userspace" in fastgpu("status").stdout
    assert len(fake_mps_control.running) == 1
