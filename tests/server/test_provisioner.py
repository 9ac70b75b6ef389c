"""The provisioner's decisions, without a kernel: sizes, kept and lost leases, failed and cancelled launches."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpec

from fastgpu_jupyter.errors import Conflict, InvalidRequest, NoSuchDevice, PoolUnreachable
from fastgpu_jupyter.server import kernel_lease, repeat
from fastgpu_jupyter.server.ancestor_warning import warn_of_ancestor
from fastgpu_jupyter.server.launches import launches
from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
from fastgpu_jupyter.server.token_files import token_path
from fastgpu_jupyter.wire.variables import ANCESTOR_LEASES, KERNEL_ONLY, without_lease
from tests.helpers import alive
from tests.kernel.fakes import FakePool, active_view, lease_view
from tests.waiting import DEADLINE_S, async_wait_until, wait_until


class Pool(FakePool):
    """A pool that also lists leases and can be made slow or refusing."""

    path = Path("/nowhere/pool.sock")

    def __init__(self) -> None:
        super().__init__()
        self.refuse: Exception | None = None
        self.hold = threading.Event()
        self.hold.set()
        self.others: list[dict[str, Any]] = []

    def request(self, *size: Any, **more: Any) -> dict[str, Any]:
        self.hold.wait(DEADLINE_S)
        if self.refuse:
            raise self.refuse
        super().request(*size, **more)
        self.view = active_view(id=self.view["id"])
        return dict(self.view)

    def leases(self) -> list[dict[str, Any]]:
        return [self.view, *self.others]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    fake = Pool()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(kernel_lease, "ensure_pool", lambda timeout_s=15.0: fake)
    monkeypatch.setattr(kernel_lease, "PoolClient", lambda path, timeout_s=5.0: fake)
    return fake


def make(metadata: dict[str, Any] | None = None, argv: list[str] | None = None, **config: Any) -> FastGPUProvisioner:
    spec = KernelSpec(argv=argv or ["python", "-m", "fastgpu_jupyter.kernel"], metadata={"fastgpu": metadata or {}})
    return FastGPUProvisioner(kernel_id="kernel-1", kernel_spec=spec, parent=None, **config)


def launch(provisioner: FastGPUProvisioner) -> dict[str, Any]:
    return asyncio.run(provisioner.pre_launch(env={"JPY_SESSION_NAME": "a.ipynb"}))


@pytest.mark.parametrize(
    ("metadata", "config", "asked"),
    [
        ({}, {}, ("full", None)),
        ({"profile": "half"}, {}, ("half", None)),
        ({"profile": "half"}, {"profile": "quarter"}, ("quarter", None)),
        ({"profile": "half", "memory": "24GiB"}, {}, (None, 24 * 2**30)),
        ({"memory": "24GiB"}, {"memory": "1GiB"}, (None, 2**30)),
    ],
)
def test_size(pool: Pool, metadata: dict[str, Any], config: dict[str, Any], asked: tuple[Any, Any]) -> None:
    launch(make(metadata, **config))
    assert pool.calls == [("request", *asked, "kernel-1", "a.ipynb")]


@pytest.mark.parametrize(("named", "asked"), [("quarter", "quarter"), (" 24GiB ", "24GiB"), ("", "half")])
def test_launch_without_a_server_requests_the_size_of_the_environment(pool: Pool, named: str, asked: str) -> None:
    provisioner = make({"profile": "half"})
    asyncio.run(provisioner.pre_launch(env={"JPY_SESSION_NAME": "a.ipynb", "FASTGPU_SIZE": named}))
    assert pool.calls == [("request", asked, None, "kernel-1", "a.ipynb")]


def test_launch_passes_the_options_of_the_kernelspec(pool: Pool) -> None:
    launch(make({"profile": "half", "priority": "low", "hold": True, "cpu": 2, "host-memory": "1GiB", "gate": True}))
    wanted = {"priority": "low", "retention": "hold", "cpu_milli": 2000, "host_memory_bytes": 2**30}
    assert pool.calls == [("request", "half", None, "kernel-1", "a.ipynb", wanted)]


def test_launch_without_a_gate_requests_an_unparkable_lease(pool: Pool) -> None:
    launch(make({"parkable": True}, argv=["R"]))
    assert pool.calls[0] == ("request", "full", None, "kernel-1", "a.ipynb", {"parkable": False})


def test_launch_with_an_unknown_option_is_refused(pool: Pool) -> None:
    with pytest.raises(InvalidRequest, match="There is no option 'priorty'; use gate, profile"):
        launch(make({"priorty": "low"}))
    assert pool.calls == []


def test_gate_defaults_to_the_kernels_command() -> None:
    assert make().gate
    assert not make(argv=["R"]).gate
    assert make({"gate": True}, argv=["R"]).gate
    assert not make({"gate": False}).gate


def test_launch_sets_environment_and_token_file(pool: Pool) -> None:
    provisioner = make()
    env = launch(provisioner)["env"]
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert env["FASTGPU_GRANTED"] == '{"CUDA_VISIBLE_DEVICES": "GPU-1"}'
    assert env["FASTGPU_HIDDEN"] == '{"CUDA_VISIBLE_DEVICES": ""}'
    assert env["FASTGPU_LEASE"] == "lease-2"
    assert env["FASTGPU_KERNEL_ID"] == "kernel-1"
    assert env["FASTGPU_SOCKET"] == str(pool.path)
    token = Path(env["FASTGPU_TOKEN_FILE"]).read_text()
    assert token not in str(env)
    provisioner.connection_info = {}
    info = asyncio.run(provisioner.get_provisioner_info())
    assert info["lease_id"] == "lease-2"
    assert info["token_file"] == env["FASTGPU_TOKEN_FILE"]
    assert token not in str(info)


def test_launch_puts_the_lease_before_the_variables_of_the_kernelspec(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    provisioner = make()
    provisioner.kernel_spec.env = {"CUDA_VISIBLE_DEVICES": "1", "OMP_NUM_THREADS": "2", "FASTGPU_LEASE": "other"}
    env = launch(provisioner)["env"]
    assert (env["CUDA_VISIBLE_DEVICES"], env["OMP_NUM_THREADS"], env["FASTGPU_LEASE"]) == ("GPU-1", "2", "lease-2")
    assert without_lease(env)["CUDA_VISIBLE_DEVICES"] == "0,1", "what the server leaves to a pool"


def test_launch_without_a_gate_leaves_child_processes_no_right_to_the_lease(pool: Pool) -> None:
    env = launch(make({"gate": False}))["env"]
    assert env["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert env[ANCESTOR_LEASES].split()[-1] == "lease-2"
    assert not set(env).intersection(KERNEL_ONLY)


def test_restart_keeps_the_lease_and_cleanup_releases_it_once(pool: Pool) -> None:
    provisioner = make()
    launch(provisioner)
    asyncio.run(provisioner.cleanup(restart=True))
    launch(provisioner)
    assert [call[0] for call in pool.calls] == ["request"]
    for _ in range(2):
        asyncio.run(provisioner.cleanup(restart=False))
    assert [call[0] for call in pool.calls] == ["request", "release"]


def test_automatic_restart_after_a_lease_over_its_limit_fails_once(pool: Pool) -> None:
    provisioner = make()
    launch(provisioner)
    pool.view = active_view(id="lease-2", state="ended", end_reason="holder_died")
    launch(provisioner)
    pool.view = active_view(id="lease-2", state="ended", end_reason="over_limit")
    with pytest.raises(Conflict, match="used more GPU memory than its limit"):
        launch(provisioner)
    launch(provisioner)
    assert [call[0] for call in pool.calls] == ["request"] * 3


def test_requested_restart_after_a_lost_lease_requests_another(pool: Pool) -> None:
    provisioner = make()
    launch(provisioner)
    pool.view = active_view(id="lease-2", state="ended", end_reason="device_lost")
    asyncio.run(provisioner.shutdown_requested(restart=True))
    launch(provisioner)
    assert [call[0] for call in pool.calls] == ["request", "request"]


def test_lease_requested_by_the_kernel_is_kept_and_released(pool: Pool) -> None:
    provisioner = make()
    launch(provisioner)
    pool.view = active_view(id="lease-2", state="ended", end_reason="released")
    pool.others = [lease_view(id="lease-9"), lease_view(id="foreign", kernel_id="kernel-2")]
    assert launch(provisioner)["env"]["FASTGPU_LEASE"] == "lease-9"
    asyncio.run(provisioner.cleanup(restart=False))
    assert {call[1] for call in pool.calls if call[0] == "release"} == {"lease-9"}


@pytest.mark.parametrize("error", [InvalidRequest("No such profile."), NoSuchDevice("Too large.")])
def test_refused_launch_leaves_no_token_and_no_launch(pool: Pool, error: Exception) -> None:
    pool.refuse = error
    provisioner = make()
    with pytest.raises(type(error), match=str(error)):
        launch(provisioner)
    assert provisioner not in launches
    assert not list(token_path("x").parent.iterdir())


def test_failed_start_of_the_process_releases_the_lease(pool: Pool) -> None:
    provisioner = make()
    launch(provisioner)
    with pytest.raises(FileNotFoundError):
        asyncio.run(provisioner.launch_kernel(["/no/such/program"], env={}))
    assert [call[0] for call in pool.calls] == ["request", "release"]


def test_cancelled_launch_releases_a_lease_granted_later(pool: Pool) -> None:
    pool.hold.clear()
    provisioner = make()

    async def scenario() -> None:
        task = asyncio.create_task(provisioner.pre_launch(env={}))
        await async_wait_until(provisioner._lease.lock.locked, "the launch requests its lease")
        task.cancel()
        await asyncio.sleep(0)
        pool.hold.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert [call[0] for call in pool.calls] == ["request", "release"]


def test_failed_binding_is_repeated(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    provisioner = make()
    launch(provisioner)
    answers = iter([False, True])
    bound: list[int | None] = []
    done = threading.Event()

    def bind(pid: int | None) -> bool:
        bound.append(pid)
        answer = next(answers)
        if answer:
            done.set()
        return answer

    monkeypatch.setattr(provisioner._lease, "bind", bind)
    monkeypatch.setattr(repeat, "PAUSE_FIRST_S", 0.001)
    provisioner.pid = 77
    asyncio.run(provisioner.post_launch())
    assert done.wait(DEADLINE_S)
    assert bound == [77, 77]
    asyncio.run(provisioner.cleanup())


def test_provisioner_adopts_a_running_kernel(pool: Pool) -> None:
    import subprocess
    import sys

    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        first = make()
        launch(first)
        first.connection_info = {}
        first.pid = child.pid
        info = asyncio.run(first.get_provisioner_info())
        second = make()
        asyncio.run(second.load_provisioner_info(info))
        assert second.has_process
        assert asyncio.run(second.poll()) is None
        assert second.lease_id == first.lease_id
        assert second._lease.token == first._lease.token
        asyncio.run(second.kill())
        assert asyncio.run(second.wait()) is not None
        wait_until(lambda: not alive(child.pid), "it ends")


class Ancestors:
    """A client that knows leases, or refuses."""

    def __init__(self, views: list[dict[str, Any]] | Exception) -> None:
        self.views = views

    def leases(self) -> list[dict[str, Any]]:
        if isinstance(self.views, Exception):
            raise self.views
        return self.views


def above(**changes: Any) -> dict[str, Any]:
    """The lease of a kernel above."""
    return active_view(**{"id": "outer", "kernel_id": "outer-kernel", **changes})


@pytest.mark.parametrize(
    ("own", "views", "says"),
    [
        (lease_view(), [above(notebook="outer.ipynb")], "of outer.ipynb, holds a GPU. If its cell waits"),
        (lease_view(), [above(notebook=None)], "The kernel that started this one holds a GPU."),
        (lease_view(), [above(state="ended"), above(id="its-next", notebook="b.ipynb")], "of b.ipynb, holds a GPU."),
        (lease_view(), [above(state="parked"), active_view(id="of-another-kernel")], ""),
        (lease_view(), [active_view()], ""),
        (lease_view(), PoolUnreachable("No pool manager answers."), ""),
        (active_view(), [above()], ""),
    ],
)
def test_launch_warns_where_the_gpu_is_held_by_a_kernel_above(
    own: Any, views: Any, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    client: Any = Ancestors(views)
    asyncio.run(warn_of_ancestor(client, own, {ANCESTOR_LEASES: "outer"}, logging.getLogger("test-ancestors")))
    assert says in caplog.text
    assert bool(says) == bool(caplog.records)


@pytest.mark.parametrize(
    ("view", "says"),
    [
        (lease_view(position=2), "at position 2 in the queue. every GPU is in use. The time limit"),
        (lease_view(state="preparing", position=None), "while the notebook's GPU was being made ready"),
        (active_view(), None),
    ],
)
def test_time_out_that_ends_a_kernel_gets_a_note_on_its_wait(
    view: Any, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    provisioner = make()
    monkeypatch.setattr(provisioner._lease, "view", lambda: view)
    error = TimeoutError("A cell timed out")

    async def end_kernel() -> None:
        try:
            raise error
        finally:
            await provisioner.send_signal(signal.SIGINT)

    with pytest.raises(TimeoutError):
        asyncio.run(end_kernel())
    notes = getattr(error, "__notes__", [])
    assert len(notes) == (says is not None)
    assert (says or "") in "".join(notes)
