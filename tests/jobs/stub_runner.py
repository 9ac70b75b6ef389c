"""A runner for tests of the dispatcher: binds its lease, then does what the name of its job says.

- ``done``: writes an outcome and ends; ``file``: the same once there is a file ``go`` in its folder;
- ``hold``: works until it is cancelled; ``false``: ends before the work begins;
- ``worker``: a kept worker, which writes an outcome for each call;
- ``value``: stores a value as its result; ``reads``: the same, and it opened a file that its key lacks.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.frames import FrameSocket
from fastgpu_jupyter.jobs.results import Manifest, ResultStore, StoredValue
from fastgpu_jupyter.wire.client import PoolClient


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a file by renaming a whole one."""
    whole = path.with_suffix(".new")
    whole.write_text(json.dumps(content))
    whole.replace(path)


class StubRunner:
    """A runner of one job, or of one call after the other."""

    def __init__(self, job_id: int) -> None:
        self.start: dict[str, Any] = json.loads(places.start_file(job_id).read_bytes())
        self.cancelled = threading.Event()
        self.next = threading.Event()
        self.socket: FrameSocket | None = None

    def bind(self) -> None:
        """Become the holder of the lease."""
        pool, lease = PoolClient(self.start["socket"]), self.start["lease"]
        pool.bind(lease["id"], lease["token"])
        pool.activity(lease["id"], lease["token"], busy=True)

    def connect(self) -> None:
        """Say hello to each dispatcher that there is, and read what it says, in a thread."""
        ready = threading.Event()

        def read() -> None:
            pause = threading.Event()
            while True:
                try:
                    self.socket = FrameSocket(places.socket_path(), None)
                    self.say("hello", attempt=self.start["attempt"])
                    while True:
                        frame = self.socket.receive()
                        ready.set()
                        if frame.get("event") == "cancel" or (frame.get("answer") or {}).get("cancelling"):
                            self.cancelled.set()
                        if frame.get("event") == "run":
                            self.start = frame
                            self.next.set()
                except (OSError, EOFError):
                    pause.wait(0.05)

        threading.Thread(target=read, daemon=True).start()
        ready.wait(10)

    def say(self, call: str, **arguments: Any) -> None:
        """Call the dispatcher, if there is one."""
        assert self.socket is not None
        self.socket.send({"id": 1, "call": call, "arguments": {"job_id": self.start["id"], **arguments}})

    def begin(self) -> None:
        """Say on the disk that the work of the attempt begins."""
        write(places.work_file(self.start["id"]), {"attempt": self.start["attempt"]})
        with places.log_file(self.start["id"]).open("a") as log:
            log.write(f"attempt {self.start['attempt']} in process {os.getpid()}\n")

    def end(self, state: str, **fields: Any) -> None:
        """Write the outcome of the attempt and report it."""
        outcome = {"state": state, "attempt": self.start["attempt"], "exit_status": 0, **fields}
        write(places.outcome_file(self.start["id"]), outcome)
        self.say("ended")


def stored_value(job_id: int) -> str:
    """Return the digest of a result with one value."""
    store = ResultStore(places.results_folder())
    stored = store.put_value([job_id] * 1000)
    value = StoredValue(stored.digest, stored.bytes, "list")
    return store.put_manifest(Manifest("command", {"return": value}, computed_at=job_id))


def main(job_id: int) -> None:
    runner = StubRunner(job_id)
    name = runner.start["body"]["name"]
    if name == "false":
        sys.exit(1)
    runner.bind()
    runner.connect()
    runner.begin()
    if name == "hold":
        runner.say("report", progress={"done": 1, "total": 2, "unit": "epochs", "text": None}, log_tail=["begun"])
        runner.cancelled.wait()
        runner.end("cancelled")
    elif name == "file":
        while not (places.job_folder(job_id) / "go").exists():
            runner.cancelled.wait(0.02)
        runner.end("done")
    elif name == "worker":
        while True:
            runner.end("done")
            runner.next.clear()
            runner.say("idle", worker=runner.start["body"]["program"]["worker"])
            if not runner.next.wait(runner.start["limits"]["worker_idle_ms"] / 1000):
                return
            runner.begin()
    elif name in ("value", "reads"):
        opened = [{"path": "/data/x.csv", "why": "read"}] if name == "reads" else []
        runner.end("done", result=stored_value(job_id), opened=opened)
    else:
        runner.end("done")


if __name__ == "__main__":
    main(int(sys.argv[1]))
