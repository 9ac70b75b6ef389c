"""A kernel on a host of a cluster: its server's end is in the view of its lease, and its token goes with every call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict
from fastgpu_jupyter.kernel import output_buffer
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.lease_client import LeaseClient
from fastgpu_jupyter.kernel.lease_commands import LeaseCommands
from fastgpu_jupyter.kernel.remote_watch import RemoteWatch
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.variables import CLUSTER, LEASE, LEASE_STATE
from tests.kernel.fakes import FakePool, active_view


class Output:
    """Counts how often output begins to be kept."""

    def __init__(self, _kernel: Any) -> None:
        self.began = 0
        self.until_ms: int | None = None

    def begin(self) -> None:
        self.began += 1


class Kernel:
    """What the watch uses of a kernel."""

    def __init__(self) -> None:
        environ = {LEASE: "lease-1", LEASE_STATE: "active", CLUSTER: "keep"}
        self.gate = Gate.from_environment(environ)
        self.control_handlers: dict[str, Any] = {}
        assert CLUSTER not in environ


def view(orphaned_at: int | None, version: int) -> Any:
    found = active_view(environment={}, version=version)
    found["holder"] = {**found["holder"], "orphaned_at": orphaned_at}
    return found


def test_output_is_kept_while_the_lease_has_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_buffer, "OutputBuffer", Output)
    kernel = Kernel()
    watch = RemoteWatch(kernel)
    watch.start()
    output: Any = watch.output
    kernel.gate.update_lease(view(None, 1))
    assert (output.began, watch.is_orphaned) == (0, False)
    kernel.gate.update_lease(view(5000, 2))
    kernel.gate.update_lease(view(5000, 3))
    assert (output.began, output.until_ms, watch.is_orphaned) == (1, None, True)
    kernel.gate.update_lease(view(None, 4))
    assert output.until_ms is not None
    assert not watch.is_orphaned
    assert kernel.control_handlers.keys() == {
        "fastgpu_server_request", "fastgpu_deliver_request", "fastgpu_keep_request"
    }  # fmt: skip


def test_calls_of_a_kernel_on_a_cluster_prove_the_right_to_its_lease(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("the-token")
    client = PoolClient(tmp_path / "pool.sock")
    assert LeaseClient(file, lambda: client).connect().token is None
    assert LeaseClient(file, lambda: client, on_cluster=True).connect().token == "the-token"
    assert LeaseClient(file, lambda: client, on_cluster=True).quick().token == "the-token"


def test_release_in_a_kernel_on_a_cluster_is_refused_because_it_would_end() -> None:
    pool: Any = FakePool(active_view())
    gate = Gate("lease-1", "active", None, {}, lambda: pool, cluster="end")
    with pytest.raises(Conflict, match=r"magic\.cluster_release"):
        LeaseCommands(gate).release()
    assert pool.calls == []
