"""Frames, and the environment of the dispatcher's process."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import DispatcherUnreachable, FastGPUError, InvalidRequest, LimitReached, Message
from fastgpu_jupyter.jobs import frames, start
from fastgpu_jupyter.jobs.client import JobsClient
from fastgpu_jupyter.jobs.dispatcher.calls import _whole_characters
from fastgpu_jupyter.jobs.frames import FRAME_BYTES_MAX, encode, error_of, read_frame, refusal_of
from fastgpu_jupyter.messages import text_of, view_of


def read(data: bytes) -> frames.Frame | None:
    async def read_all() -> frames.Frame | None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await read_frame(reader)

    return asyncio.run(read_all())


def test_frame_comes_back_as_it_was() -> None:
    frame = {"id": 1, "call": "submit", "arguments": {"name": "训练 \udc80"}}
    assert read(encode(frame)) == frame
    assert read(encode(frame)[:-1]) is None  # the other end was killed


@pytest.mark.parametrize("data", [b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\2{x", b"\0\0\0\1\xff"])
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(data)


def test_frame_beyond_the_limit_is_refused_before_it_is_sent() -> None:
    with pytest.raises(InvalidRequest) as refused:
        encode({"text": "x" * FRAME_BYTES_MAX})
    assert "1 MiB" in text_of(refused.value)


@pytest.mark.parametrize("error", [InvalidRequest, LimitReached, DispatcherUnreachable])
def test_refusal_is_the_error_that_was_raised(error: type[FastGPUError]) -> None:
    raised = error(Message.of("jobs.no_job", number=7))
    again = error_of(refusal_of(raised, view_of(raised.message)))
    assert type(again) is error
    assert text_of(again) == text_of(raised)
    assert type(error_of({"code": "of a later version"})) is FastGPUError


def test_part_of_a_log_ends_with_a_whole_character() -> None:
    text = "aé训😀".encode()
    whole = [text[: _whole_characters(text[:end])].decode() for end in range(1, len(text) + 1)]
    assert whole == ["a", "a", "aé", "aé", "aé", "aé训", "aé训", "aé训", "aé训", "aé训😀"]


def test_dispatcher_gets_no_secret_of_the_process_that_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "DB_PASSWORD", "FASTGPU_LEASE", "FASTGPU_JOB", "JPY_PARENT_PID"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PROXY", "http://user:secret@host")
    monkeypatch.setenv("FASTGPU_SOCKET", "/pool.sock")
    environment = start._environment()
    assert environment["FASTGPU_SOCKET"] == "/pool.sock"
    assert not {"HF_TOKEN", "DB_PASSWORD", "FASTGPU_LEASE", "FASTGPU_JOB", "JPY_PARENT_PID", "PROXY"} & set(environment)


def test_client_learns_why_a_dispatcher_takes_no_more_connections(tmp_path: Path) -> None:
    refusal = LimitReached(Message.of("jobs.too_many_connections", connections_max=512))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        with ThreadPoolExecutor(1) as thread:
            call = thread.submit(JobsClient(tmp_path / "s").ping)
            accepted, _ = listening.accept()
            with accepted:
                accepted.sendall(encode({"id": None, "refusal": refusal_of(refusal, view_of(refusal.message))}))
            with pytest.raises(LimitReached):
                call.result()
