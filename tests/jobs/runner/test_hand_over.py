"""The files of a runner: an outcome is written on a full disk as well, and the token of the lease is removed."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import Forbidden
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.runner import hand_over
from fastgpu_jupyter.jobs.runner.ending import INTERRUPTED, Ending, Why
from fastgpu_jupyter.wire.job_states import JobState

OUTCOME: Any = {
    "state": "failed",
    "attempt": 2,
    "error": {
        "name": "ValueError",
        "text": "x" * 5000,
        "traceback": [f"line {one} " + "y" * 9000 for one in range(99)],
    },
    "result": None,
    "opened": [{"path": "/data", "why": "read"}] * 1000,
    "notes": [],
}


def test_outcome_is_written_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hand_over.reserve(tmp_path)
    real = os.open

    def no_new_file(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", no_new_file)
    hand_over.write_outcome(tmp_path, OUTCOME)
    monkeypatch.undo()
    found = json.loads((tmp_path / places.OUTCOME).read_bytes())
    assert (found["state"], found["attempt"], found["error"]["name"]) == ("failed", 2, "ValueError")
    assert found["error"]["traceback"][-1].startswith("line 98")
    assert (tmp_path / places.OUTCOME).stat().st_size == hand_over.RESERVED_BYTES
    assert [one.name for one in tmp_path.iterdir()] == [places.OUTCOME]


def test_outcome_is_whole_where_there_is_room(tmp_path: Path) -> None:
    hand_over.reserve(tmp_path)
    hand_over.write_outcome(tmp_path, OUTCOME)
    assert json.loads((tmp_path / places.OUTCOME).read_bytes()) == OUTCOME
    assert [one.name for one in tmp_path.iterdir()] == [places.OUTCOME]


def test_token_is_removed_from_the_hand_over_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / places.START
    path.write_text(json.dumps({"id": 1, "lease": {"id": "lease", "token": "secret"}}))
    path.chmod(0o600)
    assert hand_over.read_start(tmp_path)["lease"]["token"] == "secret"
    assert "secret" not in path.read_text()
    path.chmod(0o666)
    with pytest.raises(Forbidden):
        hand_over.read_start(tmp_path)


def test_ending_sends_each_signal_after_its_time_and_keeps_the_first_reason() -> None:
    sent: list[str] = []
    ending = Ending(lambda signum: sent.append(signum.name))
    assert ending.due_in_s(0.0) is None
    first = Why(JobState.CANCELLED, None, INTERRUPTED)
    ending.begin(first, 100.0)
    ending.begin(Why(JobState.FAILED, None), 101.0)
    for now_s in (100.0, 104.9, 105.0, 109.0, 110.0, 114.0, 115.0):
        ending.step(now_s)
    assert sent == ["SIGINT", "SIGTERM", "SIGKILL", "SIGKILL"]
    assert ending.why is first
    assert ending.due_in_s(115.0) == 5.0
