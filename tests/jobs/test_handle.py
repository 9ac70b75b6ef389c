"""The handle of a job: waiting, results as variables, and errors with the traceback of the job."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import Conflict
from fastgpu_jupyter.jobs import handle, places
from fastgpu_jupyter.jobs.failures import JobFailed, JobLost
from fastgpu_jupyter.jobs.handle import Job
from fastgpu_jupyter.jobs.results import Manifest, ResultStore, StoredValue
from tests.jobs.fakes import FakeClient, done, job_view, running, text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "jobs_dir", lambda: tmp_path)
    return tmp_path


def stored(folder: Path, kind: str = "cell", **values: Any) -> dict[str, Any]:
    """Store a result with values, an output, a notebook and a file; return how a view names it."""
    store = ResultStore(places.results_folder(folder))
    kept = {name: StoredValue(*store.put_value(value), type(value).__name__) for name, value in values.items()}
    outputs = store.put_bytes(json.dumps([{"output_type": "stream", "name": "stdout", "text": "hello\n"}]).encode())
    notebook = store.put_bytes(json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode())
    (folder / "plot.png").write_bytes(b"png")
    files = {"out/plot.png": store.put_file(folder / "plot.png")}
    manifest = Manifest(kind, values=kept, outputs=outputs.digest, notebook=notebook.digest, files=files)
    digest = store.put_manifest(manifest)
    store.release()
    return {
        "digest": digest, "bytes": 9, "values": list(values), "files": list(files), "outputs": 1, "notebook": True
    }  # fmt: skip


def handle_of(folder: Path, *views: Any, namespace: dict[str, Any] | None = None) -> tuple[Job, FakeClient]:
    """Return the handle of a queued job that becomes the later views one after the other."""
    client = FakeClient(folder, views[0])
    client.next_views = list(views[1:])
    return Job(views[0], client, namespace), client  # type: ignore[arg-type]


def test_result_waits_and_makes_the_output_a_variable(folder: Path) -> None:
    variables: dict[str, Any] = {"x": 1}
    job, client = handle_of(
        folder,
        job_view(),
        running(version=2),
        done(version=3, result=stored(folder, model=[1, 2])),
        namespace=variables,
    )
    seen: list[str] = []
    job.on_change = lambda view: seen.append(view["state"])
    assert job.result() == [1, 2]
    assert variables == {"x": 1, "model": [1, 2]}
    assert seen == ["running", "done"]
    assert client.next_views == []


def test_result_of_several_outputs_is_a_dictionary_and_of_none_is_none(folder: Path) -> None:
    job, _ = handle_of(folder, done(result=stored(folder, a=1, b="two")))
    assert job.result() == {"a": 1, "b": "two"}
    assert handle_of(folder, done(result=stored(folder)))[0].result() is None


def test_await_gives_the_same_and_leaves_the_loop_free(folder: Path) -> None:
    variables: dict[str, Any] = {}
    views = [job_view(), *(running(version=n) for n in range(2, 5)), done(version=5, result=stored(folder, y=3))]
    job, _ = handle_of(folder, *views, namespace=variables)

    async def wait() -> int:
        other = asyncio.ensure_future(asyncio.sleep(0, "ran"))
        value: int = await job
        assert other.done()
        return value

    assert asyncio.run(wait()) == 3
    assert variables == {"y": 3}


def test_result_of_a_command_is_its_exit_status(folder: Path) -> None:
    assert handle_of(folder, done(kind="command", exit_status=3))[0].result() == 3


def test_time_out_and_job_that_is_not_over(folder: Path) -> None:
    job, _ = handle_of(folder, running())
    assert job.wait(0) is False
    with pytest.raises(TimeoutError):
        job.result(timeout=0)
    with pytest.raises(Conflict, match="not over"):
        _ = job.outputs


def test_failed_job_raises_its_error_with_the_traceback_of_the_job(folder: Path) -> None:
    error = {"name": "NameError", "text": "name 'lr' is not defined"}
    trace = ["Cell In[1], line 3", "NameError: name 'lr' is not defined"]
    places.job_folder(17, folder).mkdir()
    places.outcome_file(17, folder).write_text(json.dumps({"state": "failed", "error": {**error, "traceback": trace}}))
    job, _ = handle_of(folder, job_view(), running(version=2, state="failed", ended_at=3, error=error))
    with pytest.raises(JobFailed, match="Job 17 failed: NameError: name 'lr' is not defined") as failed:
        job.result()
    assert (failed.value.name, failed.value.text) == ("NameError", "name 'lr' is not defined")
    assert "Cell In[1], line 3" in str(failed.value.__cause__)
    assert failed.value._render_traceback_() == [*trace, f"JobFailed: {failed.value}"]


def test_failed_job_without_a_traceback_still_says_what_failed(folder: Path) -> None:
    job, _ = handle_of(folder, running(state="failed", ended_at=3, error={"name": "exit", "text": "status 2"}))
    with pytest.raises(JobFailed, match="status 2") as failed:
        job.result()
    assert failed.value.__cause__ is None


def test_cancelled_and_lost_jobs_raise(folder: Path) -> None:
    with pytest.raises(CancelledError):
        handle_of(folder, running(state="cancelled", ended_at=3))[0].result()
    with pytest.raises(JobLost, match="It was restarted"):
        handle_of(folder, running(state="lost", ended_at=3, notes=[text("It was restarted.")]))[0].result()


def test_result_that_was_evicted_is_said_to_be(folder: Path) -> None:
    with pytest.raises(JobLost, match=r"not kept. `job.rerun\(\)`"):
        handle_of(folder, done())[0].result()
    with pytest.raises(JobLost, match="not kept"):
        handle_of(folder, done(result=None))[0].result()


def test_outputs_files_and_notebook(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job, _ = handle_of(folder, done(result=stored(folder)))
    job.show()
    assert capsys.readouterr().out == "hello\n"
    assert job.files(tmp_path / "copy") == ["out/plot.png"]
    assert (tmp_path / "copy/out/plot.png").read_bytes() == b"png"
    [path] = job.save_notebook(tmp_path / "copy")
    assert path.endswith("train-17.ipynb")
    with pytest.raises(Conflict, match="outside"):
        handle._inside(tmp_path / "copy", "../elsewhere")


def test_log_and_explanation(folder: Path) -> None:
    job, _ = handle_of(folder, running())
    assert job.log() == "first of 17\nsecond\nthird\n"
    assert job.log(lines=1) == "third\n"
    assert job.explain() == "Miss: nothing is known of job 17."


def test_representation_asks_nothing_in_text_and_shows_the_present_state_in_a_notebook(folder: Path) -> None:
    job, client = handle_of(folder, job_view())
    client.views[17] = running(version=2)
    assert repr(job) == "<Job 17 · train: Queued>"
    assert "Running" in job._repr_mimebundle_()["text/plain"]
