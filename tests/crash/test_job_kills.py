"""Each process of a job is killed at each step of it; every acknowledged job ends once, and nothing is left.

``FASTGPU_JOB_KILLS=all`` kills each process at each step. Otherwise a few pairs are taken, one of each process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fastgpu_jupyter.wire.job_states import JobState
from tests.crash.job_world import JobsWorld, Submitted, jobs_world
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

_S = JobState
#: The step of a job at which a process is killed: the process that reaches it, and the failpoint there.
POINTS = {
    "submit: before it is sent": ("client", "before-send:submit"),
    "submit: before it is stored": ("dispatcher", "before-commit"),
    "submit: before it is answered": ("dispatcher", "after-commit"),
    "granted: before its runner is started": ("dispatcher", "before-spawn"),
    "granted: after its runner is started": ("dispatcher", "after-spawn"),
    "granted: before the runner has a guard": ("runner", "before-fork"),
    "granted: before the work begins": ("runner", "before-rename:work.json"),
    "granted: as the work begins": ("runner", "after-rename:work.json"),
    "writing: a part of the result": ("runner", "before-rename-in:objects"),
    "writing: the list of the parts": ("runner", "before-rename-in:manifests"),
    "writing: the outcome": ("runner", "before-rename:outcome.json"),
    "answering: before the dispatcher knows": ("runner", "after-rename:outcome.json"),
}
#: Steps that a test sees from outside.
QUEUED, RUNNING = "queued", "running"
#: Steps at which the dispatcher stores the end of a job.
RECORDING = {"answering: before it is stored": "before-commit", "answering: after it is stored": "after-commit"}
STEPS = (*POINTS, QUEUED, RUNNING, *RECORDING)
VICTIMS = ("client", "dispatcher", "runner", "guard", "work", "pool")
#: Victims that do not exist at a step, by how its name begins.
ABSENT = {
    "submit": {"runner", "guard", "work"},
    "queued": {"runner", "guard", "work"},
    "granted: before its": {"runner", "guard", "work"},
    "granted": {"guard", "work"},
    "writing": {"work"},
    "answering": {"guard", "work"},
}
#: In so many parts, so that one failure hides no other.
PARTS = 16 if os.environ.get("FASTGPU_JOB_KILLS") == "all" else 1
#: A few of each, for every run of the tests.
SAMPLE = (
    ("submit: before it is answered", "dispatcher"),
    ("granted: before the work begins", "runner"),
    ("running", "pool"),
    ("writing: the outcome", "runner"),
)


def cases() -> Iterator[tuple[str, str]]:
    """Yield the pairs of a step and a victim of this run."""
    if os.environ.get("FASTGPU_JOB_KILLS") != "all":
        yield from SAMPLE
        return
    for step in STEPS:
        absent = next((those for begin, those in ABSENT.items() if step.startswith(begin)), ())
        yield from ((step, victim) for victim in VICTIMS if victim not in absent)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobsWorld]:
    """Yield a pool manager with one simulated device, and a user of it."""
    with jobs_world(tmp_path_factory.mktemp("jobs")) as made:
        yield made


def run_case(world: JobsWorld, step: str, victim: str) -> Submitted:
    """Run one job to its end with a kill at a step, and return it."""
    world.client.ping()
    killed = world.pool.pid if victim == "pool" else victim
    if step == QUEUED:
        world.block()
    job = world.new_job(hold=step == RUNNING or step in RECORDING)
    if step in POINTS:
        world.arm(*POINTS[step], killed)
    client = world.start_client(job)
    if step in POINTS:
        world.wait_reached()
    elif step == QUEUED:
        wait_until(lambda: any(one["name"] == job.folder.name for one in world.client.jobs()), "it is queued")
        world.kill(victim)
    else:
        world.wait_begun(job)
        if step in RECORDING:
            world.arm("dispatcher", RECORDING[step], killed)
            world.let_go(job)
            world.wait_reached()
        else:
            world.kill(victim)
    world.restart_what_was_killed()
    world.submit(job)  # it is not known whether it was accepted: once more is the same job
    world.unblock()
    world.let_go(job)
    world.wait_over(job)
    client.wait(60) if victim != "client" else client.wait()
    assert client.stdout is not None
    client.stdout.close()
    return job


def expected(step: str, victim: str) -> set[JobState]:
    """Return how a job may end that has one retry."""
    if victim == "work":
        return {_S.FAILED}  # it ended by a signal, as it could have by itself
    if victim == "guard":
        return {_S.DONE, _S.FAILED}  # with the guard the work ends
    return {_S.DONE}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
def test_process_of_a_job_that_is_killed_at_a_step_loses_nothing_and_leaves_nothing(
    world: JobsWorld, part: int
) -> None:
    for step, victim in [*cases()][part::PARTS]:
        what = f"{victim} was killed at: {step}"
        try:
            job = run_case(world, step, victim)
            view = world.client.job(job.id)
            assert JobState(view["state"]) in expected(step, victim), world.describe(job)
            world.check(job)
        except BaseException as error:
            error.add_note(what)
            raise
