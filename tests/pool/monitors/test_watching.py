"""Readings of the sampler in answers, in the stream and in the history, also while the driver does not answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest, NotFound
from fastgpu_jupyter.pool.monitors import sampler as sampler_module
from fastgpu_jupyter.pool.monitors import telemetry
from fastgpu_jupyter.wire.client import new_token
from tests.pool.conftest import Serve
from tests.pool.served import ServedPool
from tests.views import device_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def known(numbers: list[int | None]) -> list[int]:
    return [number for number in numbers if number is not None]


def test_lease_and_device_have_a_history_from_the_first_second(serve: Serve) -> None:
    pool = serve(simulate="2xT4-16GB")
    lease = pool.client.request("half", token=new_token())
    device_id = str(device_of(lease))

    def seconds() -> list[int]:
        return known(pool.client.lease_history(lease["id"])["memory_used_bytes"])

    wait_until(lambda: len(seconds()) >= 2, "two seconds of history")
    found = pool.client.lease_history(lease["id"])
    # A simulated lease's memory is that of its process tree, here of this test.
    assert min(seconds()) > 2**20
    assert found["resolution_ms"] == 1000
    assert found["energy_millijoule"] is None
    later = pool.client.lease_history(lease["id"], since=found["started_at"] + 500)["started_at"]
    assert abs(later - found["started_at"] - 1000) < 100, "the next second; two clocks are read one after the other"
    device = pool.client.device_history(device_id, "1m")
    assert device["resolution_ms"] == 60_000
    assert max(known(device["memory_used_bytes_max"])) > 2**20
    pool.client.release(lease["id"])
    assert seconds()  # what is past is still to be seen


def test_history_with_invalid_arguments_is_refused(serve: Serve) -> None:
    pool = serve()
    with pytest.raises(InvalidRequest, match="resolution must be one of 1s, 1m"):
        pool.client.device_history(pool.client.devices()[0]["id"], "1h")
    with pytest.raises(NotFound, match="There is no device"):
        pool.client.device_history("GPU-1")
    with pytest.raises(NotFound, match="There is no lease"):
        pool.client.lease_history("nobodys")
    assert pool.raw("GET", "/v1/leases/nobodys/history?since=now").status == 400


@contextlib.contextmanager
def hanging(pool: ServedPool) -> Iterator[Callable[[], None]]:
    """Make the pool's driver hang while it reads counters, until the function that is yielded is called."""
    driver = pool.driver
    sample, back = driver.sample, threading.Event()

    def hang(leases: Any) -> Any:
        back.wait(60)
        return sample(leases)

    driver.sample = hang  # type: ignore[method-assign]
    try:
        yield back.set
    finally:
        back.set()


def test_unresponsive_counters_are_unknown_and_grants_continue(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "ANSWER_S", 0.3)
    monkeypatch.setattr(telemetry, "SAMPLE_INTERVAL_S", 0.1)
    pool = serve(simulate="2xT4-16GB")
    lease = pool.client.request("half", token=new_token())

    def memory() -> int | None:
        return pool.client.lease(lease["id"])["memory"]["used_bytes"]

    wait_until(memory, "the counters are read")
    with contextlib.closing(pool.client.events()) as stream, hanging(pool) as come_back:
        silent = (message["pool"] for message in stream if message["type"] == "snapshot")
        silent_view = next(view for view in silent if view["counters_silent_since"])
        assert 0 < silent_view["counters_silent_since"] - silent_view["started_at"] < 60_000
        # The last reading is no longer true and is not shown.
        assert memory() is None
        assert pool.client.devices()[0]["memory"]["used_bytes"] is None
        # Leases come and go meanwhile.
        other = pool.client.request("half", token=new_token())
        assert pool.client.release(other["id"])["state"] in ("draining", "ended")
        come_back()
        assert next(view for view in silent)["counters_silent_since"] is None
    wait_until(memory, "the counters are read again")
    gap = pool.client.lease_history(lease["id"])["memory_used_bytes"]
    assert gap[0] is not None
