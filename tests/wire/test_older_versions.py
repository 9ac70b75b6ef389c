"""Real processes of this version and of one from before versions were stated: one sentence, and no lease is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter import __version__
from fastgpu_jupyter.errors import FastGPUError, VersionMismatch
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.lease_follower import LeaseFollower
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.server.pool_connector import PoolConnector
from fastgpu_jupyter.server.stream_reader import StreamReader
from fastgpu_jupyter.wire import unixsocket
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from tests.helpers import KernelHelper, PoolProcess, end_pool_at, fastgpu
from tests.waiting import async_wait_until, wait_until
from tests.wire.older import older_package, run_older, start_older_pool

pytestmark = pytest.mark.slow
BOTH = (f"FastGPU {__version__} (interface 2)", "(interface 1)")


@pytest.fixture
def older(tmp_path: Path) -> Path:
    folder = tmp_path / "older"
    folder.mkdir()
    return older_package(folder)


def names_both(sentence: str) -> bool:
    return all(version in sentence for version in BOTH) and "Traceback" not in sentence


@pytest.fixture
def older_pool(isolated: Path, older: Path) -> Iterator[PoolClient]:
    process = start_older_pool(older, "1xA100-80GB")
    client = PoolClient(user_socket())

    def serves() -> bool:
        assert process.poll() is None, (older / "pool.out").read_text()
        try:
            unixsocket.connect(client.path, 1.0).close()
        except OSError:
            return False
        return True

    wait_until(serves, "the older pool manager serves")
    yield client
    end_pool_at(client.path)
    process.wait()


def test_pool_of_before_is_named_by_command_server_and_kernel(
    older_pool: PoolClient, installed: None, kernels: KernelHelper
) -> None:
    done = fastgpu("status")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert names_both(done.stderr)
    assert "`jupyter fastgpu pool restart`" in done.stderr
    with pytest.raises(FastGPUError) as refused:
        kernels.start()
    assert names_both(text_of(refused.value))
    gate = Gate("lease-1", "active", None, {}, lambda: older_pool)
    follower = LeaseFollower(gate)
    gate.begin_wait()
    follower.start()
    assert names_both(wait_until(lambda: gate.pool_error, "the kernel has seen the version"))
    gate.close(None)
    follower.join()
    assert (gate.open, gate.lease_id) == (True, "lease-1")
    assert asyncio.run(_what_the_server_says())


async def _what_the_server_says() -> bool:
    """Return whether the extension's calls and its event stream name both versions."""
    connector, received = PoolConnector(), list[Any]()
    with pytest.raises(VersionMismatch) as refused:
        await connector.call(PoolClient.status)
    reader = StreamReader(connector, asyncio.get_running_loop(), lambda _, message: received.append(message))
    reader.start()
    await async_wait_until(lambda: bool(received), "the browser gets a message")
    reader.stop()
    await asyncio.to_thread(reader.join)
    return names_both(text_of(refused.value)) and names_both(received[0]["message"])


def test_command_of_before_gets_one_sentence(pool: PoolProcess, older: Path) -> None:
    for words in (["status"], ["queue"], ["quota", "ann", "--weight=3"]):
        done = run_older(older, *words)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert names_both(done.stderr)
    assert pool.client.tenants() == []


def test_kernel_of_before_works_and_its_lease_counts_as_used(
    pool: PoolProcess, installed: None, kernels: KernelHelper, older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(older))
    kernel = kernels.start()
    assert str(older) in kernel.value("__import__('fastgpu_jupyter').__file__")
    shown = kernel.run("%fastgpu")
    assert shown.status == "error"
    assert names_both(shown.reply["evalue"])
    wait_until(lambda: pool.lease(kernel.lease_id)["usage"]["busy"], "the cells that cannot be seen count as running")
    assert pool.state(kernel.lease_id) == "active"
    lease_id = kernel.lease_id
    kernels.stop(kernel)
    pool.wait_state(lease_id, "ended")
