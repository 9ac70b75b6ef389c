"""The executor against a dispatcher whose jobs begin and end when the test says so.

The checks of the standard library for its own executors are among them, rewritten.
"""

from __future__ import annotations

import gc
import pickle
import threading
import weakref
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest, Message, NoSuchDevice
from fastgpu_jupyter.jobs import calls
from fastgpu_jupyter.jobs.call_failures import CallCancelled, CallTimeout, UnpicklableCall, UnreadableResult, WorkerDied
from fastgpu_jupyter.jobs.executor import Executor
from fastgpu_jupyter.jobs.future import Future
from tests.jobs.fake_dispatcher import FakeDispatcher, use
from tests.waiting import DEADLINE_S, wait_until


@pytest.fixture
def dispatcher(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDispatcher:
    """The dispatcher that the executors of this process use."""
    return use(monkeypatch, isolated)


@pytest.fixture
def pool(dispatcher: FakeDispatcher) -> Iterator[Executor]:
    """An executor; what is left of its jobs is cancelled or ended."""
    executor = Executor()
    yield executor
    executor.shutdown(wait=False, cancel_futures=True)
    for job_id, job in dispatcher.jobs.items():
        if job["state"] == "running":
            dispatcher.change(job_id, state="lost")
    executor.shutdown()


def multiply(x: int, y: int) -> int:
    return x * y


def capture(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


class Thing:
    def method(self) -> None: ...


def running(dispatcher: FakeDispatcher, future: Future[Any]) -> Future[Any]:
    """The future once its job runs."""
    dispatcher.change(future.job_id, state="running")
    wait_until(future.running, "the future runs")
    return future


# -- submit ------------------------------------------------------------------------------------------------------------


def test_submit_returns_what_the_call_returns(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(multiply, 2, y=8)
    assert not future.done()
    dispatcher.finish(future.job_id)
    assert future.result(DEADLINE_S) == 16
    assert future.exception() is None


def test_submit_passes_every_keyword_on(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(capture, 1, self=2, fn=3)
    dispatcher.finish(future.job_id)
    assert future.result(DEADLINE_S) == ((1,), {"self": 2, "fn": 3})
    with pytest.raises(TypeError):
        pool.submit(fn=capture, arg=1)  # type: ignore[call-arg]


def test_submit_refuses_variables_that_look_like_secrets(
    dispatcher: FakeDispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    with Executor(variables=["HF_*"]) as pool, pytest.raises(InvalidRequest, match="HF_TOKEN"):
        pool.submit(multiply, 1, 2)
    assert not dispatcher.jobs


def test_submit_names_the_job_and_passes_the_options_on(dispatcher: FakeDispatcher) -> None:
    with Executor("half", max_workers=4, priority="low", timeout="2m", retries=1) as pool:
        pool.submit(multiply, 1, 2)
        pool.options(size="24GiB", name="all of it", timeout=None, hold=True).submit(multiply, 1, 2)
        for job_id in dispatcher.jobs:
            dispatcher.finish(job_id)
    first, second = dispatcher.bodies.values()
    assert (first["name"], first["size"], first["options"], first["timeout_ms"], first["retries"]) == (
        "multiply", "half", {"priority": "low"}, 120_000, 1,
    )  # fmt: skip
    assert (second["name"], second["size"], second["timeout_ms"]) == ("all of it", "24GiB", None)
    assert second["options"] == {"priority": "low", "retention": "hold"}
    programs = [body["program"] for body in (first, second)]
    assert programs[0]["executor"] == programs[1]["executor"]
    assert [program["workers_max"] for program in programs] == [4, 4]
    assert programs[0]["worker"] != programs[1]["worker"]


def test_call_can_follow_another_and_save_files(dispatcher: FakeDispatcher, pool: Executor) -> None:
    first = pool.submit(multiply, 1, 2)
    second = pool.options(after=[first], save=["out/*.png"]).submit(multiply, 1, 2)
    assert dispatcher.bodies[second.job_id]["after"] == [first.job_id]
    assert dispatcher.bodies[second.job_id]["save"] == ["out/*.png"]


def test_cached_call_has_a_key_and_no_worker_of_others(dispatcher: FakeDispatcher, pool: Executor) -> None:
    cached = pool.options(cache=True)
    for executor, factor in ((pool, 2), (cached, 2), (cached, 2), (cached, 3)):
        executor.submit(pow, 2, factor)
    plain, first, same, other = dispatcher.bodies.values()
    assert plain["cache"] is None
    assert first["cache"]["key"] == same["cache"]["key"] != other["cache"]["key"]
    assert plain["program"]["worker"] != first["program"]["worker"]


def test_option_that_is_unknown_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Executor(prioritty="low")
    assert "prioritty" in str(refused.value)


@pytest.mark.parametrize("number", [0, -1])
def test_executor_needs_a_worker(number: int) -> None:
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(max_workers=number)


def test_refusal_is_a_sentence_and_leaves_nothing(dispatcher: FakeDispatcher, pool: Executor) -> None:
    dispatcher.refusal = NoSuchDevice(Message.of("call.removed", job=3))
    with pytest.raises(NoSuchDevice, match=r"^Job 3 was removed"):
        pool.submit(multiply, 1, 2)
    assert list(dispatcher.folder.glob("draft-*")) == []


def test_unpicklable_argument_is_named(dispatcher: FakeDispatcher, pool: Executor) -> None:
    with pytest.raises(UnpicklableCall, match=r"argument y \(lock\).*make it inside") as refused:
        pool.submit(multiply, 1, threading.Lock())  # type: ignore[arg-type]
    assert isinstance(refused.value, pickle.PicklingError)
    assert isinstance(refused.value.__cause__, TypeError)
    with pytest.raises(UnpicklableCall, match="argument later"):
        pool.submit(capture, later=threading.Lock())
    lock = threading.Lock()
    with pytest.raises(UnpicklableCall, match="function <lambda> uses"):
        pool.submit(lambda: lock)
    assert not dispatcher.jobs
    assert list(dispatcher.folder.glob("draft-*")) == []


def test_executor_keeps_no_reference_to_arguments(dispatcher: FakeDispatcher, pool: Executor) -> None:
    thing = Thing()
    collected = weakref.ref(thing)
    pool.submit(thing.method)
    del thing
    assert collected() is None


# -- the end of a call -------------------------------------------------------------------------------------------------


def test_exception_has_the_remote_traceback_as_its_cause(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(divmod, 1, 0)
    dispatcher.finish(future.job_id)
    with pytest.raises(ZeroDivisionError) as raised:
        future.result(DEADLINE_S)
    assert "the remote traceback" in str(raised.value.__cause__)
    assert isinstance(future.exception(), ZeroDivisionError)


@pytest.mark.parametrize(
    ("fields", "kind", "says"),
    [
        ({"state": "failed", "error": {"name": "SIGKILL", "text": "It was killed."}}, WorkerDied, "It was killed."),
        ({"state": "failed", "error": {"name": "Timeout", "text": ""}}, CallTimeout, "10 s"),
        ({"state": "lost"}, WorkerDied, "lost"),
        ({"state": "cancelled"}, CallCancelled, "cancelled while"),
    ],
)
def test_job_that_ends_without_its_call_says_why(
    dispatcher: FakeDispatcher, pool: Executor, fields: dict[str, Any], kind: type[BaseException], says: str
) -> None:
    future = running(dispatcher, pool.options(timeout=10).submit(multiply, 1, 2))
    dispatcher.change(future.job_id, **fields)
    with pytest.raises(kind, match=says):
        future.result(DEADLINE_S)
    assert not future.cancelled()
    after = pool.submit(multiply, 2, 3)  # the executor goes on
    dispatcher.finish(after.job_id)
    assert after.result(DEADLINE_S) == 6


def test_worker_that_died_is_a_broken_executor() -> None:
    assert issubclass(WorkerDied, futures.BrokenExecutor)
    assert issubclass(CallTimeout, TimeoutError)
    assert issubclass(CallCancelled, futures.CancelledError)


def test_result_that_cannot_be_read_is_kept_and_said(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(multiply, 1, 2)
    dispatcher.finish(future.job_id)
    future.result(DEADLINE_S)
    lost = running(dispatcher, pool.submit(multiply, 1, 2))
    dispatcher.change(lost.job_id, state="done", result={"digest": "0" * 64})
    with pytest.raises(UnreadableResult, match=f"Job {lost.job_id} is done"):
        lost.result(DEADLINE_S)


def test_job_that_was_removed_ends_the_future(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = running(dispatcher, pool.submit(multiply, 1, 2))
    del dispatcher.jobs[future.job_id]
    dispatcher.push(gone=[future.job_id])
    with pytest.raises(WorkerDied, match="was removed"):
        future.result(DEADLINE_S)


def test_another_dispatcher_reports_what_ended_meanwhile(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(multiply, 3, 4)
    dispatcher.follows.acquire()
    with dispatcher._lock:
        streams, dispatcher._followed = dispatcher._followed, []  # what happens next is not pushed
        dispatcher.finish(future.job_id)
        dispatcher.bodies[future.job_id]["program"]["executor"] = "another"  # nor in the first event
        for stream in streams:
            stream.close()
    assert future.result(DEADLINE_S) == 12


def test_result_of_a_job_that_was_over_at_once(dispatcher: FakeDispatcher, pool: Executor, monkeypatch: Any) -> None:
    """As one from the cache."""
    submit = dispatcher.submit

    def cached(body: dict[str, Any]) -> dict[str, Any]:
        view = submit(body)
        dispatcher.finish(view["id"])
        return dispatcher.job(view["id"])

    monkeypatch.setattr(dispatcher, "submit", cached)
    assert pool.submit(multiply, 3, 4).done()


# -- cancel ------------------------------------------------------------------------------------------------------------


def test_queued_call_is_cancelled_and_reported_once(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(multiply, 1, 2)
    calls: list[Any] = []
    future.add_done_callback(calls.append)
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    done, _ = futures.wait([future], DEADLINE_S)
    assert done == {future}
    assert calls == [future]
    with pytest.raises(futures.CancelledError):
        future.result()


def test_running_call_is_not_cancelled(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(multiply, 1, 2)
    dispatcher.jobs[future.job_id]["state"] = "running"  # which the future does not know yet
    assert not future.cancel()
    running(dispatcher, future)
    assert not future.cancel()
    dispatcher.finish(future.job_id)
    assert future.result(DEADLINE_S) == 2
    assert not future.cancel()


def test_job_that_another_process_cancels_cancels_its_queued_call(dispatcher: FakeDispatcher, pool: Executor) -> None:
    future = pool.submit(multiply, 1, 2)
    dispatcher.cancel(future.job_id)
    with pytest.raises(futures.CancelledError):
        future.result(DEADLINE_S)
    assert future.cancelled()


# -- wait, as_completed, callbacks -------------------------------------------------------------------------------------


def test_wait_and_as_completed_see_calls_as_they_end(dispatcher: FakeDispatcher, pool: Executor) -> None:
    calls: list[Future[Any]] = [pool.submit(multiply, number, 1) for number in range(3)]
    dispatcher.finish(calls[1].job_id)
    done, pending = futures.wait(calls, DEADLINE_S, futures.FIRST_COMPLETED)
    assert done == {calls[1]}
    dispatcher.finish(calls[2].job_id)
    arrived = futures.as_completed(pending)
    assert next(arrived) is calls[2]
    failing: Future[Any] = pool.submit(divmod, 1, 0)
    dispatcher.finish(failing.job_id)
    done, pending = futures.wait([*calls, failing], DEADLINE_S, futures.FIRST_EXCEPTION)
    assert failing in done
    assert pending == {calls[0]}
    dispatcher.finish(calls[0].job_id)
    assert futures.wait([*calls, failing], DEADLINE_S).not_done == set()


def test_wait_ends_at_its_timeout(dispatcher: FakeDispatcher, pool: Executor) -> None:
    call = pool.submit(multiply, 1, 2)
    assert futures.wait([call], 0.01).not_done == {call}
    with pytest.raises(futures.TimeoutError):
        call.result(0.01)


def test_callback_may_submit(dispatcher: FakeDispatcher, pool: Executor) -> None:
    first = pool.submit(multiply, 1, 2)
    second: list[Future[int]] = []
    first.add_done_callback(lambda _: second.append(pool.submit(multiply, 3, 4)))
    dispatcher.finish(first.job_id)
    wait_until(lambda: second, "the callback has submitted")
    dispatcher.finish(second[0].job_id)
    assert second[0].result(DEADLINE_S) == 12


# -- map ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def automatic(dispatcher: FakeDispatcher, monkeypatch: pytest.MonkeyPatch) -> FakeDispatcher:
    """A dispatcher whose jobs end at once."""
    submit = dispatcher.submit

    def run(body: dict[str, Any]) -> dict[str, Any]:
        view = submit(body)
        dispatcher.finish(view["id"])
        return view

    monkeypatch.setattr(dispatcher, "submit", run)
    return dispatcher


@pytest.mark.parametrize(("chunksize", "jobs"), [(1, 10), (3, 4), (100, 1)])
@pytest.mark.parametrize("buffersize", [None, 1, 4])
def test_map_returns_results_in_order(
    automatic: FakeDispatcher, pool: Executor, chunksize: int, jobs: int, buffersize: int | None
) -> None:
    mapped = pool.map(pow, range(10), range(10), chunksize=chunksize, buffersize=buffersize)
    assert list(mapped) == list(map(pow, range(10), range(10)))
    assert len(automatic.jobs) == jobs
    assert {body["name"] for body in automatic.bodies.values()} == {"pow"}


def test_map_submits_as_many_calls_as_its_buffer_holds(automatic: FakeDispatcher, pool: Executor) -> None:
    mapped = pool.map(multiply, range(5), range(5), buffersize=2)
    assert len(automatic.jobs) == 2
    assert next(mapped) == 0
    assert len(automatic.jobs) == 3
    assert len(list(mapped)) == 4
    assert list(pool.map(multiply, range(3), range(3))) == [0, 1, 4]


def test_map_raises_at_the_call_that_failed_and_cancels_the_others(dispatcher: FakeDispatcher, pool: Executor) -> None:
    mapped = pool.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
    for job_id in (1, 2, 3):
        dispatcher.finish(job_id)
    assert next(mapped) == (0, 1)
    assert next(mapped) == (0, 1)
    with pytest.raises(ZeroDivisionError):
        next(mapped)
    assert dispatcher.job(4)["state"] == "cancelled"


def test_map_ends_at_its_timeout(dispatcher: FakeDispatcher, pool: Executor) -> None:
    mapped = pool.map(multiply, [1, 2], [3, 4], timeout=0)
    with pytest.raises(futures.TimeoutError):
        next(mapped)
    assert [job["state"] for job in dispatcher.jobs.values()] == ["cancelled"] * 2
    mapped = pool.map(multiply, [1], [3], timeout=DEADLINE_S)
    dispatcher.finish(3)
    assert list(mapped) == [3]


def test_map_keeps_no_reference_to_results(automatic: FakeDispatcher, pool: Executor) -> None:
    for thing in pool.map(make_thing, range(3)):
        collected = weakref.ref(thing)
        del thing
        assert collected() is None


def make_thing(_number: int) -> Thing:
    return Thing()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"chunksize": 0}, ValueError), ({"buffersize": 0}, ValueError), ({"buffersize": 1.5}, TypeError)],
)
def test_map_refuses_sizes_that_are_none(pool: Executor, arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pool.map(multiply, [1], [2], **arguments)


# -- shutdown ----------------------------------------------------------------------------------------------------------


def test_shutdown_waits_and_ends_the_thread(dispatcher: FakeDispatcher) -> None:
    with Executor() as pool:
        future = pool.submit(multiply, 1, 2)
        timer = threading.Timer(0.02, dispatcher.finish, [future.job_id])
        timer.start()
    assert future.done()
    timer.join()
    assert not [thread for thread in threading.enumerate() if thread.name == "fastgpu-calls"]
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(multiply, 1, 2)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.options(size="half").submit(multiply, 1, 2)
    pool.shutdown()


def test_shutdown_of_an_executor_that_rests_ends_the_thread(dispatcher: FakeDispatcher) -> None:
    pool = Executor()
    future = pool.submit(multiply, 1, 2)
    dispatcher.finish(future.job_id)
    future.result(DEADLINE_S)
    pool.shutdown()
    assert not [thread for thread in threading.enumerate() if thread.name == "fastgpu-calls"]


def test_shutdown_without_waiting_leaves_the_calls(dispatcher: FakeDispatcher) -> None:
    pool = Executor()
    future = pool.submit(multiply, 1, 2)
    pool.shutdown(wait=False)
    assert not future.done()
    dispatcher.finish(future.job_id)
    assert future.result(DEADLINE_S) == 2


def test_shutdown_cancels_what_has_not_begun(dispatcher: FakeDispatcher) -> None:
    pool = Executor()
    calls = [pool.submit(multiply, number, 1) for number in range(4)]
    running(dispatcher, calls[0])
    timer = threading.Timer(0.02, dispatcher.finish, [calls[0].job_id])
    timer.start()
    pool.shutdown(cancel_futures=True)
    timer.join()
    assert calls[0].result() == 0
    assert all(call.cancelled() for call in calls[1:])


def test_executor_that_is_collected_leaves_its_calls_and_ends_its_thread(dispatcher: FakeDispatcher) -> None:
    future = Executor().submit(multiply, 1, 2)
    gc.collect()
    dispatcher.finish(future.job_id)
    assert future.result(DEADLINE_S) == 2
    wait_until(lambda: "fastgpu-calls" not in {thread.name for thread in threading.enumerate()}, "the thread ends")


def test_thread_ends_after_a_pause_and_begins_with_the_next_call(dispatcher: FakeDispatcher, pool: Executor) -> None:
    first = pool.submit(multiply, 1, 2)
    dispatcher.finish(first.job_id)
    assert first.result(DEADLINE_S) == 2
    dispatcher.push()
    wait_until(lambda: "fastgpu-calls" not in {thread.name for thread in threading.enumerate()}, "the thread ends")
    second = pool.submit(multiply, 3, 4)
    dispatcher.finish(second.job_id)
    assert second.result(DEADLINE_S) == 12


def test_call_ends_with_the_reason_where_the_results_cannot_be_opened(
    dispatcher: FakeDispatcher, pool: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: Path) -> None:
        raise PermissionError("results")

    monkeypatch.setattr(calls, "ResultStore", refuse)
    future = pool.submit(multiply, 1, 2)
    dispatcher.finish(future.job_id)
    with pytest.raises(UnreadableResult, match="PermissionError"):
        future.result(DEADLINE_S)
