"""The log of a job: bounded, with beginning and end, and one line for what a progress bar draws again and again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastgpu_jupyter.jobs.runner.log_file import BoundedLog


def test_log_keeps_beginning_and_end_and_says_what_it_left_out(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 16 * 1024)
    lines = [f"line {number:05}\n".encode() for number in range(10_000)]
    for line in lines:
        log.write(line)
    log.close()
    text = (tmp_path / "log").read_text()
    assert len(text) <= 16 * 1024
    head, marker, tail = text.split("\n\n")
    assert head.splitlines()[0] == "line 00000"
    assert tail.splitlines()[-1] == "line 09999"
    kept = len((head + "\n").encode()) + len(tail.encode())
    dropped = len(b"".join(lines)) - kept
    assert f"{dropped / 1024:.1f} KiB of output were left out here" in marker
    assert log.tail == ["line 09997", "line 09998", "line 09999"]


def test_log_of_a_bar_has_its_last_state_only(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "log", 2**20)
    log.write(b"begin\n")
    for done in range(0, 101, 10):
        bar = "#" * (done // 10)
        log.write(f"\repoch 1: {done:3d}%|{bar:10}| {done}/100 [00:01<00:02, 9.1it/s]".encode())
        log.flush()
        assert log.progress == {"done": done, "total": 100, "unit": None, "text": "epoch 1"}
    log.write(b"\n\x1b[32mgreen\x1b[0m end")
    log.flush()
    assert log.tail == ["begin", "epoch 1: 100%|##########| 100/100 [00:01<00:02, 9.1it/s]", "green end"]
    log.write(b" of it\r\n")
    log.close()
    text = (tmp_path / "log").read_text()
    assert text == "begin\nepoch 1: 100%|##########| 100/100 [00:01<00:02, 9.1it/s]\n\x1b[32mgreen\x1b[0m end of it\n"


@given(st.lists(st.text("ab\n", max_size=20), max_size=20), st.data())
@settings(max_examples=50, deadline=None)
def test_log_without_returns_is_what_was_printed(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = BoundedLog(path, 2**20)
    for part in parts:
        log.write(part.encode())
        if data.draw(st.booleans()):
            log.flush()
            assert path.read_text() == "".join(parts)[: len(path.read_text())]
    whole = "".join(parts)
    lines = [*whole.split("\n")[:-1], *([whole.split("\n")[-1]] if whole.split("\n")[-1] else [])]
    assert log.tail == lines[-3:]
    log.close()
    assert path.read_text() == whole


def test_log_on_a_full_disk_goes_on_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = BoundedLog(tmp_path / "log", 2**20)

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    log.write(b"one\ntwo\n")
    log.close()
    assert log.tail == ["one", "two"]
    assert log.fault is not None
    assert log.fault.errno == errno.ENOSPC
