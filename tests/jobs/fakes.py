"""Views of jobs, and a client of a dispatcher that a test drives by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from fastgpu_jupyter.errors import Message, NotFound
from fastgpu_jupyter.messages import view_of


def job_view(**changes: Any) -> Any:
    """Return a queued job with ``changes``."""
    view: dict[str, Any] = {
        "id": 17, "version": 1, "kind": "cell", "name": "train", "state": "queued", "cancelling": False,
        "size": "half", "priority": "low", "retention": "yield", "after": [], "timeout_ms": None, "retries": 0,
        "attempt": 0, "submitted_at": 1_000_000, "started_at": None, "ended_at": None, "lease_id": None,
        "lease_state": None, "position": None, "jobs_before": None, "estimate_ms": None, "reason": None, "notes": [],
        "gpu": None, "cost_micro": None, "rate_micro": None, "currency": None, "progress": None, "log_tail": [],
        "log_bytes": 0, "notebook": "digits.ipynb", "kernel_id": None,
        "environment": {"interpreter": "/usr/bin/python", "cwd": "/home/ada", "variables": ["PATH"]},
        "exit_status": None, "error": None, "result": None, "cache": None,
    }  # fmt: skip
    assert not changes.keys() - view.keys()
    return {**view, **changes}


def running(**changes: Any) -> Any:
    """Return a running job with ``changes``."""
    gpu = {"model": "A100-80GB", "device_ids": ["GPU-1"], "simulated": False}
    money = {"cost_micro": 80_000, "rate_micro": 1_250_000, "currency": "USD"}
    return job_view(
        **{"state": "running", "started_at": 2_000_000, "gpu": gpu, "lease_state": "active", **money, **changes}
    )


def done(**changes: Any) -> Any:
    """Return a job that is done with ``changes``."""
    result = {"digest": "0" * 64, "bytes": 102 << 20, "values": ["model"], "files": [], "outputs": 2, "notebook": False}
    return running(**{"state": "done", "ended_at": 3_210_000, "lease_state": None, "result": result, **changes})


def text(sentence: str) -> dict[str, Any]:
    """Return a sentence as it is on the wire."""
    return dict(view_of(Message.of_text(sentence)))


class FakeClient:
    """A dispatcher that keeps what is submitted and answers with the views that the test sets."""

    def __init__(self, folder: Path, *views: dict[str, Any]) -> None:
        self.folder = folder
        self.views = {view["id"]: view for view in views}
        self.bodies: list[dict[str, Any]] = []
        self.files: list[dict[str, bytes]] = []
        self.cancelled: list[int] = []
        #: What each later wait makes of a job.
        self.next_views: list[dict[str, Any]] = []
        self.refusal: Exception | None = None

    def new_draft(self) -> Path:
        """Return a new folder."""
        path = self.folder / f"{len(self.bodies):032x}"
        path.mkdir()
        return path

    def submit(self, body: dict[str, Any]) -> Any:
        """Keep the body and the files of its draft, and return a queued job."""
        if self.refusal is not None:
            raise self.refusal
        draft = self.folder / body["draft"] if body.get("draft") else None
        # A job opens no file that others may have written, whatever the umask of its user is.
        assert not draft or all(one.stat().st_mode & 0o077 == 0 for one in draft.iterdir())
        self.files.append({one.name: one.read_bytes() for one in draft.iterdir()} if draft else {})
        if draft:
            shutil.rmtree(draft)
        self.bodies.append(body)
        known = {name: body[name] for name in ("kind", "name", "after") if name in body}
        view = job_view(id=len(self.views) + 1, size=body.get("size") or "full", **known)
        self.views[view["id"]] = view
        return view

    def job(self, job_id: int) -> Any:
        """Return a job as the test set it."""
        if job_id not in self.views:
            raise NotFound(Message.of_text(f"There is no job {job_id}."))
        return self.views[job_id]

    def jobs(self, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the jobs, newest first."""
        return sorted(self.views.values(), key=lambda view: -int(view["id"]))[:limit]

    def wait(self, job_id: int, timeout_s: float | None = None) -> Any:
        """Make the next of the test's views of the job, and return it."""
        if self.next_views:
            view = self.next_views.pop(0)
            self.views[view["id"]] = view
        return self.job(job_id)

    def cancel(self, job_id: int) -> Any:
        """Keep which job was cancelled."""
        self.cancelled.append(job_id)
        return self.job(job_id)

    def log(self, job_id: int, offset: int = 0, limit: int = 65_536) -> dict[str, Any]:
        """Return a log of three lines, in parts of one line."""
        whole = f"first of {job_id}\nsecond\nthird\n"
        end = whole.find("\n", offset) + 1 or len(whole)
        assert limit > len(whole)
        return {"text": whole[offset:end], "offset": offset, "end": end, "size": len(whole)}

    def explain(self, job_id: int) -> Any:
        """Return one sentence."""
        return {
            "outcome": "miss",
            "messages": [text(f"Miss: nothing is known of job {job_id}.")],
            "key": None,
            "ingredients": [],
        }
