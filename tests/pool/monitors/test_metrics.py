"""The metrics of the pool: they count what happens, are documented, and name no tenant."""

from __future__ import annotations

import contextlib

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import PendingReason, Plan, State
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.scheduling.queue_report import QueueReport
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.pool.devices.driver import DeviceUsage, Sample
from fastgpu_jupyter.pool.monitors.metrics import BUCKETS_S, Histogram, Metrics, MetricsSnapshot
from fastgpu_jupyter.wire.client import new_token
from tests.core.world import World, spec
from tests.pool.conftest import Serve
from tests.pool.served import ServedPool
from tests.views import device_of
from tests.waiting import wait_until


def now(state: State, usage: Sample | None = None) -> MetricsSnapshot:
    return MetricsSnapshot(
        state,
        QueueReport(state),
        usage or Sample(),
        subscribers=0,
        connections=0,
        accepting=True,
        at=state.last,
        foreign={},
        failures={},
    )


def parsed(text: bytes) -> dict[str, float]:
    """Each sample by its name and labels."""
    return {
        sample.name + "".join(f"{{{label}={value}}}" for label, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def scrape(pool: ServedPool) -> dict[str, float]:
    answer = pool.raw("GET", "/v1/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return parsed(answer.body)


def documented_name(family: Metric) -> str:
    return family.name + "_total" if family.type == "counter" else family.name


def test_metric_families_are_the_same_with_and_without_devices() -> None:
    families = list(Metrics().families(now(World(spec("gpu")).state)))
    assert [family.name for family in Metrics().families(now(State()))] == [family.name for family in families]
    assert all(len(family.documentation.split()) >= 3 for family in families)
    assert len({documented_name(family) for family in families}) == len(families)


@pytest.mark.slow
def test_metrics_count_events_and_faults(serve: Serve) -> None:
    pool = serve(simulate="2xT4-16GB")
    leases = [pool.client.request("full", notebook="secret.ipynb", token=new_token()) for _ in range(3)]
    with contextlib.suppress(FastGPUError):
        pool.client.lease("no-such-lease")
    with contextlib.closing(pool.client.events()) as stream:
        messages = iter(stream)
        next(messages)
        seen = scrape(pool)
        assert seen["fastgpu_subscribers"] == 1
        assert seen["fastgpu_connections"] >= 2
    assert seen["fastgpu_grants_total"] == 2
    assert seen["fastgpu_events_total{type=LeaseRequested}"] == 3
    assert (seen["fastgpu_leases{state=active}"], seen["fastgpu_leases{state=waiting}"]) == (2, 1)
    assert seen["fastgpu_waiting_requests{reason=capacity}"] == 1
    assert seen["fastgpu_devices{health=healthy}{model=T4-16GB}"] == 2
    assert seen["fastgpu_refused_requests_total{code=not_found}"] == 1
    assert seen["fastgpu_decision_seconds_count"] >= 3
    assert 0 < seen["fastgpu_journal_append_seconds_count"] <= seen["fastgpu_decision_seconds_count"]
    assert seen["fastgpu_journal_append_seconds_sum"] > 0
    assert seen["fastgpu_accepting"] == 1
    device = device_of(leases[0])
    assert seen[f"fastgpu_device_memory_bytes{{device={device}}}"] == 16 * 2**30
    assert seen[f"fastgpu_device_memory_free_bytes{{device={device}}}"] == 0
    wait_until(lambda: f"fastgpu_device_utilization_percent{{device={device}}}" in scrape(pool), "it was sampled")
    pool.client.release(leases[0]["id"])
    wait_until(lambda: scrape(pool)["fastgpu_grants_total"] == 3, "the next one is granted")


def test_metric_labels_name_no_notebook_lease_or_tenant(serve: Serve) -> None:
    pool = serve()
    lease = pool.client.request("full", notebook="secret.ipynb", kernel_id="kernel-7", token=new_token())
    text = pool.raw("GET", "/v1/metrics").body.decode()
    for name in ("secret", "kernel-7", lease["id"], lease["tenant"]["key"], lease["tenant"]["name"]):
        assert f'"{name}' not in text


def test_metrics_have_every_state_and_reason_from_the_start() -> None:
    seen = parsed(Metrics().text(now(State())))
    assert {f"fastgpu_leases{{state={state.value}}}" for state in LeaseState} <= set(seen)
    assert {f"fastgpu_waiting_requests{{reason={reason.value}}}" for reason in PendingReason} <= set(seen)
    assert seen["fastgpu_cut_subscribers_total{reason=stuck}"] == 0


def test_metrics_leave_out_unknown_readings() -> None:
    state = World(spec("gpu"), spec("other", index=1)).state
    usage = Sample(devices={"gpu": DeviceUsage(37, None)})
    seen = parsed(Metrics().text(now(state, usage)))
    assert seen["fastgpu_device_utilization_percent{device=gpu}"] == 37
    assert not any("used_bytes" in name or ("utilization" in name and "other" in name) for name in seen)


def test_cost_metrics_have_no_names() -> None:
    world = World(spec("gpu"), spec("other", index=1))
    world.do(c.ReserveCapacity("r", "ann", 500, None, Plan.MONTH, 0))
    world.do(c.SetBudget("bob", 3_600_000))
    world.active("a", tenant="bob")
    world.pass_time(1_800_000)
    seen = parsed(Metrics().text(now(world.state)))
    assert seen["fastgpu_spent_this_month"] == 1.8 + 0.9
    assert seen["fastgpu_reserved_devices"] == 0.5
    assert (seen["fastgpu_budgets{percent=50}"], seen["fastgpu_budgets{percent=100}"]) == (1, 0)


@pytest.mark.parametrize("took_s", [0.0, BUCKETS_S[0], 0.003, BUCKETS_S[-1], 1e6])
def test_histogram_counts_a_duration_in_each_bucket_that_it_fits(took_s: float) -> None:
    timings = Histogram()
    timings.add(took_s)
    buckets = dict(timings.buckets())
    assert buckets.pop("+Inf") == 1
    assert {end: count for end, count in buckets.items() if count} == {
        str(end): 1 for end in BUCKETS_S if took_s <= end
    }
    assert timings.sum_s == took_s
