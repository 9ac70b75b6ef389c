"""Kernels on hosts of a cluster, without a cluster: what the provisioner asks of the pool, and makes of its answers."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq.asyncio
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_server.services.kernels.kernelmanager import ServerKernelManager

from fastgpu_jupyter.errors import Conflict, FastGPUError, HostFault, LimitReached, Message
from fastgpu_jupyter.server import kernel_lease, lease_mirror, remote_launch
from fastgpu_jupyter.server.kernel_request import RequestingProvisioner
from fastgpu_jupyter.server.lease_mirror import LeaseMirror
from fastgpu_jupyter.server.provisioner import FastGPUProvisioner
from fastgpu_jupyter.server.remote_launch import command_on_host
from fastgpu_jupyter.server.remote_process import UNKNOWN_END, RemoteProcess
from fastgpu_jupyter.server.token_files import write_token_file
from fastgpu_jupyter.wire.options import ParsedRequest
from fastgpu_jupyter.wire.variables import CLUSTER, LEASE, TOKEN_FILE
from tests.kernel.fakes import FakePool, active_view, changed, lease_view, message
from tests.waiting import DEADLINE_S, async_wait_until

FASTGPU = ["python", "-m", "fastgpu_jupyter.kernel", "-f", "{connection_file}"]
PORTS = {f"{name}_port": 50000 + number for number, name in enumerate(("shell", "iopub", "stdin", "control", "hb"))}
RUNNING, ENDED = "running", "ended"


def job(kernel: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """The job of a lease."""
    return {
        "engine": "slurm", "job_id": "7", "job_name": "fgpu-1", "host": "n1", "partition": "gpu", "account": "",
        "qos": "", "constraint": "", "time_limit_ms": None, "ends_at": None, "state": "running", "reason": None,
        "position": None, "starts_at": None, "message": None, "kernel": kernel, **changes,
    }  # fmt: skip


def kernel(state: str, pid: int, exit_code: int | None = None) -> dict[str, Any]:
    """The kernel in that job."""
    return {"state": state, "pid": pid, "exit_code": exit_code, "generation": pid - 70}


class ClusterPool(FakePool):
    """A pool in engine mode whose engine grants at once, unless ``queued``."""

    def __init__(self) -> None:
        super().__init__()
        self.queued = False
        self.fails: FastGPUError | None = None
        self.starts: list[dict[str, Any]] = []
        self.signals: list[int] = []

    def request(self, *size: Any, **more: Any) -> dict[str, Any]:
        super().request(*size, **more)
        self.view = (lease_view if self.queued else active_view)(id=self.view["id"], cluster=job(), environment={})
        if self.queued:
            self.view["cluster"] = job(
                state="queued", position=3, reason=message("pending.capacity", "The GPUs of the partition are in use.")
            )
        return dict(self.view)

    def leases(self) -> list[dict[str, Any]]:
        return [self.view]

    def lease(self, lease_id: str, *_: Any, token: str | None = None) -> dict[str, Any]:
        return super().lease(lease_id, token=token)

    def start_kernel(self, lease_id: str, token: str, argv: Any, env: Any, **more: Any) -> dict[str, Any]:
        if self.fails is not None:
            raise self.fails
        self.starts.append({"lease_id": lease_id, "token": token, "argv": argv, "env": env, **more})
        pid = 70 + len(self.starts)
        keys = {"curve_publickey": "p" * 40, "curve_secretkey": "s" * 40}
        return {
            "transport": "tcp", "ip": "10.0.0.1", **PORTS, "key": more["key"], "signature_scheme": "hmac-sha256",
            **keys, "pid": pid, "generation": pid - 70,
        }  # fmt: skip

    def signal_kernel(self, _lease_id: str, _token: str, signum: int) -> None:
        if self.fails is not None:
            raise self.fails
        self.signals.append(signum)

    def say(self, kind: str = "changed", **changes: Any) -> None:
        """Send the lease, with ``changes``, on the event stream."""
        self.view = changed(self.view, **changes)
        self.stream.messages.put({"type": kind, "pool": {"id": self.pool_id}, "leases": [self.view]})


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterPool]:
    fake, mirror = ClusterPool(), LeaseMirror()
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("SITE", "lab")  # what the kernelspec sets is sent, also where this process has it
    monkeypatch.setattr(kernel_lease, "ensure_pool", lambda timeout_s=15.0: fake)
    monkeypatch.setattr(kernel_lease, "PoolClient", lambda path, timeout_s=5.0: fake)
    monkeypatch.setattr(lease_mirror, "ensure_pool", lambda: fake)
    monkeypatch.setattr(remote_launch, "leases", mirror)
    monkeypatch.setattr(remote_launch, "END_S", 0.0)
    yield fake
    zmq.asyncio.Context.instance().destroy(linger=0)
    for lease_id in ("lease-1", "lease-2"):
        mirror.unfollow(lease_id)
    readers = [thread for thread in threading.enumerate() if thread.name == "fastgpu-leases"]
    for _ in readers:  # each has been stopped and may still wait for a message
        fake.stream.messages.put(None)
    for reader in readers:
        reader.join(DEADLINE_S)


def make(
    argv: list[str] | None = None, kind: type[AsyncKernelManager] = AsyncKernelManager, **metadata: Any
) -> AsyncKernelManager:
    named = {"kernel_provisioner": {"provisioner_name": "fastgpu-provisioner"}, "fastgpu": metadata}
    manager = kind(kernel_id="kernel-1", context=zmq.asyncio.Context.instance())
    manager._kernel_spec = KernelSpec(
        argv=argv or FASTGPU, metadata=named, env={"SITE": "lab"}, language="python", display_name="P"
    )
    return manager


def _connection_file(manager: AsyncKernelManager) -> dict[str, Any]:
    return dict(json.loads(Path(manager.connection_file).read_text()))


def of(manager: AsyncKernelManager) -> FastGPUProvisioner:
    assert isinstance(manager.provisioner, FastGPUProvisioner)
    return manager.provisioner


async def start(manager: AsyncKernelManager) -> None:
    await manager.start_kernel(env={"JPY_SESSION_NAME": "a.ipynb"}, cwd="/home/ada")


def test_start_on_a_cluster_sends_the_command_and_the_token_to_the_host(pool: ClusterPool) -> None:
    async def run() -> None:
        manager = make(cluster={"python": "/opt/env/bin/python"})
        await start(manager)
        (sent,) = pool.starts
        assert sent["argv"][0] == "/opt/env/bin/python"
        assert sent["argv"][-2:] == ["-f", "{connection_file}"]
        assert (sent["cwd"], sent["restart"]) == ("/home/ada", False)
        env = sent["env"]
        assert (env["SITE"], env["JPY_SESSION_NAME"], env[LEASE]) == ("lab", "a.ipynb", "lease-2")
        assert (env[TOKEN_FILE], env["FASTGPU_SOCKET"], env[CLUSTER]) == ("{folder}/token", "{relay}", "end")
        assert "PATH" not in env
        assert sent["files"] == {"token": sent["token"]}
        assert sent["token"] not in json.dumps([sent["argv"], env])
        # Clients of Jupyter connect to the host with what its kernel has.
        assert (manager.ip, manager.shell_port, manager.curve_publickey) == ("10.0.0.1", 50000, b"p" * 40)
        written = _connection_file(manager)
        assert (written["ip"], written["iopub_port"]) == ("10.0.0.1", 50001)
        assert await manager.is_alive()
        assert of(manager).pid is None  # it is a number of another host
        assert all(call[0] != "bind" for call in pool.calls)

    asyncio.run(run())


def test_kernel_ends_when_the_pool_says_so_and_not_when_it_is_silent(pool: ClusterPool) -> None:
    async def run() -> None:
        manager = make()
        await start(manager)
        process: Any = of(manager).process
        pool.say("snapshot", cluster=job(None))
        pool.say(cluster=job(kernel(ENDED, 70, 1)))  # of an earlier start
        pool.say(cluster=job(kernel(RUNNING, 71)))
        pool.stream.messages.put(None)  # the stream breaks
        pool.say("snapshot", cluster=job(None))  # its agent has not reported since the pool manager was started
        await async_wait_until(pool.stream.messages.empty, "the messages are read")
        assert process.poll() is None
        pool.say(cluster=job(kernel(ENDED, 71, 3)))
        await async_wait_until(lambda: process.poll() is not None, "the end is noticed")
        assert process.poll() == 3

    asyncio.run(run())


def test_lease_that_the_same_pool_has_forgotten_has_ended(pool: ClusterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = LeaseMirror()
    monkeypatch.setattr(remote_launch, "leases", mirror)
    mirror.follow("lease-1")
    pool.say("snapshot")
    pool.stream.messages.put({"type": "snapshot", "pool": {"id": "another-pool"}, "leases": []})
    process = RemoteProcess(mirror, "lease-1", 1)
    pool.stream.messages.put({"type": "usage", "leases": []})
    asyncio.run(async_wait_until(pool.stream.messages.empty, "the messages are read"))
    assert process.poll() is None  # the other pool knows nothing of it
    pool.stream.messages.put({"type": "snapshot", "pool": {"id": "a-pool"}, "leases": []})
    asyncio.run(async_wait_until(lambda: process.poll() is not None, "the end is noticed"))
    assert process.poll() == UNKNOWN_END
    mirror.unfollow("lease-1")


def test_restart_is_in_the_same_job_with_the_same_key(pool: ClusterPool) -> None:
    async def run() -> None:
        manager = make()
        await start(manager)

        async def end_by(signum: int) -> None:
            await async_wait_until(lambda: signum in pool.signals, "the signal is sent")
            pool.say(cluster=job(kernel(ENDED, 71, -signum)))

        ending = asyncio.create_task(end_by(signal.SIGKILL))
        await manager.restart_kernel(now=True)
        await ending
        first, second = pool.starts
        assert (first["lease_id"], first["key"]) == (second["lease_id"], second["key"])
        assert second["restart"]
        assert [call[0] for call in pool.calls if call[0] in ("request", "release")] == ["request"]
        pool.say(cluster=job(kernel(ENDED, 71, -9)))  # what is known of the process before
        await async_wait_until(pool.stream.messages.empty, "the messages are read")
        assert await manager.is_alive()

    asyncio.run(run())


def is_over(manager: AsyncKernelManager) -> bool:
    view = vars(remote_launch)["leases"].view(str(of(manager)._lease.lease_id))
    return view is not None and view["state"] == ENDED


class _Browser:
    """A browser's websocket, to which a server says what becomes of the kernel."""

    def __init__(self, manager: Any) -> None:
        self.heard: list[str] = []
        manager.add_restart_callback(self.on_kernel_restarted, "restart")
        manager.add_restart_callback(self.on_restart_failed, "dead")

    def on_kernel_restarted(self) -> None:
        self.heard.append("restarting")

    def on_restart_failed(self) -> None:
        self.heard.append("dead")


@pytest.mark.parametrize("first", ["the lease", "the kernel"])
def test_browsers_hear_of_a_lost_kernel_and_of_no_restart(
    pool: ClusterPool, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    async def run() -> None:
        manager: Any = make(kind=ServerKernelManager)
        await start(manager)
        manager.start_restarter()
        browser, restarter = _Browser(manager), manager._restarter
        if first == "the kernel":
            pool.say(cluster=job(kernel(ENDED, 71, -signal.SIGTERM)))
            process: Any = of(manager).process
            await async_wait_until(lambda: process.poll() is not None, "the end is noticed")
            await restarter.poll()  # the job has not ended yet, as far as is known
        pool.say(state=ENDED, end_reason="allocation_lost")
        await async_wait_until(pool.stream.messages.empty, "the messages are read")
        await async_wait_until(lambda: is_over(manager), "the end of the lease is noticed")
        await restarter.poll()
        assert browser.heard == ["dead"]
        assert manager.execution_state == "dead"
        assert "The GPU lease of this notebook ended" in manager.reason
        assert not await manager.is_alive()

    monkeypatch.setattr(RequestingProvisioner, "in_server", True)
    asyncio.run(run())


def test_kernel_that_was_killed_alone_is_restarted_in_its_job(
    pool: ClusterPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        manager: Any = make(kind=ServerKernelManager)
        await start(manager)
        pool.say(cluster=job(kernel(ENDED, 71, -signal.SIGKILL)))
        process: Any = of(manager).process
        await async_wait_until(lambda: process.poll() is not None, "the end is noticed")
        assert await manager.is_alive()  # its job may be about to end
        monkeypatch.setattr(remote_launch, "LOSS_S", 0.0)
        assert not await manager.is_alive()

    monkeypatch.setattr(RequestingProvisioner, "in_server", True)
    asyncio.run(run())


def test_automatic_restart_after_the_end_of_the_job_requests_no_other(pool: ClusterPool) -> None:
    async def run() -> None:
        manager = make()
        await start(manager)
        pool.say(state=ENDED, end_reason="allocation_lost")
        process: Any = of(manager).process
        await async_wait_until(lambda: process.poll() is not None, "the end is noticed")
        with pytest.raises(Conflict, match="The GPU lease of this notebook ended"):
            await manager.restart_kernel(now=True)
        assert [call[0] for call in pool.calls if call[0] == "request"] == ["request"]
        await of(manager).shutdown_requested(restart=True)  # the user restarts it
        await start(manager)
        assert [call[0] for call in pool.calls if call[0] == "request"] == ["request", "request"]
        assert [one["restart"] for one in pool.starts] == [False, False]

    asyncio.run(run())


def test_start_without_a_job_in_time_cancels_the_request_and_says_where_it_stood(pool: ClusterPool) -> None:
    pool.queued = True
    manager = make()
    manager.config.FastGPUProvisioner.cluster_wait_s = 0.0
    with pytest.raises(LimitReached, match=r"position 3 in its queue.*The request was cancelled"):
        asyncio.run(start(manager))
    assert pool.calls[-1][:2] == ("release", "lease-2")
    assert not Path(manager.connection_file).exists()


def test_start_with_a_lease_of_the_browser_requests_none(pool: ClusterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = ParsedRequest("full", {}, "lease-1")
    monkeypatch.setattr(RequestingProvisioner, "in_server", True)
    monkeypatch.setattr("fastgpu_jupyter.server.kernel_request.intents.take", lambda *_: chosen)
    write_token_file("kernel-1", "the-token")
    pool.view = active_view(cluster=job(), environment={})
    asyncio.run(start(make()))
    assert (pool.starts[0]["lease_id"], pool.starts[0]["token"]) == ("lease-1", "the-token")
    pool.view = changed(pool.view, state=ENDED, end_reason="allocation_lost")
    with pytest.raises(Exception, match="The GPU lease of this notebook ended"):
        asyncio.run(start(make()))
    assert all(call[0] != "request" for call in pool.calls)


@pytest.mark.parametrize(
    ("error", "state", "says"),
    [
        (
            HostFault(Message.of("cluster.kernel_failed", output="No module named ipykernel\n")),
            "active",
            "which was released. It wrote: No module named ipykernel$",
        ),
        (HostFault(Message.of("cluster.agent_gone")), "active", "ended before it answered"),
        (HostFault(Message.of("cluster.agent_gone")), ENDED, "The GPU lease of this notebook ended"),
    ],
)
def test_start_that_fails_says_why_and_releases_the_lease(
    pool: ClusterPool, error: FastGPUError, state: str, says: str
) -> None:
    pool.fails = error
    view = ClusterPool.request

    def request(*size: Any, **more: Any) -> dict[str, Any]:
        granted = view(pool, *size, **more)
        if state == ENDED:
            pool.view = changed(pool.view, state=ENDED, end_reason="allocation_lost")
        return granted

    pool.request = request  # type: ignore[method-assign]
    with pytest.raises(FastGPUError, match=says):
        asyncio.run(start(make()))
    assert pool.calls[-1][:2] == ("release", "lease-2")


def test_interrupt_that_does_not_get_there_is_an_error_and_a_shutdown_goes_on(pool: ClusterPool) -> None:
    async def run() -> None:
        manager = make()
        await start(manager)
        await manager.interrupt_kernel()
        assert pool.signals == [signal.SIGINT]
        pool.fails = HostFault("The host does not answer.")
        with pytest.raises(HostFault, match="does not answer"):
            await manager.interrupt_kernel()
        manager.shutting_down = True
        await manager.interrupt_kernel()
        await of(manager).kill()
        await of(manager).cleanup(restart=False)
        assert pool.calls[-1][:2] == ("release", "lease-2")

    asyncio.run(run())


def test_running_kernel_whose_job_has_ended_gets_no_other_lease(pool: ClusterPool) -> None:
    async def run() -> None:
        manager = make()
        await start(manager)
        assert (await of(manager).request_lease(ParsedRequest("half", {})))["id"] == "lease-2"
        pool.view = changed(pool.view, state=ENDED, end_reason="released")
        with pytest.raises(Conflict, match=r"cluster\.lease_needs_restart"):
            await of(manager).request_lease(ParsedRequest("half", {}))

    asyncio.run(run())


def test_command_on_the_host_runs_the_gate_where_it_is_installed() -> None:
    ours = command_on_host(["/usr/bin/python", "-X", "dev", "-m", "fastgpu_jupyter.kernel", "-f", "c"], None)
    assert ours[:4] == ["/usr/bin/python", "-X", "dev", "-c"]
    assert "ipykernel_launcher" in ours[4]
    assert ours[5:] == ["-f", "c"]
    assert command_on_host(["R", "--slave"], "/opt/R") == ["/opt/R", "--slave"]
