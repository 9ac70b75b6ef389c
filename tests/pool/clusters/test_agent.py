"""The duties of an agent, each with real processes: agents, kernels and what kills them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import zmq

from fastgpu_jupyter.errors import Conflict, HostFault, NotFound
from fastgpu_jupyter.pool.clusters import rendezvous
from fastgpu_jupyter.pool.clusters.agent_messages import PORT_NAMES
from fastgpu_jupyter.pool.clusters.rendezvous import Rendezvous
from tests.nvml.machine import FakeMachine
from tests.nvml.stub import Stub
from tests.pool.clusters.agents import KEY, NAME, SMALL_KERNEL, Cluster, cluster_in, facts_of
from tests.pool.clusters.bad_network import BadNetwork
from tests.waiting import DEADLINE_S, async_wait_until, wait_until

pytestmark = pytest.mark.slow
#: Starts over a network that cuts connections.
STARTS = 6
Story = Callable[[Cluster], Awaitable[None]]


def play(folder: Path, story: Story, **options: Any) -> None:
    """Run a story with an open rendezvous, and end what it leaves."""

    async def run() -> None:
        async with cluster_in(folder, **options) as cluster:
            await story(cluster)

    asyncio.run(run())


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_end(*pids: int) -> None:
    """Wait until processes have ended."""
    wait_until(lambda: not any(map(alive, pids)), "the processes have ended")


async def exit_status(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of a process and return its status."""
    await async_wait_until(lambda: process.poll() is not None, "the process has ended")
    return process.returncode


@pytest.fixture
def orphans() -> Iterator[list[int]]:
    """Processes that a broken agent would leave."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_agent_started_kernel_has_ports_and_facts(tmp_path: Path) -> None:
    """Ports 0 are written back; files are private; session, signals, parent and environment are a kernel's own."""

    async def story(cluster: Cluster) -> None:
        environ = {
            "SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1", "GPU_DEVICE_ORDINAL": "0", "SLURM_JWT": "secret",
            "JUPYTERHUB_API_TOKEN": "secret", "FASTGPU_LEASE": "another", "JPY_PARENT_PID": "1",
            "SLURMD_NODENAME": "n1",
            "PYTHONBREAKPOINT": "ray.util.rpdb.set_trace", "RAY_AUTH_TOKEN": "secret", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        spec = cluster.rendezvous.expect(NAME)
        # A parent that blocks and ignores SIGINT, as a Ray worker and a shell's background job do.
        process = cluster.run_agent(spec, environ, preexec_fn=block_and_ignore_interrupts)
        await cluster.heard(lambda: cluster.events.hellos, "the agent is there")
        hello = cluster.events.hellos[0][1]
        assert (hello.host, hello.address, hello.job_id, hello.pid) == ("n1", "127.0.0.1", "7", process.pid)
        assert hello.variables["SLURM_JOB_GPUS"] == "1"
        given = {"CUDA_VISIBLE_DEVICES": "5", "JPY_SESSION_NAME": "a.ipynb", "FASTGPU_LEASE": "mine"}
        started = await cluster.start(argv=SMALL_KERNEL, env=given)
        facts = facts_of(cluster)
        assert started.pid == facts["pid"] == facts["group"] == facts["session"]
        assert all(started.connection[name] > 0 for name in PORT_NAMES)
        assert (started.connection["ip"], started.connection["key"]) == ("127.0.0.1", KEY)
        assert not any(facts["connection"][name] for name in PORT_NAMES), "ports were picked before"
        assert (facts["file_mode"], facts["folder_mode"]) == (0o600, 0o700)
        assert (facts["blocked"], facts["death_signal"]) == (0, signal.SIGKILL)
        assert not facts["ignored"] & 1 << (signal.SIGINT - 1)
        kept = facts["environ"]
        assert kept["JPY_PARENT_PID"] == str(process.pid)
        assert (kept["CUDA_VISIBLE_DEVICES"], kept["FASTGPU_LEASE"]) == ("0", "mine")
        assert "secret" not in kept.values()
        assert not {"PYTHONBREAKPOINT", "OMP_NUM_THREADS"} & set(kept)
        await cluster.rendezvous.release(NAME)
        assert await exit_status(process) == 0
        await cluster.heard(lambda: cluster.events.byes == [(NAME, "released")], "the agent said why it ends")
        assert not alive(started.pid)
        assert not list((tmp_path / "tmp").iterdir()), "the agent's folder is left"

    play(tmp_path, story)


def block_and_ignore_interrupts() -> None:
    """Block and ignore SIGINT in a process that is about to be an agent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def test_agent_without_devices_hides_all(tmp_path: Path) -> None:
    """A job to which the engine gave no device shows its kernel none, rather than every device of the node."""

    async def story(cluster: Cluster) -> None:
        await cluster.agent()
        await cluster.start(argv=SMALL_KERNEL)
        assert facts_of(cluster)["environ"]["CUDA_VISIBLE_DEVICES"] == ""

    play(tmp_path, story)


def test_agent_signals_restarts_and_ends_kernel_in_its_group(tmp_path: Path) -> None:
    """An interrupt reaches the kernel; a restart keeps ports and keys; a deaf group is killed after 2 s."""

    async def story(cluster: Cluster) -> None:
        await cluster.agent()
        first = await cluster.start(argv=(*SMALL_KERNEL, "child"), encryption="required")
        child = facts_of(cluster)["child"]
        await cluster.rendezvous.signal(NAME, signal.SIGINT)
        await cluster.heard(lambda: facts_of(cluster)["interrupts"] == 1, "the kernel was interrupted")
        with pytest.raises(Conflict):
            await cluster.start(argv=SMALL_KERNEL, key="0" * 32)
        again = await cluster.start(argv=SMALL_KERNEL)
        assert again == first, "the same start was carried out twice"
        curve = first.connection["curve_publickey"], first.connection["curve_secretkey"]
        ports = {name: value for name, value in first.connection.items() if name.endswith("_port")}
        argv = (*SMALL_KERNEL, "deaf", "child")
        second = await cluster.start(argv=argv, ports=ports, curve=curve, restart=True)
        assert (second.connection, second.generation) == (first.connection, 2)
        assert second.pid != first.pid
        wait_for_end(first.pid, child)
        deaf_child = facts_of(cluster)["child"]
        await cluster.rendezvous.end_kernel(NAME)
        await cluster.heard(lambda: len(cluster.events.exits) == 2, "both ends are reported")
        assert [code for _, code, _ in cluster.events.exits] == [-signal.SIGTERM, -signal.SIGKILL]
        wait_for_end(second.pid, deaf_child)
        with pytest.raises(Conflict):
            await cluster.rendezvous.signal(NAME, signal.SIGINT)

    play(tmp_path, story)


def test_agent_failed_start_shows_output(tmp_path: Path) -> None:
    """A kernel that ends at its start, is silent, or is no program: the error has the end of its output."""

    async def story(cluster: Cluster) -> None:
        await cluster.agent()
        with pytest.raises(HostFault) as failed:
            await cluster.start(argv=(sys.executable, "-I", "-S", "-m", "no_such_kernel"))
        assert "No module named no_such_kernel" in str(failed.value.message.params["output"])
        with pytest.raises(HostFault) as failed:
            await cluster.start(argv=("/nonexistent/python",))
        assert "/nonexistent/python" in str(failed.value.message.params["output"])
        with pytest.raises(HostFault) as failed:
            await cluster.start(argv=(*SMALL_KERNEL, "slow", "talk"), timeout_s=0.5)
        assert failed.value.message.code == "cluster.kernel_silent"
        output = str(failed.value.message.params["output"])
        assert (len(output), output.endswith("last words\n")) == (2000, True)
        silent = facts_of(cluster)["pid"]
        # The next start waits for the end of that one.
        assert (await cluster.start(argv=SMALL_KERNEL)).connection["shell_port"] > 0
        assert not alive(silent)

    play(tmp_path, story)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_agent_end_ends_kernel(tmp_path: Path, number: signal.Signals, orphans: list[int]) -> None:
    """A killed agent takes its kernel along; one that is asked to end says so, and leaves no file."""

    async def story(cluster: Cluster) -> None:
        process = await cluster.agent()
        started = await cluster.start(argv=SMALL_KERNEL)
        orphans.append(started.pid)
        process.send_signal(number)
        wait_for_end(started.pid)
        if number == signal.SIGTERM:
            assert await exit_status(process) == 0
            await cluster.heard(lambda: cluster.events.byes == [(NAME, "terminated")], "the agent said why it ends")
            assert not list((tmp_path / "tmp").iterdir())

    play(tmp_path, story)


def test_agent_lost_parent_ends(tmp_path: Path, orphans: list[int]) -> None:
    """An agent whose parent, the engine's process of its job, is killed ends with its kernel."""

    async def story(cluster: Cluster) -> None:
        spec = cluster.folder / "spec"
        spec.write_bytes(cluster.rendezvous.expect(NAME))
        program = cluster.program()
        command = f"{sys.executable} -s {program} <{spec} & echo; wait"
        parent = subprocess.Popen(["/bin/sh", "-c", command], env=cluster.environ({}))
        cluster.processes.append(parent)
        await cluster.heard(lambda: cluster.events.hellos, "the agent is there")
        agent = cluster.events.hellos[0][1].pid
        started = await cluster.start(argv=SMALL_KERNEL)
        orphans.extend((agent, started.pid))
        parent.kill()
        await cluster.heard(lambda: cluster.events.byes == [(NAME, "lost")], "the agent said why it ends")
        wait_for_end(agent, started.pid)

    play(tmp_path, story)


def test_agent_orphaned_gives_allocation_back(tmp_path: Path) -> None:
    """Without a pool manager the agent ends after ``orphan_after_s``, with its kernel."""

    async def story(cluster: Cluster) -> None:
        process = await cluster.agent()
        started = await cluster.start(argv=SMALL_KERNEL)
        await cluster.close()
        assert await exit_status(process) == 0
        assert not alive(started.pid)
        await cluster.open()

    play(tmp_path, story, orphan_after_s=1.5)


def test_agent_frozen_is_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen agent is reported as silent; thawed, it goes on, although it was frozen for longer than its limit."""
    monkeypatch.setattr(rendezvous, "SILENT_S", 5.0)

    async def story(cluster: Cluster) -> None:
        process = await cluster.agent()
        started = await cluster.start(argv=SMALL_KERNEL)
        process.send_signal(signal.SIGSTOP)
        await cluster.heard(lambda: cluster.events.gone == [NAME], "the silence is reported")
        assert not cluster.rendezvous.is_connected(NAME)
        process.send_signal(signal.SIGCONT)
        await cluster.heard(lambda: cluster.rendezvous.is_connected(NAME), "the agent is heard again")
        assert (await cluster.start(argv=SMALL_KERNEL)).pid == started.pid
        assert not cluster.events.exits
        assert not cluster.events.byes

    play(tmp_path, story, orphan_after_s=2.0)


def test_agent_finds_next_pool_manager(tmp_path: Path) -> None:
    """After a restart of the pool manager the agent is there with its kernel, ports and keys; nothing starts twice."""

    async def story(cluster: Cluster) -> None:
        process = await cluster.agent()
        started = await cluster.start(argv=SMALL_KERNEL)
        port = cluster.rendezvous.port
        await cluster.close()
        cluster.events.hellos.clear()
        await cluster.open()
        assert cluster.rendezvous.port == port
        await cluster.heard(lambda: cluster.events.hellos, "the agent is there again")
        hello = cluster.events.hellos[0][1]
        assert hello.kernel is not None
        assert hello.connection is not None
        assert (hello.kernel.pid, hello.kernel.state) == (started.pid, "running")
        assert hello.connection.info() == started.connection
        assert await cluster.start(argv=SMALL_KERNEL) == started
        os.kill(started.pid, signal.SIGKILL)
        await cluster.heard(lambda: cluster.events.exits == [(NAME, -signal.SIGKILL, "")], "the end is reported")
        assert process.poll() is None, "the allocation is kept"

    play(tmp_path, story)


def test_rendezvous_refuses_unknown_and_used_tokens(tmp_path: Path) -> None:
    """The agent of a forgotten job, a second agent with a used token, and one with a void token end at once."""

    async def story(cluster: Cluster) -> None:
        served: Rendezvous = cluster.rendezvous
        spec = served.expect(NAME)
        first = cluster.run_agent(spec, {"SLURM_JOB_ID": "17"})
        await cluster.heard(lambda: cluster.events.hellos, "the agent is there")
        assert [served.is_connected(NAME, job_id) for job_id in (None, "17", "18")] == [True, True, False]
        await asyncio.to_thread(say_bye, json.loads(spec))
        assert cluster.events.byes == [], "no other one speaks for the agent"
        second = cluster.run_agent(spec)
        assert await exit_status(second) == 1
        assert served.dropped["reused_token"] >= 1
        assert first.poll() is None
        assert len({hello.instance for _, hello in cluster.events.hellos}) == 1
        served.forget(NAME)
        assert await exit_status(first) == 1
        void = cluster.run_agent(spec)
        assert await exit_status(void) == 1
        assert served.dropped["unknown_token"] >= 3, "it is refused in the handshake"
        with pytest.raises(NotFound):
            await served.signal(NAME, signal.SIGINT)

    play(tmp_path, story)


def say_bye(spec: dict[str, Any]) -> None:
    """Say with the token of an agent that it ends, and return when that was answered."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.curve_secretkey = secret = str(spec["token"]).encode()
        dealer.curve_publickey, dealer.curve_serverkey = zmq.curve_public(secret), str(spec["server_key"]).encode()
        dealer.connect(f"tcp://{spec['addresses'][0]}")
        for operation in ("bye", "beat"):
            message = {"op": operation, "instance": "x", "reason": "lost", "kernel": None}
            dealer.send_multipart([json.dumps(message).encode(), b""])
        assert dealer.poll(int(1000 * DEADLINE_S)), "it is answered"


def test_agent_reports_devices_and_their_use(
    tmp_path: Path, nvml_stub: Stub, fake_machine: Callable[..., FakeMachine]
) -> None:
    """The hello has the devices of the job, the beats their use: memory only of processes that are the kernel's."""
    machine = fake_machine("2xA100-SXM4-80GB")
    own = machine.gpus[1]
    environ = {**nvml_stub.environment(machine), "CUDA_VISIBLE_DEVICES": "1"}

    async def story(cluster: Cluster) -> None:
        await cluster.agent(environ=environ)
        (device,) = cluster.events.hellos[0][1].devices or ()
        assert (device.index, device.uuid, device.memory_bytes) == (1, own.uuid, own.raw.memory_bytes)
        started = await cluster.start(argv=(*SMALL_KERNEL, "child"))
        child = facts_of(cluster)["child"]
        own.set(utilization=40)
        for pid, size in ((started.pid, 3 << 30), (child, 1 << 30), (os.getpid(), 2 << 30)):
            own.add_process(pid, size)

        def reported() -> bool:
            (use,) = cluster.events.beats[-1][1].devices or (None,)
            return use is not None and use.memory_by_process == {started.pid: 3 << 30, child: 1 << 30}

        await cluster.heard(reported, "the use of the device is reported")
        (use,) = cluster.events.beats[-1][1].devices or ()
        assert use.utilization_percent == 40
        assert (use.memory_used_bytes or 0) >= 6 << 30
        machine.hang("nvmlDeviceGetMemoryInfo", seconds=600)
        count = len(cluster.events.beats)
        await cluster.rendezvous.signal(NAME, signal.SIGINT)  # the agent serves while the driver hangs
        await cluster.heard(lambda: cluster.events.beats[-1][1].devices is None, "the use is unknown")
        assert len(cluster.events.beats) > count

    play(tmp_path, story)


def has_ended(cluster: Cluster, count: int) -> bool:
    """Return whether the ends of so many kernels were reported."""
    return len(cluster.events.exits) == count


def test_agent_on_bad_network_carries_each_command_out_once(tmp_path: Path) -> None:
    """Connections are delayed and cut all the time: every start is carried out once, every end is reported once."""

    async def story(cluster: Cluster) -> None:
        network = BadNetwork(cluster.rendezvous.port, 1, delay_s=0.02, pieces_max=24)
        spec = json.loads(cluster.rendezvous.expect(NAME))
        spec["addresses"] = [f"127.0.0.1:{await network.open()}"]
        process = cluster.run_agent(json.dumps(spec).encode())
        await cluster.heard(lambda: cluster.events.hellos, "the agent is there")
        for generation in range(1, STARTS + 1):
            started = await cluster.start(argv=SMALL_KERNEL, restart=generation > 1)
            assert started.generation == generation
            await cluster.rendezvous.signal(NAME, signal.SIGUSR1)  # ends a kernel that does not handle it
            await cluster.heard(partial(has_ended, cluster, generation), "the end is reported")
        assert [code for _, code, _ in cluster.events.exits] == [-signal.SIGUSR1] * STARTS
        assert network.cut >= 2, "the network was not that bad"
        with contextlib.suppress(HostFault):  # the agent has ended, and the network cut off what it said
            await cluster.rendezvous.release(NAME)
        assert await exit_status(process) == 0
        await network.close()

    play(tmp_path, story)
