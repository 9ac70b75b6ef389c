"""Jobs in every state that the interface shows."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.jobs.results import Manifest, ResultStore, StoredValue
from fastgpu_jupyter.messages import render
from fastgpu_jupyter.wire.schemas import JobView
from tests.jobs.scripted_dispatcher import MINUTE_MS, job_view

#: A PNG of 2 by 2 pixels.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP4z8DAwPD/PwMDA8P//wwAJ/QF+0kDlGcAAAAASUVORK5CYII="
GPU = {"model": "NVIDIA A100-SXM4-80GB", "device_ids": ["SIM-0-A100-80GB"], "simulated": True}


def message(code: str, **params: Any) -> dict[str, Any]:
    """Return a message of the dispatcher."""
    return {"code": code, "params": params, "text": render(Message(code, params), "en")}


def said(text: str) -> dict[str, Any]:
    """Return a message that the page has no sentence of its own for."""
    return {"code": "test.said", "params": {}, "text": text}


def result(digest: str = "0" * 64, **changes: Any) -> dict[str, Any]:
    """Return what a job left."""
    kept = {"digest": digest, "bytes": 102 * 2**20, "values": ["model"], "files": [], "outputs": 0, "notebook": False}
    return {**kept, **changes}


def every_state(digest: str = "0" * 64) -> list[JobView]:
    """Return jobs that run, wait, are parked, cached, done, failed, lost and cancelled."""
    now = round(time.time() * 1000)
    ran = {"started_at": now - 31 * MINUTE_MS, "ended_at": now - 11 * MINUTE_MS, "gpu": GPU}
    runs = {
        "state": "running", "lease_state": "active", "gpu": GPU, "rate_micro": 1_250_000, "log_bytes": 900,
        "started_at": now - 4 * MINUTE_MS,
    }  # fmt: skip
    return [
        job_view(
            17, **runs, priority="high", cost_micro=83_000, lease_id="0" * 16,
            progress={"done": 21, "total": 50, "unit": "epoch", "text": None},
            log_tail=[f"epoch {epoch} loss 0.2{epoch} acc 0.93{epoch}" for epoch in (19, 20, 21)],
        ),
        job_view(
            16, **{**runs, "rate_micro": 630_000}, kind="command", name="embed.py", notebook=None, size="quarter",
            cost_micro=31_000, progress={"done": 1204, "total": None, "unit": "files", "text": None},
        ),
        job_view(18, name="score", position=2, estimate_ms=4 * MINUTE_MS),
        job_view(19, name="report", after=[18], reason=message("jobs.waits_for_jobs", count=1, numbers=["18"])),
        job_view(12, **{**runs, "lease_state": "parked"}, name="sweep", size="full", cost_micro=440_000),
        job_view(
            15, **{**ran, "started_at": None}, state="done", cost_micro=0, result=result(digest),
            cache={
                "outcome": "hit", "computed_at": now - 60 * MINUTE_MS, "saved_micro": 420_000,
                "message": said("Hit, because code, inputs, files and versions are those of the stored result."),
            },
        ),
        job_view(
            14, **ran, state="done", cost_micro=420_000, result=result(digest), log_bytes=2_000,
            cache={
                "outcome": "not_cached", "computed_at": None, "saved_micro": None,
                "message": said(
                    "Result kept, but not cached, because it read undeclared `data/x.csv`. Declare the file to "
                    "cache the next run."
                ),
            },
        ),
        job_view(
            13, **{**ran, "ended_at": now - 31 * MINUTE_MS + 8_000}, state="failed", name="load", cost_micro=10_000,
            error={"name": "NameError", "text": "name 'lr' is not defined"}, log_bytes=500, exit_status=1,
        ),
        job_view(11, **ran, state="lost", name="embed", cost_micro=310_000, log_bytes=700,
                 notes=[message("jobs.lost_reboot")]),
        job_view(10, **ran, state="cancelled", name="sweep", cost_micro=40_000),
    ]  # fmt: skip


def store_result(folder: Path) -> str:
    """Keep a result with values, outputs and files in the store of results, and return its digest."""
    store = ResultStore(folder)
    outputs = [
        {"output_type": "stream", "name": "stdout", "text": ["epoch 50 loss 0.110\n", "\x1b[32msaved\x1b[0m\n"]},
        {"output_type": "display_data", "data": {"image/png": PNG, "text/plain": "<Figure size 640x480>"}},
        {"output_type": "display_data", "data": {"text/html": "<script>alert(1)</script>"}},
    ]
    kept = store.put_bytes(json.dumps(outputs).encode())
    value = store.put_bytes(b"not opened here")
    file = store.put_bytes(b"loss,acc\n0.11,0.98\n")
    manifest = Manifest(
        kind="cell",
        values={"model": StoredValue(value.digest, value.bytes, "sklearn.svm._classes.SVC")},
        outputs=kept.digest,
        files={"out/metrics.csv": file},
        computed_at=round(time.time() * 1000),
        gpu=GPU,
        cost_micro=420_000,
    )
    digest = store.put_manifest(manifest)
    store.release()
    return digest
