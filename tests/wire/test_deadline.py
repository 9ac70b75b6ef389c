"""A call to the pool manager ends in time, whatever the process at the other end does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import OutcomeUnknown, PoolSilent
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.wire import unixsocket, version
from fastgpu_jupyter.wire.client import PoolClient

TIMEOUT_S = 0.05
#: An answer that comes byte by byte, each soon after the one before, and takes longer than the whole call may.
SLOW = f"HTTP/1.1 200 OK\r\n{version.HEADER}: {version.stated()}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
Behave = Callable[[socket.socket], object]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Behave], Path]]:
    """Starts a server that treats its connection by a function of the test."""
    listening = socket.socket(socket.AF_UNIX)
    done = threading.Event()
    threads: list[threading.Thread] = []

    def start(behave: Behave) -> Path:
        path = tmp_path / "pool.sock"
        with unixsocket.short_address(path) as address:
            listening.bind(address)
        listening.listen()

        def run() -> None:
            connection, _ = listening.accept()
            with connection:
                behave(connection)
                done.wait()

        threads.append(threading.Thread(target=run))
        threads[0].start()
        return path

    yield start
    done.set()
    for thread in threads:
        thread.join()
    listening.close()


def dribble(connection: socket.socket) -> None:
    connection.recv(65536)
    pause = threading.Event()
    for number in range(len(SLOW)):
        if pause.wait(TIMEOUT_S / 10):
            return
        try:
            connection.send(SLOW[number : number + 1])
        except OSError:
            return  # the client has given up


def test_call_with_an_answer_that_dribbles_ends_at_the_deadline(serve: Callable[[Behave], Path]) -> None:
    client = PoolClient(serve(dribble), timeout_s=TIMEOUT_S)
    with pytest.raises(PoolSilent) as caught:
        client.health()
    assert not isinstance(caught.value, OutcomeUnknown)


def test_change_without_an_answer_may_have_been_done(serve: Callable[[Behave], Path]) -> None:
    client = PoolClient(serve(lambda connection: connection.recv(65536)), timeout_s=TIMEOUT_S)
    with pytest.raises(OutcomeUnknown) as caught:
        client.release("lease")
    assert "may have been done" in text_of(caught.value)


def test_call_to_a_full_queue_of_connections_has_sent_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pool.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        with unixsocket.short_address(path) as address:
            listening.bind(address)
        listening.listen(0)
        with unixsocket.connect(path, 1):  # as many as wait at all
            with pytest.raises(PoolSilent) as caught:
                PoolClient(path, timeout_s=TIMEOUT_S).release("lease")
            assert not isinstance(caught.value, OutcomeUnknown)


def test_silent_stream_ends_with_the_time_of_its_silence(
    serve: Callable[[Behave], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastgpu_jupyter.wire.client.pool.SILENCE_MAX_S", TIMEOUT_S)
    stated = f"{version.HEADER}: {version.stated()}"
    head = f"HTTP/1.1 200 OK\r\n{stated}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(head)

    stream = PoolClient(serve(behave)).events()
    with pytest.raises(PoolSilent):
        next(iter(stream))
