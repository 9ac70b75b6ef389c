"""The executor with a real pool, dispatcher, runners and work processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import fastgpu_jupyter
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.jobs import client as jobs_client
from fastgpu_jupyter.jobs.call_failures import CallCancelled, CallTimeout, UnreadableResult, WorkerDied
from fastgpu_jupyter.jobs.call_result import result_of
from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.jobs.executor import Executor
from fastgpu_jupyter.jobs.places import results_folder
from fastgpu_jupyter.jobs.results import ResultStore
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_socket
from tests.conftest import isolate
from tests.helpers import PoolProcess, alive
from tests.jobs.conftest import kill_dispatcher
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An environment for all tests of the module, with a pool of two simulated devices."""
    path = tmp_path_factory.mktemp("executor")
    with pytest.MonkeyPatch.context() as patch:
        isolate(path, patch)
        patch.setenv("PYTHONPATH", str(ROOT))
        # No worker of these tests ends because it was idle for long.
        (path / "config/jupyter_fastgpu_jobs_config.py").write_text("c.Jobs.worker_idle_s = 600\n")
        pool = PoolProcess(path, "2xA100-80GB")
        pool.start()
        yield path
        running = jobs_client.running_dispatcher()
        if running is not None:
            pid = running.ping()["pid"]
            running.stop()
            running.close()
            wait_until(lambda: not alive(pid), "The dispatcher ends.")
        # Without a pool manager the last worker would start one to release its lease.
        wait_until(lambda: not pool.live(), "kept workers end with the dispatcher")
        pool.end()


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[JobsClient]:
    """A client of the dispatcher."""
    one = jobs_client.ensure_dispatcher()
    yield one
    one.close()


@pytest.fixture(scope="module")
def executor(folder: Path) -> Iterator[Executor]:
    """An executor whose worker is kept from one test to the next."""
    with Executor("half") as one:
        yield one


def call(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def pool_holder(lease_id: str | None) -> int:
    """The process that holds a lease."""
    assert lease_id is not None
    pid = PoolClient(user_socket()).lease(lease_id)["holder"]["pid"]
    assert pid is not None
    return pid


def touch_and_wait(began: str, end: str) -> int:
    """Make a file with the process number, wait for another one, and return the number."""
    Path(f"{began}.new").write_text(str(os.getpid()))
    Path(f"{began}.new").rename(began)
    while not Path(end).exists():
        time.sleep(0.01)
    return os.getpid()


def test_call_returns_its_value_and_its_log_is_that_of_its_job(executor: Executor, client: JobsClient) -> None:
    def train(rate: float) -> tuple[float, str, int]:
        sys.stdout.write("epoch 1\n")
        fastgpu_jupyter.progress(1, 1, "epochs")
        return rate * 2, os.environ["FASTGPU_ANCESTOR_LEASES"], os.getpid()

    first = executor.submit(train, 0.5)
    value, leases, pid = first.result(DEADLINE_S)
    view = client.job(first.job_id)
    assert (value, view["state"], view["kind"], view["name"]) == (1.0, "done", "function", "train")
    assert leases.split()[-1] == view["lease_id"]
    assert view["progress"] == {"done": 1, "total": 1, "unit": "epochs", "text": ""}
    assert pid != os.getpid()
    second = executor.submit(train, 1)
    assert second.result(DEADLINE_S) == (2, leases, pid)  # the worker was kept, with its lease
    assert second.job.result() == second.result()
    assert [client.log(future.job_id)["text"] for future in (first, second)] == ["epoch 1\n"] * 2


def test_exception_has_the_remote_traceback(executor: Executor) -> None:
    class NoRate(ValueError):
        pass

    def train() -> None:
        raise NoRate("no rate")

    with pytest.raises(NoRate, match="no rate") as raised:
        executor.submit(train).result(DEADLINE_S)
    assert 'raise NoRate("no rate")' in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (lambda: os._exit(3), "status 3"),
        (lambda: __import__("ctypes").string_at(0), "SIGSEGV"),
    ],
    ids=["kill", "exit", "segfault"],
)
def test_process_that_dies_fails_its_call_only(executor: Executor, end: Callable[[], Any], says: str) -> None:
    with pytest.raises(WorkerDied, match=says):
        executor.submit(end).result(DEADLINE_S)
    assert executor.submit(call, divmod, 7, 2).result(DEADLINE_S) == (3, 1)


def test_workers_of_another_size_or_environment_are_others(executor: Executor, client: JobsClient) -> None:
    pids = [view.submit(os.getpid) for view in (executor, executor.options(size="quarter"))]
    assert len({future.result(DEADLINE_S) for future in pids}) == 2
    sizes = [client.job(future.job_id)["size"] for future in pids]
    assert sizes == ["half", "quarter"]


def test_executor_runs_no_more_than_its_workers_and_cancels_what_waits(
    client: JobsClient, folder: Path, tmp_path: Path
) -> None:
    with Executor("quarter", max_workers=1) as pool:
        first = pool.submit(touch_and_wait, str(tmp_path / "1"), str(tmp_path / "end"))
        second = pool.submit(touch_and_wait, str(tmp_path / "2"), str(tmp_path / "end"))
        third = pool.submit(os.getpid)
        wait_until((tmp_path / "1").exists, "the first call runs")
        wait_until(first.running, "the first future runs")
        assert not second.running()
        assert not first.cancel()
        assert third.cancel()
        assert client.job(third.job_id)["state"] == "cancelled"
        (tmp_path / "end").touch()
        assert first.result(DEADLINE_S) == second.result(DEADLINE_S)
    assert third.cancelled()


def test_running_call_ends_by_its_job_or_its_time_limit(executor: Executor, client: JobsClient, tmp_path: Path) -> None:
    future = executor.submit(touch_and_wait, str(tmp_path / "began"), str(tmp_path / "never"))
    wait_until((tmp_path / "began").exists, "the call runs")
    client.cancel(future.job_id)
    with pytest.raises(CallCancelled):
        future.result(DEADLINE_S)
    slow = executor.options(timeout=0.2).submit(touch_and_wait, str(tmp_path / "again"), str(tmp_path / "never"))
    with pytest.raises(CallTimeout):
        slow.result(DEADLINE_S)


def test_map_and_as_completed(executor: Executor) -> None:
    assert list(executor.map(pow, range(6), range(6), chunksize=2)) == [1, 1, 4, 27, 256, 3125]
    calls = [executor.submit(pow, 2, number) for number in range(3)]
    assert sorted(future.result() for future in futures.as_completed(calls, DEADLINE_S)) == [1, 2, 4]


def test_threads_share_an_executor(executor: Executor) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: found.append(executor.submit(pow, number, 2).result(DEADLINE_S)))
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 4]


def test_forked_process_has_the_calls_of_its_parent_and_its_own(executor: Executor) -> None:
    before = executor.submit(pow, 2, 5)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            results = before.result(DEADLINE_S), executor.submit(pow, 3, 3).result(DEADLINE_S)
            status = 0 if results == (32, 27) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert before.result(DEADLINE_S) == 32


def test_call_goes_on_when_its_script_has_ended(client: JobsClient, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import sys, time
            from pathlib import Path
            import fastgpu_jupyter

            class Model:
                rate = 0.1

            def train(end):
                while not Path(end).exists():
                    time.sleep(0.01)
                return Model()

            pool = fastgpu_jupyter.Executor("half")
            print(pool.submit(train, sys.argv[1]).job_id)
        """)
    )
    command = [sys.executable, str(script), str(tmp_path / "end")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=True)
    job_id = int(done.stdout)
    assert client.job(job_id)["state"] in ("queued", "running")
    (tmp_path / "end").touch()
    result = result_of(client.wait(job_id, DEADLINE_S), lambda: ResultStore(results_folder()))
    assert result.value.rate == 0.1


def test_call_survives_the_kill_of_the_dispatcher(executor: Executor, client: JobsClient, tmp_path: Path) -> None:
    future = executor.submit(touch_and_wait, str(tmp_path / "began"), str(tmp_path / "end"))
    wait_until((tmp_path / "began").exists, "the call runs")
    kill_dispatcher(client)
    (tmp_path / "end").touch()
    assert future.result(DEADLINE_S) == int((tmp_path / "began").read_text())
    assert executor.submit(pow, 2, 3).result(DEADLINE_S) == 8


def test_call_whose_runner_is_killed_runs_again_where_retries_say_so(
    executor: Executor, client: JobsClient, tmp_path: Path
) -> None:
    def run(folder: str) -> int:
        runs = len(list(Path(folder).glob("run-*")))
        Path(folder, f"run-{runs}").touch()
        while runs == 0:
            time.sleep(0.01)
        return runs

    future = executor.options(retries=1, size="quarter").submit(run, str(tmp_path))
    wait_until((tmp_path / "run-0").exists, "the call runs")
    lease_id = client.job(future.job_id)["lease_id"]
    os.kill(pool_holder(lease_id), signal.SIGKILL)
    assert future.result(DEADLINE_S) == 1
    assert client.job(future.job_id)["attempt"] == 2


def test_idle_worker_ends_at_once_where_another_request_waits(folder: Path) -> None:
    pool, tokens = PoolClient(user_socket()), [new_token() for _ in range(3)]
    with Executor("full") as executor:
        executor.submit(os.getpid).result(DEADLINE_S)
        leases = [pool.request("full", token=token)["id"] for token in tokens[:2]]
        wait_until(lambda: all(pool.lease(lease)["state"] == "active" for lease in leases), "both are granted")
        for lease, token in zip(leases, tokens, strict=False):
            pool.release(lease, token)


def test_kept_worker_does_not_go_before_the_requests_of_others(folder: Path, tmp_path: Path) -> None:
    pool, tokens = PoolClient(user_socket()), [new_token() for _ in range(2)]
    held = pool.request("full", token=tokens[0])["id"]
    executor = Executor("full", max_workers=1)
    first = executor.submit(touch_and_wait, str(tmp_path / "1"), str(tmp_path / "end"))
    wait_until((tmp_path / "1").exists, "the first call runs on the other device")
    second = executor.submit(touch_and_wait, str(tmp_path / "2"), str(tmp_path / "late"))
    with closing(pool.events()) as stream:
        events = iter(stream)
        next(events)  # what the queue is now
        waiting = pool.request("full", token=tokens[1], options={"priority": "low"})["id"]
        # The dispatcher learns of it when this stream does, which is later than the pool manager's own answers.
        next(event for event in events if waiting in {entry["lease_id"] for entry in event.get("queue") or ()})
    try:
        (tmp_path / "end").touch()
        wait_until(lambda: pool.lease(waiting)["state"] == "active", "the other request is granted")
        assert first.result(DEADLINE_S)
        assert not (tmp_path / "2").exists()
        assert second.cancel()
    finally:
        (tmp_path / "late").touch()
        for lease, token in zip((held, waiting), tokens, strict=True):
            pool.release(lease, token)
        executor.shutdown()


def test_size_that_no_device_has_is_refused_at_once(executor: Executor) -> None:
    with pytest.raises(FastGPUError, match="GiB"):
        executor.options(size="900GiB").submit(os.getpid)


def test_result_whose_module_is_missing_here_is_kept(executor: Executor, tmp_path: Path) -> None:
    def make() -> Any:
        import sys as there

        (tmp_path / "only_there.py").write_text("class Thing: pass\n")
        there.path.append(str(tmp_path))
        import only_there  # type: ignore[import-not-found]

        return only_there.Thing()

    with pytest.raises(UnreadableResult, match="only_there"):
        executor.submit(make).result(DEADLINE_S)


def test_export_is_lazy() -> None:
    program = (
        "import sys, fastgpu_jupyter; assert not {'cloudpickle', 'fastgpu_jupyter.jobs'} & set(sys.modules); "
        "fastgpu_jupyter.Executor"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    assert fastgpu_jupyter.Executor is Executor
