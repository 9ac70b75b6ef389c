"""A pool manager in engine mode, with real agents and kernels on a simulated cluster."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from fastgpu_jupyter.cli.leases import status_lines
from fastgpu_jupyter.errors import Conflict, HostFault, InvalidRequest
from fastgpu_jupyter.jobs.runner.foreground import ended_because
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Want
from fastgpu_jupyter.pool.clusters.fake import Faults
from fastgpu_jupyter.pool.clusters.service import Times
from fastgpu_jupyter.units import GIB
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.schemas import KernelConnectionView, LeaseView
from tests.pool.clusters.conftest import ClusterPool, end_jobs
from tests.views import value_of
from tests.waiting import DEADLINE_S, wait_until

KERNEL = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
#: So long a connection within a host takes only where none is made.
REFUSED_S = 0.3
pytestmark = pytest.mark.slow


def result_of(connection: KernelConnectionView, code: str) -> str:
    """What a kernel prints."""
    info: Any = {name: value for name, value in connection.items() if name not in _NOT_OF_A_FILE}
    client = BlockingKernelClient()
    client.load_connection_info(info)
    client.start_channels()
    try:
        client.wait_for_ready(timeout=DEADLINE_S)
        printed: list[str] = []
        client.execute_interactive(code, timeout=DEADLINE_S, output_hook=lambda message: _note(printed, message))
        return "".join(printed)
    finally:
        client.stop_channels()


#: What a kernel asks the pool manager over the relay, with the token that it has in a file.
ASK_THE_POOL = """
import os
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.wire.client import PoolClient
client, token = PoolClient(os.environ["S"]), open(os.environ["T"]).read()
print(client.lease("LEASE", token=token)["state"])
try:
    client.lease("OTHER", token=token)
except FastGPUError as error:
    print(type(error).__name__)
"""
_NOT_OF_A_FILE = {"pid", "generation", "started_at"}


def _note(printed: list[str], message: dict[str, Any]) -> None:
    printed.append(message["content"].get("text", ""))


def test_lease_is_granted_by_its_agent_and_runs_kernels(cluster_pool: ClusterPool) -> None:
    client, token = cluster_pool.client, new_token()
    other = client.request("h100", token=new_token())
    lease = client.request("a100", token=token, options={"cluster": {"time_limit_ms": 600_000}})
    assert lease["state"] == "waiting"
    assert lease["queue"] is not None
    assert lease["queue"]["reason"]["text"]
    active = cluster_pool.wait_for(lease, "active")
    gpu, job = active["gpu"], active["cluster"]
    assert gpu is not None
    assert job is not None
    assert (gpu["device_ids"], gpu["model"], gpu["mechanism"]) == (["n1:gpu0"], "A100-80GB", "cluster")
    assert gpu["simulated"]
    assert active["memory"]["limit_bytes"] == 80 * 2**30
    assert (job["state"], job["host"], job["kernel"], job["time_limit_ms"]) == ("running", "n1", None, 600_000)
    # A kernel, and the same one again where the answer was lost.
    given, files = {"A": "b", "T": "{folder}/token", "S": "{relay}"}, {"token": token}
    first = client.start_kernel(lease["id"], token, KERNEL, given, key="secret", files=files)
    assert client.start_kernel(lease["id"], token, KERNEL, given, key="secret", files=files) == first
    with pytest.raises(Conflict):
        client.start_kernel(lease["id"], token, KERNEL, {}, key="another")
    printed = result_of(first, "import os; print(os.getpid(), os.environ['A'], os.environ['CUDA_VISIBLE_DEVICES'])")
    assert printed.split() == [str(first["pid"]), "b", "0"]
    ask = ASK_THE_POOL.replace("LEASE", lease["id"]).replace("OTHER", other["id"])
    assert result_of(first, ask).split() == ["active", "Forbidden"]
    kernel = cluster_pool.job_of(lease)["kernel"]
    assert kernel is not None
    assert (kernel["state"], kernel["pid"], kernel["generation"]) == ("running", first["pid"], first["generation"])
    assert kernel["started_at"] == first["started_at"]
    # Again, with its ports and keys.
    again = client.start_kernel(lease["id"], token, KERNEL, {}, key="secret", restart=True)
    changed = {name for name in first if first[name] != again[name]}  # type: ignore[literal-required]
    assert changed == {"pid", "generation", "started_at"}
    # Its end by a signal, and what is left.
    client.signal_kernel(lease["id"], token, 9)
    wait_until(lambda: _kernel_state(cluster_pool, lease) == ("ended", -9), "the end of the kernel is seen")
    with pytest.raises(Conflict):
        client.signal_kernel(lease["id"], token, 2)
    client.end_kernel(lease["id"], token)  # harmless
    with pytest.raises(HostFault) as failure:
        client.start_kernel(
            lease["id"], token, [sys.executable, "-c", "raise SystemExit('no such module')"], {}, key="k"
        )
    assert "no such module" in text_of(failure.value)
    # The end, the bill, and nothing that is left.
    client.release(other["id"])
    client.release(lease["id"], token)
    ended = cluster_pool.wait_for(lease, "ended")
    assert value_of(ended["end_reason"]) == "released"
    assert ended["money"]["cost_micro"] == ended["usage"]["active_ms"] * 2_500_000 // 3_600_000
    cluster_pool.wait_for(other, "ended")
    assert cluster_pool.engine.list("") == {}
    assert list((cluster_pool.folder / "cluster").glob("*.agent")) == []


def _kernel_state(pool: ClusterPool, lease: LeaseView) -> tuple[str, int | None] | None:
    kernel = pool.job_of(lease)["kernel"]
    return None if kernel is None else (kernel["state"], kernel["exit_code"])


def test_waiting_request_shows_reason_and_position_and_leaves_nothing_when_it_is_cancelled(
    cluster_pool: ClusterPool,
) -> None:
    cluster_pool.engine.faults.hold = True
    token = new_token()
    first = cluster_pool.client.request("a100", token=token)
    second = cluster_pool.client.request("a100:1/2", token=new_token())
    wait_until(lambda: cluster_pool.job_of(second)["position"] == 2, "the engine has said the position")
    view = cluster_pool.lease(second["id"])
    assert view["queue"] is not None
    assert (view["queue"]["position"], view["queue"]["reason"]["code"]) == (2, "cluster.fake_held")
    queue = [(one["lease_id"], one["position"], one["size"]) for one in cluster_pool.client.queue()]
    assert queue == [(first["id"], 1, "a100"), (second["id"], 2, "a100:1/2")]
    assert cluster_pool.job_of(second)["state"] == "queued"
    with pytest.raises(Conflict):  # there is no host yet
        cluster_pool.client.end_kernel(first["id"], token)
    waiting = cluster_pool.service.publisher._waiting
    with ThreadPoolExecutor() as pool:  # for changes that only the engine reports
        changed = pool.submit(cluster_pool.client.lease, second["id"], 30_000, view["version"])
        wait_until(lambda: cluster_pool.call(lambda: second["id"] in waiting), "the change is waited for")
        cluster_pool.client.release(first["id"])
        answer = changed.result(20)
    assert answer["version"] == view["version"]
    assert answer["queue"] is not None
    assert answer["queue"]["position"] == 1
    cluster_pool.client.release(second["id"])
    ended = cluster_pool.wait_for(second, "ended")
    assert value_of(ended["end_reason"]) == "cancelled"
    wait_until(lambda: cluster_pool.engine.list("") == {}, "its job is gone")


def test_requests_that_the_engine_refuses_are_refused_with_its_reason(cluster_pool: ClusterPool) -> None:
    client = cluster_pool.client
    with pytest.raises(InvalidRequest, match="invalid partition"):
        client.request("a100", token=new_token(), options={"cluster": {"partition": "nope"}})
    with pytest.raises(InvalidRequest, match="No host"):
        client.request("9xa100", token=new_token())
    with pytest.raises(InvalidRequest, match="qos has spaces"):
        client.request("a100", token=new_token(), options={"cluster": {"qos": "a b"}})
    assert cluster_pool.engine.list("") == {}


def test_lost_allocation_ends_the_lease_with_its_reason(cluster_pool: ClusterPool) -> None:
    lease = cluster_pool.client.request("h100", token=new_token())
    cluster_pool.wait_for(lease, "active")
    cluster_pool.engine.faults.lose = [cluster_pool.job_of(lease)["job_name"]]
    ended = cluster_pool.wait_for(lease, "ended")
    assert value_of(ended["end_reason"]) == "allocation_lost"
    assert "NODE_FAIL" in ended["notes"][0]["text"]
    assert cluster_pool.job_of(lease)["reason"] == ended["notes"][0]
    assert "NODE_FAIL" in ended_because(ended), "what a command says whose lease has ended"


def test_requeued_job_ends_the_lease_with_its_reason_and_does_not_run_again(cluster_pool: ClusterPool) -> None:
    lease = cluster_pool.client.request("h100", token=new_token())
    cluster_pool.wait_for(lease, "active")
    cluster_pool.engine.faults = Faults(hold=True, requeue=[cluster_pool.job_of(lease)["job_name"]])
    ended = cluster_pool.wait_for(lease, "ended")
    assert value_of(ended["end_reason"]) == "allocation_lost"
    assert ended["notes"][0]["code"] == "cluster.requeued"
    wait_until(lambda: not cluster_pool.engine.list(""), "its job is cancelled")


def test_engine_that_does_not_answer_changes_nothing_and_shows_since_when(cluster_pool: ClusterPool) -> None:
    lease = cluster_pool.client.request("a100", token=new_token())
    cluster_pool.wait_for(lease, "active")
    cluster_pool.engine.faults.hold = True
    held = cluster_pool.client.request("a100", token=new_token())  # for it the pool manager asks about all jobs soon
    wait_until(lambda: cluster_pool.job_of(held)["job_id"], "it is submitted")
    cluster_pool.engine.faults.silent = True
    wait_until(lambda: 'unanswered_calls_total{method="statuses"}' in metrics_of(cluster_pool), "it has asked")
    assert cluster_pool.lease(lease["id"])["state"] == "active", "nothing is known of its job"
    waiting = cluster_pool.client.request("h100", token=new_token())  # it is accepted, and submitted later
    wait_until(lambda: cluster_pool.cluster_view()["unanswered_since"], "the silence is seen")
    message = cluster_pool.job_of(lease)["message"]
    assert message is not None
    assert message["code"] == "cluster.engine_silent"
    assert cluster_pool.lease(lease["id"])["state"] == "active"
    job = cluster_pool.job_of(waiting)
    assert (job["state"], job["reason"] and job["reason"]["code"]) == ("submitting", "cluster.fake_silent")
    cluster_pool.engine.faults.silent = cluster_pool.engine.faults.hold = False
    cluster_pool.wait_for(waiting, "active")
    assert cluster_pool.cluster_view()["unanswered_since"] is None
    metrics = metrics_of(cluster_pool)
    assert 'fastgpu_engine_calls_total{method="submit"}' in metrics
    assert "fastgpu_engine_answers 1.0" in metrics
    assert cluster_pool.job_of(lease)["message"] is None


def metrics_of(cluster_pool: ClusterPool) -> str:
    """The metrics of the pool manager, as text."""
    return cluster_pool.raw("GET", "/v1/metrics").body.decode()


def test_submission_whose_answer_is_lost_is_made_once(cluster_pool: ClusterPool) -> None:
    # The engine would fail at a second job of that name, and no agent reports the job while it waits.
    cluster_pool.engine.faults = Faults(hold=True, lose_answer=True)
    lease = cluster_pool.client.request("a100", token=new_token())
    wait_until(lambda: cluster_pool.job_of(lease)["job_id"], "the job is found by its name")
    cluster_pool.engine.faults.hold = False
    cluster_pool.wait_for(lease, "active")
    assert list(cluster_pool.engine.list("")) == [cluster_pool.job_of(lease)["job_name"]]
    assert len(cluster_pool.engine.cluster.running) == 1


def test_connections_that_say_nothing_are_limited_and_do_not_stop_agents(cluster_pool: ClusterPool) -> None:
    """Without the limit agents stop too: after some hundred connections libzmq waits for who reads its events."""
    keys = cluster_pool.folder / "cluster/rendezvous.json"
    port = wait_until(lambda: json.loads(keys.read_text())["port"], "the pool manager listens for agents")
    with contextlib.ExitStack() as silent:

        def is_refused() -> bool:
            try:
                silent.enter_context(socket.create_connection(("127.0.0.1", port), REFUSED_S))
            except TimeoutError:
                return True
            return False

        wait_until(is_refused, "no more connections are made")
    lease = cluster_pool.client.request("a100", token=new_token())
    cluster_pool.wait_for(lease, "active")


def test_pool_shows_what_the_cluster_offers(cluster_pool: ClusterPool) -> None:
    wait_until(lambda: cluster_pool.cluster_view()["kinds"], "the engine has answered")
    view = cluster_pool.cluster_view()
    assert (view["engine"], view["simulated"], view["partitions"]) == ("fake", True, ["gpu"])
    kinds = view["kinds"]
    assert kinds is not None
    assert [(kind["model"], kind["per_node_max"]) for kind in kinds] == [("a100-80gb", 2), ("h100-80gb", 2)]
    assert cluster_pool.client.pool()["simulated"]
    printed = "\n".join(status_lines(cluster_pool.client.status()))
    assert "a100-80gb  gpu" in printed
    assert "Devices: none" not in printed
    sizes = cluster_pool.client.sizes()
    assert [(one["model"], one["devices"]) for one in sizes["models"]] == [("a100-80gb", 2), ("h100-80gb", 2)]
    found = {option["size"]: option for option in sizes["options"]}
    assert next(iter(found)) == "a100-80gb:1/4"
    half = found["h100-80gb:1/2"]
    assert (half["memory_bytes"], half["rate_micro"], half["effect"]) == (40 * GIB, 1_950_000, "queued")
    assert (half["mechanism"], half["enforcement"]) == ("cluster", "none")
    assert found["2xa100-80gb"]["rate_micro"] == 5_000_000
    assert {one["model"] for one in cluster_pool.client.sizes(query={"model": "h100"})["options"]} == {"h100-80gb"}


def test_next_pool_manager_knows_leases_and_kernels_again_and_ends_jobs_without_a_lease(tmp_path: Path) -> None:
    pool = ClusterPool(tmp_path)
    client, token = pool.client, new_token()
    lease = client.request("a100", token=token)
    pool.wait_for(lease, "active")
    started = client.start_kernel(lease["id"], token, KERNEL, {}, key="secret")
    job = pool.job_of(lease)
    name = job["job_name"]
    pool.stop()
    before = pool.engine
    spec = json.dumps({"path": str(tmp_path / "other")}).encode()
    pool.engine.submit(Want(1), AgentSpec("import time; time.sleep(600)", spec), f"{name}0")  # as if killed in between
    pool.engine.faults = Faults(late=name)
    assert pool.engine.list("")[name] != job["job_id"], "the name has a second job"
    pool = ClusterPool(tmp_path)
    try:
        wait_until(lambda: _kernel_state(pool, lease) == ("running", None), "the kernel is known again")
        assert pool.client.start_kernel(lease["id"], token, KERNEL, {}, key="secret")["pid"] == started["pid"]
        wait_until(lambda: pool.engine.list("") == {name: job["job_id"]}, "the other jobs are ended")
        assert pool.services.cluster is not None
        ending = pool.services.cluster.cancellations
        wait_until(lambda: not ending.jobs(), "the pool manager has seen their ends")
        assert pool.lease(lease["id"])["state"] == "active"
        assert _kernel_state(pool, lease) == ("running", None)
    finally:
        pool.stop()
        end_jobs(pool.engine)
        end_jobs(before)  # whose children the processes are


def test_job_whose_host_cannot_reach_the_pool_manager_is_ended_with_the_address(tmp_path: Path) -> None:
    pool = ClusterPool(tmp_path, Times(settle_s=0.2, late_s=0.0, never_s=4.0))
    try:
        pool.engine.faults.without_agents = True
        lease = pool.client.request("a100", token=new_token())
        message = wait_until(lambda: pool.job_of(lease)["message"], "it is late")
        assert message["code"] == "cluster.not_reached"
        assert "127.0.0.1:" in message["text"]
        ended = pool.wait_for(lease, "ended")
        assert ended["notes"][0]["code"] == "cluster.never_reached"
        wait_until(lambda: not pool.engine.list(""), "its job is gone")
    finally:
        pool.stop()
        end_jobs(pool.engine)
