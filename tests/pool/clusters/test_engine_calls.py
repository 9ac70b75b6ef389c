"""Submissions, cancellations and agents' reports on a simulated clock, call by call of an engine that is a stub."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from unittest import mock

import msgspec
import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.cluster import ClusterJob
from fastgpu_jupyter.core.model.entities import ClusterRequest, LeaseRequest
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.errors import EngineUnavailable, Message
from fastgpu_jupyter.pool.clusters.agent_messages import AgentBeat, AgentBye, AgentHello
from fastgpu_jupyter.pool.clusters.agents import AgentListener, AgentRequests
from fastgpu_jupyter.pool.clusters.allocation import Allocations
from fastgpu_jupyter.pool.clusters.board import Board, Watched
from fastgpu_jupyter.pool.clusters.cancellations import AGAIN_S, GRACE_S, Cancellations
from fastgpu_jupyter.pool.clusters.engine import Running
from fastgpu_jupyter.pool.clusters.engine_thread import ANSWER_S, EngineThread
from fastgpu_jupyter.pool.clusters.submissions import SETTLE_S, Submissions
from fastgpu_jupyter.pool.devices.registry import CATALOG
from tests.benchmarks.cluster_day import Day
from tests.sim.simulated_loop import SimulatedLoop, SimulatedThread, SimulatedTime

NAME = "fgpu-01234567-far-1"


class Stub:
    """An engine, the rendezvous and the sink of commands: it records what it is called for."""

    def __init__(self) -> None:
        self.listed: list[dict[str, str]] = []  #: answers of the next lists; then there is no job
        self.calls: list[tuple[str, ...]] = []
        self.commands: list[c.Command] = []
        self.runs: Running | None = None
        self.unanswered = 0  #: submissions that are not answered
        self.connected: set[str] = set()  #: ids of the jobs whose agents are connected
        self.thread = EngineThread(SimulatedThread, lambda: 0, lambda: None)
        self.leases: dict[str, Watched] = {}

    def submit(self, _want: object, _agent: object, name: str) -> str:
        self.calls.append(("submit", name))
        if self.unanswered:
            self.unanswered -= 1
            raise EngineUnavailable(Message.of("cluster.fake_silent"))
        return "17"

    def cancel(self, job: str) -> None:
        self.calls.append(("cancel", job))

    def running(self, job: str) -> Running | None:
        self.calls.append(("running", job))
        return self.runs

    async def list_jobs(self) -> dict[str, str]:
        return self.listed.pop(0) if self.listed else {}

    def is_connected(self, _name: str, job_id: str | None = None) -> bool:
        return job_id in self.connected

    async def release(self, name: str) -> None:
        self.calls.append(("release", name))

    def expect(self, _name: str) -> bytes:
        return b"{}"

    def forget(self, name: str) -> None:
        self.calls.append(("forget", name))

    def run_once(self, job: Coroutine[Any, Any, None]) -> None:
        asyncio.ensure_future(job)  # noqa: RUF006 (it is done at once)

    async def submit_until_durable(self, command: c.Command) -> None:
        self.commands.append(command)

    def cancellations(self, may_exist: Callable[[str], bool] = lambda _: False) -> Cancellations:
        own: Any = self
        return Cancellations(
            own, self.thread, own, own, list_jobs=self.list_jobs, may_exist=may_exist, settle_s=SETTLE_S
        )

    def submissions(self) -> Submissions:
        own: Any = self
        return Submissions(
            own, self.thread, own, own,
            leases=self.leases, list_jobs=self.list_jobs, abandon=lambda *job: self.calls.append(("abandon", *job)),
        )  # fmt: skip

    def listener(self) -> AgentListener:
        own: Any = self
        requests = AgentRequests(
            lambda: self.calls.append(("look",)), lambda *job: self.calls.append(("cancel", *map(str, job)))
        )
        return AgentListener(
            own, self.thread, Board(lambda _: None), own,
            leases=self.leases, allocations=Allocations(CATALOG, {}, {}), wall_ms=lambda: 0, requests=requests,
        )  # fmt: skip

    def lease(self, state: LeaseState = LeaseState.WAITING, size: str = "full", job_id: str | None = None) -> None:
        request = LeaseRequest(size, None, None, "far.ipynb", cluster=ClusterRequest())
        self.leases[NAME] = Watched("far", ClusterJob(NAME, job_id=job_id), state, None, request)


def play(story: Callable[[Stub], Awaitable[None]]) -> None:
    """Run a story on a clock of its own."""
    loop = SimulatedLoop(SimulatedTime())
    task = loop.create_task(_story(story))
    loop.run(3600.0, 10**6)
    assert task.done()
    task.result()
    loop.close()


async def _story(story: Callable[[Stub], Awaitable[None]]) -> None:
    await story(Stub())


async def step(what: Cancellations | Submissions) -> None:
    """Wait until something is due, and do it, as the service does."""
    wait_s = what.due_in_s()
    assert wait_s is not None, "nothing is due"
    await asyncio.sleep(wait_s)
    await what.step()


def test_cancel_is_repeated_until_the_engine_says_that_the_job_is_over() -> None:
    async def story(stub: Stub) -> None:
        cancellations, began_s = stub.cancellations(), asyncio.get_running_loop().time()
        cancellations.add(NAME, "17")
        for _ in range(4):
            await step(cancellations)
        assert stub.calls == [("cancel", "17")] * 4
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(3 * AGAIN_S)
        cancellations.done(NAME, "17")
        assert cancellations.due_in_s() is None

    play(story)


def test_agent_is_released_before_its_job_is_cancelled_and_not_for_another_job_with_its_name() -> None:
    async def story(stub: Stub) -> None:
        stub.connected = {"17"}
        cancellations, began_s = stub.cancellations(), asyncio.get_running_loop().time()
        cancellations.add(NAME, "18")
        await step(cancellations)
        assert stub.calls == [("cancel", "18")], "the agent belongs to another job"
        cancellations.add(NAME, "17")
        await step(cancellations)
        await step(cancellations)
        assert stub.calls[1:] == [("release", NAME), ("cancel", "17")]
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(GRACE_S)
        assert cancellations.jobs() == {"17": NAME, "18": NAME}

    play(story)


def test_job_without_an_id_is_looked_for_while_its_submission_may_be_on_its_way() -> None:
    async def story(stub: Stub) -> None:
        stub.listed = [{}, {NAME: "17"}]
        cancellations = stub.cancellations(lambda _: True)
        cancellations.add(NAME, None)
        for _ in range(3):
            await step(cancellations)
        assert stub.calls == [("cancel", "17")], "it is found, and cancelled"

    play(story)


def test_submission_that_may_have_been_made_is_made_again_only_when_no_such_job_came_in_time() -> None:
    async def story(stub: Stub) -> None:
        stub.lease()
        stub.unanswered = 1
        submissions = stub.submissions()
        submissions.add("far", NAME, certain=True)
        with pytest.raises(EngineUnavailable):
            await step(submissions)
        assert submissions.may_exist(NAME)
        await asyncio.sleep(stub.thread.pause_s())
        began_s = asyncio.get_running_loop().time()
        await step(submissions)
        assert stub.calls == [("submit", NAME)], "the first one may be on its way"
        await step(submissions)
        assert stub.calls == [("submit", NAME)] * 2
        assert asyncio.get_running_loop().time() - began_s == pytest.approx(SETTLE_S)
        assert stub.commands == [c.ClusterJobSubmitted("far", NAME, "17")]

    play(story)


def test_submission_that_arrived_is_recorded_and_its_job_is_ended_where_the_lease_is_over() -> None:
    async def story(stub: Stub) -> None:
        stub.listed = [{NAME: "17"}]
        submissions = stub.submissions()
        submissions.add("far", NAME, certain=False)
        await step(submissions)
        assert stub.commands == [c.ClusterJobSubmitted("far", NAME, "17")]
        assert stub.calls == [("abandon", NAME, "17")], "no lease has it"
        assert submissions.due_in_s() is None

    play(story)


def test_engine_that_hangs_is_called_once() -> None:
    async def story(stub: Stub) -> None:
        with mock.patch.object(SimulatedThread, "delay_s", staticmethod(lambda _: 5 * ANSWER_S)):
            for _ in range(3):
                with pytest.raises(EngineUnavailable):
                    await stub.thread.call(stub.cancel, "17")
        await asyncio.sleep(20 * ANSWER_S)
        assert stub.calls == [("cancel", "17")], "calls do not wait behind one that hangs"
        await stub.thread.call(stub.cancel, "18")
        assert stub.thread.unanswered_since is None

    play(story)


def test_request_that_is_not_checked_in_time_leaves_no_call_behind() -> None:
    day = Day(nodes=1, notebooks=1, hours=1.0, seed=1)
    asyncio._set_running_loop(day.loop)
    try:
        day._set_up()
        request = LeaseRequest("h100", None, None, "far.ipynb", cluster=ClusterRequest())
        with mock.patch.object(SimulatedThread, "delay_s", staticmethod(lambda _: 2.0)):
            checks = [day.loop.create_task(day.service.check(request)) for _ in range(20)]
            day.loop.run(3600.0, 10**6)
    finally:
        asyncio._set_running_loop(None)
    assert all(check.done() for check in checks)
    assert day.service.thread.calls["check"] <= 3, "others had their turn"
    day.loop.crash()
    day.folder.cleanup()


@pytest.mark.parametrize(
    "wrong", [{"age_s": 1e308}, {"age_s": -1.0}, {"exit_code": 2**62}, {"pid": 2**60}, {"generation": -1}]
)
def test_numbers_of_an_agent_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    state = {"generation": 1, "state": "ended", "pid": 1, "exit_code": -9, "age_s": 1.0}
    beats = [json.dumps({"instance": "x", "kernel": each}) for each in (state, {**state, **wrong})]
    assert msgspec.json.decode(beats[0], type=AgentBeat).kernel is not None
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(beats[1], type=AgentBeat)


@pytest.mark.parametrize("wrong", ["--state=RUNNING", "1 2", "-u", "1\n"])
def test_job_id_of_an_agent_is_no_option_of_a_command(wrong: str) -> None:
    said = msgspec.to_builtins(hello())
    assert msgspec.convert(said, AgentHello, strict=False).job_id == "17"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**said, "job_id": wrong}, AgentHello, strict=False)


def hello(job_id: str = "17") -> AgentHello:
    """What an agent says that sees no device of its own."""
    return AgentHello(1, "x", "n1", "", 1, job_id, {"SLURM_JOB_GPUS": "0"}, "3.11", None, None)


def test_lease_whose_rate_the_agent_does_not_know_is_granted_with_the_engines_word() -> None:
    async def story(stub: Stub) -> None:
        stub.lease(size="a100", job_id="17")
        listener = stub.listener()
        listener.on_hello(NAME, hello())
        await listener.step()
        assert stub.commands == [], "a100 may be one of two models"
        stub.runs = Running("n1", None, "a100-80gb")
        await listener.step()
        (granted,) = stub.commands
        assert isinstance(granted, c.ClusterGranted)
        assert [device.model for device in granted.allocation.devices] == ["a100-80gb"]

    play(story)


def test_silence_and_end_of_an_agent_are_reasons_to_ask_the_engine_only() -> None:
    async def story(stub: Stub) -> None:
        stub.lease(LeaseState.ACTIVE, job_id="17")
        listener = stub.listener()
        listener.on_gone(NAME)
        listener.on_exit(NAME, -9, "")
        listener.on_bye(NAME, AgentBye("x", "terminated").reason)
        assert Counter(stub.calls) == {("look",): 3}, "nothing is cancelled"
        assert stub.commands == []
        listener.on_bye(NAME, "lost")
        assert stub.calls[3] == ("cancel", NAME, "17"), "Slurm would take it for running"

    play(story)
