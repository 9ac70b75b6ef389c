"""The adapter with what real Slurms of several versions printed; see :mod:`.recording`."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fastgpu_jupyter.errors import EngineUnavailable, Message
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.pool.clusters.engine import Ended, GPUKind, Infeasible, Queued, Running, Status, Want
from fastgpu_jupyter.pool.clusters.slurm.reasons import refusal
from tests.pool.clusters.slurm.recording import Recording, Step, engine_of, recordings

HOUR_MS = 3_600_000
RECORDINGS = recordings()
#: Versions that must be there.
VERSIONS = ("20.11", "22.05", "24.11", "26.05")
OWN = "two nodes with device files, on one host"
#: Codes for what the tables of the adapter do not have.
UNRECOGNIZED = {"slurm.other_reason", "slurm.ended", "slurm.refused"}
#: By step: what the status of its job is, and why.
STATUSES: Mapping[str, tuple[type[Status], str]] = {
    "forgotten": (Ended, "slurm.forgotten"),
    "resources": (Queued, "slurm.resources"),
    "priority": (Queued, "slurm.priority"),
    "held by user": (Queued, "slurm.held_by_user"),
    "held": (Queued, "slurm.held_by_admin"),
    "over time limit": (Infeasible, "slurm.over_partition"),
    "partition down": (Queued, "slurm.partition_closed"),
    "nodes down": (Queued, "slurm.nodes_unavailable"),
    "cancelled while waiting": (Ended, "slurm.cancelled"),
    "cancelled": (Ended, "slurm.cancelled"),
    "failed": (Ended, "slurm.failed"),
    "not launched": (Ended, "slurm.not_launched"),
    "time limit": (Ended, "slurm.timeout"),
    "time limit heeded": (Ended, "slurm.timeout"),
    "node failure": (Ended, "slurm.node_failed"),
}
#: By step: host and model of a job that runs.
RUNNING = {
    "whole": ("n2", "h100"),
    "mig": ("n2", "1g.10gb"),
    "shard": ("n1", "a100"),
}
#: By step: why a request is refused.
REFUSALS = {
    "no partition": "slurm.no_partition",
    "no feature": "slurm.no_constraint",
    "no type": "slurm.no_nodes",
    "no resource": "slurm.no_nodes",
    "too many": "slurm.no_nodes",
    "too much memory": "slurm.no_nodes",
    "too many processors": "slurm.no_nodes",
    "closed account": "slurm.account_refused",
}


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest) -> Recording:
    """Each recording."""
    return RECORDINGS[request.param]


@pytest.fixture
def own(recording: Recording) -> Recording:
    """Each recording of a cluster as the tests have it, where all is known."""
    if recording.made_on != OWN:
        pytest.skip(f"recorded on {recording.made_on}")
    return recording


def step_of(recording: Recording, name: str) -> Step:
    found = recording.step(name)
    assert found, f"{recording.slurm} has no step {name}"
    return found


def status_of(step: Step) -> Status:
    (job,) = step.jobs
    return engine_of(step).statuses([job])[job]


def test_versions_are_recorded_and_labelled() -> None:
    assert set(RECORDINGS) >= set(VERSIONS)
    for name, recording in RECORDINGS.items():
        assert recording.slurm.startswith(f"{name[:5]}.")
        assert recording.package
        assert recording.date
        assert engine_of(step_of(recording, "kinds")).version() == recording.slurm


def test_nothing_of_a_recording_is_unrecognized(recording: Recording) -> None:
    for step in recording.steps:
        ran = step.answers[0]
        if step.gres and ran.status:
            assert said(step).code not in UNRECOGNIZED, f"{step.name}: {ran.errors}"
        elif ran.argv[0] == "squeue" and step.name != "list" and not ran.status:
            status = status_of(step)
            assert isinstance(status, Running) or status.reason.code not in UNRECOGNIZED, f"{step.name}: {ran.output}"


def said(step: Step) -> Message:
    ran = engine_of(step)._commands.trial(step.answers[0].argv, "")
    message = refusal(ran.said, Want(1, options=step.options), step.gres).message
    assert render(message)
    return message


def test_kinds_and_expected_start_are_read(own: Recording) -> None:
    shards = 4 if own.step("shard runs") else None
    step = step_of(own, "kinds")
    assert engine_of(step).kinds() == [
        GPUKind("gpu", "a100", 2, 1, shards, (), 8 * HOUR_MS, default_partition=True),
        GPUKind("gpu", "h100", 4, 1, None, ("1g.10gb",), 8 * HOUR_MS, default_partition=True),
        GPUKind("short", "a100", 2, 1, shards, (), HOUR_MS // 6),
        GPUKind("physics", "h100", 4, 1, None, ("1g.10gb",), None),
    ]
    assert engine_of(step).controller() == "127.0.0.1"
    assert engine_of(step)._isolates() is False
    step = step_of(own, "check")
    expected_ms = engine_of(step).check(Want(1))
    assert expected_ms is not None
    assert abs(expected_ms / 1000 - step.at) < 60


def test_jobs_that_wait_end_and_fail_have_their_reason(own: Recording) -> None:
    found = {name: status_of(step_of(own, name)) for name in STATUSES}
    reasons = {name: (type(one), one.reason.code) for name, one in found.items() if not isinstance(one, Running)}
    assert reasons == STATUSES
    assert all(render(one.reason) for one in found.values() if not isinstance(one, Running))
    assert isinstance(first := found["resources"], Queued)
    assert isinstance(second := found["priority"], Queued)
    assert (first.position, second.position) == (1, 2)
    assert first.starts_at_ms is not None
    assert 3_500_000 < first.starts_at_ms - step_of(own, "resources").at * 1000 < 3_700_000, "when the first job ends"


def test_jobs_that_run_have_host_end_and_model(own: Recording) -> None:
    for name, expected in RUNNING.items():
        if name == "shard" and own.slurm < "22.05":
            assert not own.step("shard runs"), "there are none yet"
            continue
        step = step_of(own, f"{name} runs")
        running = status_of(step)
        assert isinstance(running, Running)
        assert (running.host, running.model) == expected
        assert running.isolated is False
        assert running.ends_at_ms is not None
        assert HOUR_MS - 60_000 < running.ends_at_ms - step.at * 1000 <= HOUR_MS + 1000
        alone = step_of(own, f"{name} alone")
        assert engine_of(alone).running(*alone.jobs) == running
    step = step_of(own, "list")
    assert step.jobs[0] in engine_of(step).list("fgpu-0a1b2c3d-").values()
    assert engine_of(step).list("fgpu-ffffffff-") == {}


def test_refusals_are_recognized(own: Recording) -> None:
    assert {name: said(step_of(own, name)).code for name in REFUSALS} == REFUSALS
    for name in (
        "account",
        "qos",
        "time",
    ):  # which mean nothing without accounting, or count only when a job is to start
        assert step_of(own, name).answers[0].status == 0


def test_cancelling_what_is_over_is_harmless(recording: Recording) -> None:
    for name in ("cancel", "cancel again", "cancel unknown"):
        step = recording.step(name)
        if step:
            engine_of(step).cancel(*step.jobs)


def test_controller_that_is_down_is_unknown(own: Recording) -> None:
    with pytest.raises(EngineUnavailable) as error:
        status_of(step_of(own, "controller down"))
    assert error.value.message.code == "slurm.unreached"
