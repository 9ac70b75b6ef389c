"""What a pool manager that is started on demand has of the one that was killed before: real processes and kernels."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.pool import carry_over
from fastgpu_jupyter.pool.carry_over import Difference, SettingsRecord
from fastgpu_jupyter.wire.client import PoolClient
from fastgpu_jupyter.wire.locate import user_socket
from fastgpu_jupyter.wire.spawn import ensure_pool
from tests.helpers import KernelHelper, PoolProcess, alive, fastgpu, stopped
from tests.views import text
from tests.waiting import wait_until

DEVICES = "1xA100-80GB"


@pytest.fixture
def pool(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pool that has devices only by its command line: what is started on demand simulates none of its own accord."""
    monkeypatch.delenv("FASTGPU_SIMULATE", raising=False)
    process = PoolProcess(isolated, DEVICES)
    yield process
    process.end()


def carried(client: PoolClient) -> str:
    return text(client.pool()["carried_over"]) or ""


def pid_at(path: Path) -> int:
    from contextlib import closing

    from fastgpu_jupyter.wire import unixsocket

    with closing(unixsocket.connect(path, 1.0)) as sock:
        return unixsocket.peer_of(sock).pid


@pytest.mark.slow
def test_settings_of_a_killed_pool_hold_until_its_leases_have_ended(pool: PoolProcess, kernels: KernelHelper) -> None:
    pool.start("--Parking.idle_s=77")
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    for _ in range(2):  # also of a successor
        os.kill(pid_at(user_socket()), signal.SIGKILL)
        wait_until(lambda: not user_socket().exists() or fastgpu("status").returncode, "it does not answer")
        client = ensure_pool()
        assert client.lease(kernel.lease_id)["state"] == "active"
        assert [one["simulated"] for one in client.devices()] == [True]
        assert 'Devices.simulate = "1xA100-80GB"' in carried(client)
        assert "Parking.idle_s = 77.0" in carried(client)
        assert carried(client) in fastgpu("status").stdout
    assert kernel.value("6 * 7") == "42"
    successor = pid_at(user_socket())
    kernel.client.shutdown()
    wait_until(lambda: not alive(successor), "it ends with the last lease")
    client = ensure_pool()
    assert (client.devices(), carried(client)) == ([], ""), "nothing is simulated by accident"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "kept"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGHUP, True)])
def test_settings_of_a_stopped_pool_hold_only_where_its_terminal_went(
    pool: PoolProcess, kernels: KernelHelper, number: int, kept: bool
) -> None:
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    os.kill(pool.pid, number)
    wait_until(lambda: not alive(pool.pid), "it ends")
    client = ensure_pool()
    assert bool(carried(client)) == kept
    lease = client.lease(kernel.lease_id)
    assert (lease["state"], lease["health"]["missing_since"] is None) == ("active", kept), "it keeps its place"


@pytest.mark.slow
def test_pool_started_by_a_user_has_the_settings_of_its_own_command(pool: PoolProcess, kernels: KernelHelper) -> None:
    pool.start("--Parking.idle_s=77")
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    with stopped(kernel.pid):  # or it would start a successor on demand before this test does
        pool.kill()
        pool.simulate = "2xA100-80GB"
        pool.start()
    assert (len(pool.client.devices()), carried(pool.client)) == (2, "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_folder_with_leases_is_found_on_demand(
    pool: PoolProcess, kernels: KernelHelper, isolated: Path, number: int
) -> None:
    folder = isolated / "elsewhere"
    pool.start(f"--FastGPUPool.state_dir={folder}")
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    os.kill(pool.pid, number)
    wait_until(lambda: not alive(pool.pid), "it ends")
    client = ensure_pool()
    assert client.lease(kernel.lease_id)["state"] == "active"
    assert "FastGPUPool.state_dir" in carried(client)


@pytest.mark.slow
def test_settings_are_not_carried_over_for_dead_processes(pool: PoolProcess, kernels: KernelHelper) -> None:
    pool.start()
    kernel = kernels.start()
    pool.wait_state(kernel.lease_id, "active")
    pool.kill()
    os.kill(kernel.pid, signal.SIGKILL)
    wait_until(lambda: not alive(kernel.pid), "the kernel ends")
    client = ensure_pool()
    assert carried(client) == ""
    assert "healthy" not in {one["health"]["state"] for one in client.devices()}


def test_record_names_differences_and_ignores_what_is_unknown(tmp_path: Path) -> None:
    own = SettingsRecord({"A": {"x": 1, "y": 2}}, {"V": None})
    carry_over.save_record(tmp_path, SettingsRecord({"A": {"x": 5, "gone": 1}, "B": {"z": 1}}, {"V": "1", "W": "2"}))
    record = carry_over.load_record(tmp_path)
    assert record is not None
    assert list(record.differences(own)) == [Difference("A", "x", 5), Difference("", "V", "1")]
    environ: dict[str, str] = {}
    carry_over.apply_to_environment(list(record.differences(own)), environ)
    assert environ == {"V": "1"}
    carry_over.remove_record(tmp_path)
    assert carry_over.load_record(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"settings": 1, "environment": {}}', "\0"])
def test_record_that_is_damaged_is_not_used(tmp_path: Path, content: str) -> None:
    (tmp_path / carry_over.FILE_NAME).write_text(content)
    assert carry_over.load_record(tmp_path) is None
