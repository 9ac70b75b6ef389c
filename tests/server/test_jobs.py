"""The interface for jobs: what a browser gets of the list, of logs and of results, and what it can change."""

from __future__ import annotations

import queue
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.server import jobs_reader
from fastgpu_jupyter.server.extension import resume_jobs
from fastgpu_jupyter.server.jobs_mirror import JobsMirror
from fastgpu_jupyter.server.jobs_reader import JobsReader
from tests.helpers import ServerProcess
from tests.jobs.samples import every_state, store_result
from tests.jobs.scripted_dispatcher import ScriptedDispatcher, job_view
from tests.waiting import DEADLINE_S


@pytest.fixture
def dispatcher(isolated: Path) -> Iterator[ScriptedDispatcher]:
    """A dispatcher with jobs in every state."""
    places.jobs_dir().mkdir(parents=True)
    with ScriptedDispatcher(*every_state(store_result(places.results_folder()))) as fake:
        fake.logs[17] = b"epoch 1\nepoch 2\n"
        yield fake


class Loop:
    """The event loop of the reader: it calls at once."""

    def call_soon_threadsafe(self, function: Callable[..., None], *arguments: Any) -> None:
        function(*arguments)


class Heard:
    """A reader of jobs, and what it has handed over."""

    def __init__(self) -> None:
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self.reader = JobsReader(Loop(), lambda _, message: self.messages.put(message))  # type: ignore[arg-type]
        self.reader.start()

    def next(self) -> dict[str, Any]:
        return self.messages.get(timeout=DEADLINE_S)


@pytest.fixture
def heard(isolated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Heard]]:
    """Start a reader of jobs, which ends with the test."""
    monkeypatch.setattr(jobs_reader, "LOOK_S", 0.01)
    monkeypatch.setattr(jobs_reader, "PAUSE_FIRST_S", 0.01)
    started: list[Heard] = []

    def start() -> Heard:
        started.append(Heard())
        return started[-1]

    yield start
    for one in started:
        one.reader.stop()
        one.reader.join(DEADLINE_S)
        assert not one.reader.is_alive()


def forbidden(*_: Any, **__: Any) -> None:
    """Fail where a dispatcher is started that is not needed."""
    raise AssertionError("a dispatcher was started")


def test_reader_of_a_user_without_jobs_starts_no_dispatcher_and_hears_of_the_first_one(
    heard: Callable[[], Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgpu_jupyter.jobs.client.ensure_dispatcher", forbidden)
    one = heard()
    assert one.next() == {"type": "jobs", "jobs": [], "gone": [], "queue": [], "reset": True}
    with ScriptedDispatcher() as fake:
        assert one.next()["reset"]
        fake.change(1, state="done")
        assert [job["id"] for job in one.next()["jobs"]] == [1]


def test_reader_takes_the_end_of_an_idle_dispatcher_for_no_failure(
    heard: Callable[[], Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    places.jobs_dir().mkdir(parents=True)
    with ScriptedDispatcher(job_view(1, state="done")):
        one = heard()
        assert [job["id"] for job in one.next()["jobs"]] == [1]
        monkeypatch.setattr("fastgpu_jupyter.jobs.client.ensure_dispatcher", forbidden)
    with ScriptedDispatcher(job_view(1, state="done"), job_view(2, state="failed")):
        message = one.next()
        assert (message["type"], len(message["jobs"])) == ("jobs", 2)


def test_reader_says_why_no_dispatcher_answers_while_jobs_are_not_over(
    heard: Callable[[], Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    places.jobs_dir().mkdir(parents=True)

    def not_started(*_: Any) -> Any:
        raise OSError("No space left on device")

    with ScriptedDispatcher(job_view(1)):
        one = heard()
        assert one.next()["reset"]
        monkeypatch.setattr("fastgpu_jupyter.jobs.client.ensure_dispatcher", not_started)
    message = one.next()
    assert message["type"] == "jobs_unreachable"
    assert message["message"] == "The jobs cannot be followed: No space left on device."
    assert abs(message["since"] - 1000 * time.time()) < 1000 * DEADLINE_S


def test_mirror_has_all_jobs_for_a_browser_that_comes_later() -> None:
    mirror = JobsMirror()
    assert mirror.messages() == []
    first: dict[str, Any] = {"type": "jobs", "jobs": [{"id": 1}, {"id": 2}], "gone": [], "queue": [1], "reset": True}
    mirror.apply(first)
    mirror.apply({"type": "jobs", "jobs": [{"id": 1, "state": "done"}], "gone": [2], "queue": None, "reset": False})
    unreachable = {"type": "jobs_unreachable", "message": "m", "since": 1}
    mirror.apply(unreachable)
    expected = {**first, "jobs": [{"id": 1, "state": "done"}]}
    assert mirror.messages() == [expected, unreachable]
    mirror.apply({"type": "jobs", "jobs": [], "gone": [1], "queue": [], "reset": False})
    assert mirror.messages() == [{**expected, "jobs": [], "queue": []}]


def test_server_starts_a_dispatcher_at_its_start_only_for_jobs_that_are_not_over(
    isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Client:
        def close(self) -> None:
            started.append("closed")

    unfinished = False
    monkeypatch.setattr("fastgpu_jupyter.jobs.client.has_unfinished_jobs", lambda: unfinished)
    monkeypatch.setattr("fastgpu_jupyter.jobs.client.ensure_dispatcher", Client)
    unfinished = True
    resume_jobs()
    assert started == []  # this user never had a job, and the code for jobs is not even loaded
    places.jobs_dir().mkdir(parents=True)
    unfinished = False
    resume_jobs()
    assert started == []
    unfinished = True
    resume_jobs()
    assert started == ["closed"]


def download(jupyter: ServerProcess, path: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an answer that is no JSON."""
    headers = {"Authorization": f"token {jupyter.token}"}
    request = urllib.request.Request(f"{jupyter.url}fastgpu/api/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as response:
        return dict(response.headers), response.read()


@pytest.mark.slow
def test_browser_gets_jobs_logs_and_results_and_never_a_value(dispatcher: ScriptedDispatcher, installed: None) -> None:
    jupyter = ServerProcess(places.jobs_dir().parent)
    (jupyter.folder / "config").mkdir(exist_ok=True)
    try:
        jupyter.start()

        def get(path: str, status: int = 200) -> Any:
            got, answer = jupyter.call("GET", f"fastgpu/api/{path}")
            assert got == status, answer
            return answer

        assert {job["id"] for job in get("jobs")["jobs"]} == set(dispatcher.jobs)
        assert get("jobs/17/log?offset=-8") == {"text": "epoch 2\n", "offset": 8, "end": 16, "size": 16}
        assert get("jobs/17/log?offset=now", 400)["code"] == "invalid_request"

        details = get("jobs/14/result")
        assert details["values"] == [{"name": "model", "type": "sklearn.svm._classes.SVC", "bytes": 15}]
        assert [one["text"] for one in details["outputs"]] == [
            "epoch 50 loss 0.110\n\x1b[32msaved\x1b[0m\n", "<Figure size 640x480>",
        ]  # fmt: skip
        assert [one["media_type"] for one in details["outputs"]] == [None, "image/png"]
        assert (details["outputs_left_out"], details["notebook_bytes"]) == (1, None)
        assert details["files"] == [{"path": "out/metrics.csv", "bytes": 19}]
        assert get("jobs/17/result", 404)["message"] == "Job 17 has no result."
        assert get("jobs/14/result/notebook", 404)["code"] == "not_found"
        assert get("jobs/14/result/outputs/2", 404)["code"] == "not_found"
        for path in ("out/../out/metrics.csv", "/etc/passwd", "..%2F..%2Fjobs.db", "%00"):
            assert get(f"jobs/14/result/file?path={path}", 404)["code"] == "not_found"

        headers, image = download(jupyter, "jobs/14/result/outputs/1")
        assert (headers["Content-Type"], image[:4]) == ("image/png", b"\x89PNG")
        assert headers["X-Content-Type-Options"] == "nosniff"
        headers, file = download(jupyter, "jobs/14/result/file?path=out/metrics.csv")
        assert file == b"loss,acc\n0.11,0.98\n"
        assert headers["Content-Disposition"].startswith('attachment; filename="metrics.csv"')
        assert headers["Content-Type"] == "application/octet-stream"
        assert headers["Content-Security-Policy"] == "sandbox; default-src 'none'"

        def post(path: str, body: Any = None) -> tuple[int, Any]:
            return jupyter.call("POST", f"fastgpu/api/{path}", body)

        assert post("jobs/18/cancel")[1]["state"] == "cancelled"
        assert post("jobs/14/rerun", {"refresh": "yes"})[0] == 400
        assert post("jobs/14/rerun")[1]["id"] == 20
        assert post("jobs/prune", {"older_ms": -1})[0] == 400
        assert post("jobs/prune", {"older_ms": 0})[1]["jobs"] == 6
        assert ("prune", {"older_ms": 0, "bytes_max": None}) in dispatcher.asked
        assert get("jobs/usage")["result_bytes"] == 99 * 2**20
    finally:
        jupyter.end()
