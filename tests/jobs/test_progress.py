"""Progress of a job: what its processes report, and how often."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import fastgpu_jupyter
from fastgpu_jupyter.jobs import progress
from fastgpu_jupyter.jobs.runner.work_output import WorkOutput
from fastgpu_jupyter.wire import unixsocket
from tests.waiting import wait_until


class Receiver:
    """The socket of a runner."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with unixsocket.short_address(path) as address:
            self._socket.bind(address)
        self._socket.settimeout(0)

    def received(self) -> list[dict[str, Any]]:
        """What was sent until now."""
        found = []
        try:
            while True:
                found.append(json.loads(self._socket.recv(4096)))
        except BlockingIOError:
            return found

    def close(self) -> None:
        """End it."""
        self._socket.close()


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A runner's socket, and a process that knows it."""
    made = Receiver(tmp_path / "progress.sock")
    monkeypatch.setenv(progress.PROGRESS_VARIABLE, str(tmp_path / "progress.sock"))
    reporter = progress._Reporter()
    monkeypatch.setattr(progress, "_reporter", reporter)
    yield made
    reporter.close()
    made.close()


def test_progress_outside_of_a_job_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(progress.PROGRESS_VARIABLE, raising=False)
    fastgpu_jupyter.progress(1, 2)
    monkeypatch.setenv(progress.PROGRESS_VARIABLE, "/nowhere/progress.sock")
    fastgpu_jupyter.progress(1, 2)  # its runner has ended


def test_progress_reports_the_first_and_the_last_step_of_many(receiver: Receiver) -> None:
    for step in range(1, 1001):
        fastgpu_jupyter.progress(step, 1000, "steps", "loss 0.3")
    received = receiver.received()
    assert received[0] == {"done": 1, "total": 1000, "unit": "steps", "text": "loss 0.3", "by": "call"}
    assert received[-1]["done"] == 1000
    assert len(received) < 20


def test_step_that_comes_soon_after_another_is_sent_a_little_later(receiver: Receiver) -> None:
    for step in (1, 2, 3):
        fastgpu_jupyter.progress(step, 4)
    received: list[dict[str, Any]] = []

    def is_newest() -> bool:
        received.extend(receiver.received())
        return [one["done"] for one in received] == [1, 3]

    wait_until(is_newest, "the third step has come after the first one")


def test_bars_of_tqdm_are_reported(receiver: Receiver) -> None:
    tqdm = import_module("tqdm.std").tqdm
    original = tqdm.refresh, tqdm.close
    try:
        progress.watch_tqdm()
        with Path(os.devnull).open("w") as nothing, tqdm(total=5, desc="epoch", unit="batch", file=nothing) as bar:
            bar.update(2)
            bar.refresh()
            bar.update(3)
    finally:
        tqdm.refresh, tqdm.close = original
    received = receiver.received()
    assert received[-1] == {"done": 5, "total": 5, "unit": "batch", "text": "epoch", "by": "tqdm"}


def test_runner_shows_the_call_before_a_bar_before_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    output = WorkOutput(tmp_path, reader, 2**20)
    monkeypatch.setenv(progress.PROGRESS_VARIABLE, str(output.socket_path))
    reporter = progress._Reporter()
    monkeypatch.setattr(progress, "_reporter", reporter)
    shown: list[Any] = []
    progress.report_cells(1, 4)
    output.read()
    shown.append(output.progress)
    os.write(writer, b"  5%|# | 1/20 [00:00<00:01]")
    output.read()
    shown.append(output.progress)
    fastgpu_jupyter.progress(3, 10)
    output.read()
    shown.append(output.progress)
    reporter.close()
    os.close(writer)
    output.drain()
    assert output.close() is None
    os.close(reader)
    assert [(one["done"], one["total"]) for one in shown] == [(1, 4), (1, 20), (3, 10)]
    assert not output.socket_path.exists()


def test_runner_ignores_what_is_no_report(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    output = WorkOutput(tmp_path, reader, 2**20)
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with unixsocket.short_address(output.socket_path) as address:
        sender.connect(address)
    for data in (b"{", b"[]", b"null", b'{"done": 1}', b"\xff"):
        sender.send(data)
        output.read()
    assert output.progress is None
    sender.close()
    os.close(writer)
    output.close()
    os.close(reader)
