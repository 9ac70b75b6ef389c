"""``%fastgpu`` where a cluster grants the leases: in a kernel of this machine, and in one on a host of the cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.error import UsageError

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.kernel import magics
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.verbs import Context
from fastgpu_jupyter.pool.clusters.fake import Faults
from fastgpu_jupyter.wire import locate
from fastgpu_jupyter.wire.client import new_token
from tests.pool.clusters.conftest import ClusterPool
from tests.waiting import wait_until


@pytest.fixture
def here(cluster_pool: ClusterPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A kernel of this machine, which is no FastGPU kernel and has no lease: the one that runs meanwhile."""
    for name, value in (("JUPYTER_RUNTIME_DIR", tmp_path), ("FASTGPU_SOCKET", cluster_pool.path)):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/a/train.ipynb")
    return Context(Gate(None, "", None, {}, lambda: cluster_pool.client, kernel_id="kernel-1"), gated=False)


@pytest.fixture
def on_host(cluster_pool: ClusterPool, tmp_path: Path) -> Context:
    """A kernel on a host of the cluster, with its lease."""
    cluster_pool.engine.faults = Faults(without_agents=True)
    token = tmp_path / "token"
    token.write_text(new_token())
    lease = cluster_pool.client.request("a100-80gb", None, "kernel-2", "a.ipynb", token=token.read_text())
    gate = Gate(lease["id"], "active", token, {}, lambda: cluster_pool.client, kernel_id="kernel-2", cluster="end")
    return Context(gate, gated=True)


def test_request_is_for_the_kernel_that_follows_this_one(here: Context, cluster_pool: ClusterPool) -> None:
    cluster_pool.engine.faults = Faults(hold=True)
    shown = magics.run(here, "request h100-80gb --time 4h --partition gpu")
    assert "where a new kernel starts. This kernel goes on without a GPU" in shown.text
    (lease,) = [one for one in cluster_pool.client.leases() if one["state"] == "waiting"]
    assert lease["cluster"] is not None
    assert (lease["cluster"]["partition"], lease["cluster"]["time_limit_ms"]) == ("gpu", 14_400_000)
    kernel_id = lease["holder"]["kernel_id"]
    assert kernel_id not in {None, "kernel-1"}
    assert lease["holder"]["notebook"] == "/home/a/train.ipynb"
    # The server binds it to that kernel with the token, and this kernel has no lease.
    assert locate.token_path(kernel_id).stat().st_mode & 0o777 == 0o600
    assert cluster_pool.client.release(lease["id"], locate.token_path(kernel_id).read_text())["state"] == "ended"
    assert here.gate.lease_id is None
    wait_until(lambda: not cluster_pool.engine.list(""), "the job is cancelled while none starts")


def test_refused_request_leaves_no_token(here: Context, tmp_path: Path) -> None:
    before = set(tmp_path.rglob("*"))
    with pytest.raises((UsageError, InvalidRequest), match="No host of the simulated cluster has such GPUs"):
        magics.run(here, "request 8xh100-80gb")
    assert [path for path in set(tmp_path.rglob("*")) - before if path.is_file()] == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("request h100-80gb --time 4h", "Nothing was requested. To have another GPU, use “Choose size…”"),
        ("release", "Nothing was released. Shut the kernel down"),
        ("park", "cannot be parked"),
        ("pin", "cannot be parked"),
        ("resize h100-80gb", "keeps its size"),
    ],
)
def test_kernel_on_a_host_says_what_it_cannot_do(on_host: Context, line: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        magics.run(on_host, line)
    assert reason in str(refused.value)


def test_kernel_on_a_host_lists_the_sizes_of_other_requests_and_the_cluster(on_host: Context) -> None:
    sizes = magics.run(on_host, "sizes").text
    assert "h100-80gb:1/2" in sizes
    assert "keeps its size" in sizes
    status = magics.run(on_host, "status").text
    assert "2xa100-80gb  gpu" in status
