"""Which kernels on hosts of a cluster a server adopts, drops, releases, or asks for again."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.server import kernel_lease
from fastgpu_jupyter.server.adoption import Adoption
from fastgpu_jupyter.server.kernel_records import CRASH, KernelRecords
from fastgpu_jupyter.server.token_files import write_token_file
from fastgpu_jupyter.wire import kept_kernels, kept_list
from fastgpu_jupyter.wire.schemas.kept_kernel import REMOTE_VERSION, KeptKernel
from tests.kernel.fakes import FakePool, active_view, changed

LOG = logging.getLogger("test-adoption")


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePool:
    fake = FakePool(active_view())
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    for module in (kernel_lease, kept_list):
        monkeypatch.setattr(module, "PoolClient", lambda *_: fake)
    monkeypatch.setattr(kernel_lease, "ensure_pool", lambda timeout_s=15.0: fake.connect())
    fake.leases = lambda: [fake.view]  # type: ignore[attr-defined]
    return fake


def ended_process() -> Any:
    """A process that has ended, as a record names it."""
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE) as process:
        return kept_kernels.recorded(process.pid)


def record(tmp_path: Path, **changes: Any) -> Path:
    """The record of a kernel whose server has ended; return its connection file."""
    write_token_file("kernel-1", "the-token")
    connection_file = tmp_path / "kernel-1.json"
    connection_file.write_text("{}")
    kept = KeptKernel(
        version=REMOTE_VERSION, kernel_id="kernel-1", kernelspec="fastgpu", user=os.getuid(), root=str(tmp_path),
        keep="crash", orphan_after_s=60.0, server=ended_process(), connection_file=str(connection_file),
        lease_id="lease-1", remote=True, created_at=0,
    )  # fmt: skip
    kept_kernels.write(msgspec.structs.replace(kept, **changes))
    return connection_file


def adoption(tmp_path: Path, adopted: list[str]) -> Adoption:
    server: Any = SimpleNamespace(kernel_manager=None, session_manager=None, kernel_websocket_connection_class=object)
    found = Adoption(server, KernelRecords(CRASH, 60.0, str(tmp_path), LOG), LOG)

    async def adopt(one: Any, _process: Any) -> None:
        adopted.append(one.record.kernel_id)

    unchecked: Any = found
    unchecked._adopt = adopt
    return found


async def consider(one: Adoption) -> list[Any]:
    for found in list(kept_kernels.records()):
        await one._consider(found)
    return one._awaited


def test_kernel_is_adopted_while_its_lease_lives_and_dropped_after_that(pool: FakePool, tmp_path: Path) -> None:
    adopted: list[str] = []
    record(tmp_path)
    assert asyncio.run(consider(adoption(tmp_path, adopted))) == []
    assert adopted == ["kernel-1"]
    pool.view = changed(pool.view, state="ended", end_reason="allocation_lost")
    assert asyncio.run(consider(adoption(tmp_path, adopted))) == []
    assert adopted == ["kernel-1"]
    assert list(kept_kernels.records()) == []


def test_kernel_is_considered_again_while_the_pool_does_not_answer(pool: FakePool, tmp_path: Path) -> None:
    adopted: list[str] = []
    record(tmp_path)

    def refuse(*_: Any, **__: Any) -> Any:
        raise PoolUnreachable("No pool manager answers.")

    pool.lease, pool.down = refuse, "No pool manager answers."  # type: ignore[method-assign]
    (awaited,) = asyncio.run(consider(adoption(tmp_path, adopted)))
    assert (awaited.record.kernel_id, adopted) == ("kernel-1", [])
    assert len(list(kept_kernels.records())) == 1


def test_lease_of_a_kernel_that_was_never_started_is_released(pool: FakePool, tmp_path: Path) -> None:
    adopted: list[str] = []
    record(tmp_path).unlink()
    assert asyncio.run(consider(adoption(tmp_path, adopted))) == []
    assert pool.calls[-1] == ("release", "lease-1", "the-token")
    assert (adopted, list(kept_kernels.records())) == ([], [])


def test_kept_kernel_of_a_cluster_is_listed_and_ended_by_its_lease(pool: FakePool, tmp_path: Path) -> None:
    record(tmp_path)
    pool.view = changed(pool.view, kernel_id="kernel-1", busy=True)
    pool.view["holder"]["orphaned_at"] = 5000
    (listed,) = kept_list.listed()
    assert (listed["state"], listed["since"], listed["ends_at"], listed["memory_bytes"]) == (
        "running", 5000, 65_000, None
    )  # fmt: skip
    kept_list.end(kept_list.found_by("kernel-1"))
    assert pool.calls[-1][:2] == ("release", "lease-1")
    assert list(kept_kernels.records()) == []
