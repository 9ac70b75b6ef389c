"""``jupyter fastgpu job``, against a dispatcher that the test drives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.cli.job_words import split, value_of
from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.jobs import client as jobs_client
from fastgpu_jupyter.messages import language
from tests.helpers import fastgpu
from tests.jobs.fakes import FakeClient, done, job_view, running

NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    drafts = tmp_path / "drafts"
    drafts.mkdir()
    found = FakeClient(drafts)
    monkeypatch.setattr(jobs_client, "ensure_dispatcher", lambda: found)
    monkeypatch.chdir(tmp_path)
    return found


def test_run_submits_a_notebook_with_its_parameters(client: FakeClient, tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_text(json.dumps(NOTEBOOK))
    ran = fastgpu(
        "job", "run", "train.ipynb", "-p", "lr", "0.1", "-r", "tag", "7", "--size", "half", "--retries=2", "--json"
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["id"] == 1
    [body], [files] = client.bodies, client.files
    assert body["program"] == {"notebook": "notebook.ipynb", "parameters": {"lr": 0.1, "tag": "7"}, "kernel": None}
    assert (body["kind"], body["name"], body["size"], body["retries"]) == ("notebook", "train", "half", 2)
    assert body["environment"]["cwd"] == str(tmp_path)
    assert json.loads(files["notebook.ipynb"]) == NOTEBOOK


def test_run_submits_a_command_and_leaves_its_options_alone(client: FakeClient) -> None:
    ran = fastgpu("job", "run", "--priority", "high", "--", "python", "train.py", "--size", "9", "--json")
    assert ran.stdout.startswith("■ Queued · Job 1 · train.py · "), ran.stderr
    assert "job.cancel()" not in ran.stdout
    assert client.bodies[0]["program"] == {"argv": ["python", "train.py", "--size", "9", "--json"]}
    assert client.bodies[0]["options"] == {"priority": "high"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Name a notebook, or a command"),
        (("--size", "half"), "Name a notebook, or a command"),
        (("--",), "Name a notebook, or a command"),
        (("a.ipynb", "--", "python"), "not both"),
        (("none.ipynb",), "none.ipynb cannot be read as a notebook"),
        (("text.ipynb",), "text.ipynb cannot be read as a notebook"),
        (("list.ipynb",), "list.ipynb is not a notebook of format 4"),
        (("--", "no-such-program"), "There is no program no-such-program"),
        (("a.ipynb", "-p", "lr"), "-p needs a name and a value"),
        (("a.ipynb", "--sise", "half"), "did you mean --size?"),
        (("a.ipynb", "--in", "x"), "no option --in"),
        (("--env", "MY_API_TOKEN", "--", "true"), "MY_API_TOKEN looks like a secret"),
    ],
)
def test_run_refuses_with_one_sentence(
    client: FakeClient, tmp_path: Path, words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "t0p")
    (tmp_path / "text.ipynb").write_text("no notebook")
    (tmp_path / "list.ipynb").write_text("[]")
    ran = fastgpu("job", "run", *words)
    assert (ran.returncode, ran.stdout, client.bodies) == (1, "", [])
    assert says in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_run_that_follows_prints_the_log_and_has_the_status_of_the_job(client: FakeClient) -> None:
    client.next_views = [running(id=1, state="failed", ended_at=2_000_001, exit_status=3)]
    ran = fastgpu("job", "run", "-f", "--", "false")
    assert "first of 1\nsecond\nthird\n" in ran.stdout
    assert "◆ Failed" in ran.stdout
    assert ran.returncode == 3


def test_list_show_log_cancel_and_explain(client: FakeClient) -> None:
    assert "Jobs: none." in fastgpu("job", "list").stdout
    client.views = {1: done(id=1), 2: job_view(id=2, position=1)}
    listed = fastgpu("job", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["Job", "2", "1"]
    assert [view["id"] for view in json.loads(fastgpu("job", "list", "--json").stdout)["jobs"]] == [2, 1]
    assert fastgpu("job", "show", "2").stdout.startswith("■ Queued · Job 2 · train")
    assert fastgpu("job", "log", "1").stdout == "first of 1\nsecond\nthird\n"
    assert fastgpu("job", "log", "-f", "1").stdout == "first of 1\nsecond\nthird\n"
    assert fastgpu("job", "cancel", "1", "2").returncode == 0
    assert client.cancelled == [1, 2]
    assert "nothing is known of job 1" in fastgpu("job", "explain", "1").stdout


def test_prune_and_usage_do_not_show_the_unknown_as_zero(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def prune(older_ms: int | None, bytes_max: int | None) -> dict[str, int]:
        asked.append((older_ms, bytes_max))
        return {"jobs": 3, "results": 2, "freed_bytes": 5 << 20}

    usage = {
        "jobs": 4,
        "queued": 1,
        "running": 0,
        "job_bytes": 1 << 20,
        "result_bytes": None,
        "results": None,
        "cached": 0,
    }
    monkeypatch.setattr(client, "prune", prune, raising=False)
    monkeypatch.setattr(client, "usage", lambda: usage, raising=False)
    assert "Give --older=30d" in fastgpu("job", "prune").stderr
    assert "Removed 3 jobs and 2 results, 5 MiB in all." in fastgpu("job", "prune", "--older=2d", "--to=1GiB").stdout
    assert asked == [(2 * 86_400_000, 1 << 30)]
    assert fastgpu("job", "du").stdout == "Jobs: 4, 1 MiB.\nResults: not known, not known.\n"


@pytest.mark.parametrize(
    "words", [("show",), ("show", "1", "2"), ("log",), ("cancel",), ("show", "first"), ("show", "9")]
)
def test_a_job_that_is_not_named_or_not_there_is_one_sentence(client: FakeClient, words: tuple[str, ...]) -> None:
    assert client.views == {}
    ran = fastgpu("job", *words)
    assert ran.returncode == 1
    assert ran.stderr.startswith("jupyter fastgpu: ")
    assert ran.stderr.count("\n") == 1


def test_errors_are_in_the_language_of_the_process(client: FakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.views == {}
    monkeypatch.setattr(language, "_current", "zh_CN")
    assert "未提交任何作业" in fastgpu("job", "run").stderr
    assert fastgpu("job", "list").stdout.startswith("没有作业")


def test_parameters_are_read_as_papermill_does() -> None:
    texts = ("True", "None", "3", "0.1", "1e-3", "text", "[1]", "")
    assert [value_of(text) for text in texts] == [True, None, 3, 0.1, 0.001, "text", "[1]", ""]
    with pytest.raises(InvalidRequest):
        split(["-p", "not-a-name", "1"])
