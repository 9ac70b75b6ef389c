"""A process on a host of a cluster starts neither a pool manager nor a dispatcher: they are on another host."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastgpu_jupyter.errors import DispatcherUnreachable, PoolUnreachable
from fastgpu_jupyter.jobs.client import ensure_dispatcher, running_dispatcher
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire.spawn import ensure_pool
from fastgpu_jupyter.wire.variables import REMOTE, without_lease


def test_nothing_is_started_on_a_host_of_a_cluster(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REMOTE, "1")
    assert without_lease({REMOTE: "1"}) == {REMOTE: "1"}, "also in what the kernel starts"
    with pytest.raises(PoolUnreachable) as pool:
        ensure_pool()
    with pytest.raises(DispatcherUnreachable) as jobs:
        ensure_dispatcher()
    assert "not on this host" in text_of(pool.value)
    assert "from a host of the cluster" in text_of(jobs.value)
    assert running_dispatcher() is None
    assert not list(isolated.rglob("*.sock"))
