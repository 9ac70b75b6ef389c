"""A Jupyter server that stops, is killed or has its own configuration: a real one, with a real pool and kernels."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers import PoolProcess, ServerProcess, alive
from tests.server.conftest import PLAIN, write_kernelspec
from tests.views import value_of
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow


def test_dead_kernel_is_restarted_with_another_lease(pool: PoolProcess, jupyter: ServerProcess) -> None:
    jupyter.start()
    jupyter.start_session("a.ipynb")
    (before,) = pool.live()
    os.kill(before["holder"]["pid"], signal.SIGKILL)
    pool.wait_state(before["id"], "ended")
    new = wait_until(lambda: [v for v in pool.live() if v["state"] == "active"], "the restarted kernel has a lease")
    assert new[0]["id"] != before["id"]
    assert new[0]["holder"]["notebook"] == before["holder"]["notebook"]
    jupyter.terminate()
    wait_until(lambda: not pool.live(), "the leases end")


def test_killed_server_ends_its_kernels_and_leases(pool: PoolProcess, jupyter: ServerProcess) -> None:
    jupyter.start("--FastGPUExtension.keep_kernels=never")
    for name in "ab":
        jupyter.start_session(f"{name}.ipynb")
    live = pool.live()
    jupyter.kill()
    wait_until(lambda: not any(alive(view["holder"]["pid"]) for view in live), "the kernels end")
    wait_until(lambda: not pool.live(), "the leases end")


def test_stopped_server_releases_its_leases(pool: PoolProcess, jupyter: ServerProcess) -> None:
    jupyter.start()
    for name in "ab":
        jupyter.start_session(f"{name}.ipynb")
    live = pool.live()
    jupyter.terminate()  # the kernels may still be starting: no difference
    wait_until(lambda: not pool.live(), "the leases end")
    assert {value_of(pool.lease(view["id"])["end_reason"]) for view in live} <= {"released", "cancelled"}


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "profile": ({"fastgpu": {"profile": "huge"}}, "No device of this pool is 'huge'"),
    "memory": ({"fastgpu": {"memory": "900GiB"}}, "is more than any device of this pool has"),
    "nothing": ({"fastgpu": {"memory": "0 B"}}, "0 B is not possible"),
    "text": ({"config": {"memory": "lots"}}, "'lots' is not an amount of memory"),
}


def test_invalid_requests_are_answered_with_a_sentence(pool: PoolProcess, jupyter: ServerProcess) -> None:
    for name, (changes, _) in BAD_REQUESTS.items():
        write_kernelspec(jupyter.folder, name, **changes)
    jupyter.start()
    for name, (_, sentence) in BAD_REQUESTS.items():
        body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": name}}
        status, answer = jupyter.call("POST", "api/sessions", body)
        assert status == 500
        assert sentence in answer["message"]
        assert "\n" not in answer["message"]
    # Failed launches and one live kernel used to keep a server from stopping.
    jupyter.start_session("b.ipynb")
    jupyter.terminate()
    wait_until(lambda: not pool.live(), "the leases end")


def test_server_without_a_pool_is_answered_with_a_sentence(
    jupyter: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTGPU_SOCKET", str(jupyter.folder / "nothing" / "pool.sock"))
    (jupyter.folder / "nothing").mkdir()
    jupyter.start()
    status, answer = jupyter.call("GET", "fastgpu/api/pool")
    assert status == 503
    assert answer["code"] == "pool_unreachable"
    assert "No pool manager answers at" in answer["message"]
    body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": "fastgpu"}}
    status, answer = jupyter.call("POST", "api/sessions", body)
    assert status == 500
    assert "No pool manager answers at" in answer["message"]
    assert jupyter.start_session("b.ipynb", "python3")
    jupyter.terminate()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a socket of another user")
def test_server_refuses_a_socket_of_another_user(jupyter: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="fastgpu-test-") as folder:
        os.chown(folder, 65534, 65534)
        path = f"{folder}/own/pool.sock"
        trap = (
            "import os, socket, sys; os.setgid(65534); os.setuid(65534); os.mkdir(os.path.dirname(sys.argv[1]));"
            "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('ready', flush=True);"
            "[print(s.accept()[0].recv(1), flush=True) for _ in iter(int, 1)]"
        )
        command = [sys.executable, "-c", trap, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trap_process:
            assert trap_process.stdout is not None
            assert trap_process.stdout.readline() == "ready\n"
            monkeypatch.setenv("FASTGPU_SOCKET", path)
            jupyter.start()
            status, answer = jupyter.call("GET", "fastgpu/api/pool")
            assert status == 503
            assert "belongs to another user (uid 65534)" in answer["message"]
            assert trap_process.stdout.readline() == "b''\n"  # nothing was sent to it
            body = {"path": "a.ipynb", "name": "a", "type": "notebook", "kernel": {"name": "fastgpu"}}
            trap_process.kill()
            status, answer = jupyter.call("POST", "api/sessions", body)
            assert status == 500
            assert "No pool manager answers" in answer["message"]


def test_server_stops_while_a_launch_waits_for_a_grant(pool: PoolProcess, jupyter: ServerProcess) -> None:
    write_kernelspec(jupyter.folder, "nogate", argv=PLAIN, fastgpu={"gate": False})
    jupyter.start()
    jupyter.start_session("a.ipynb")
    body = {"path": "b.ipynb", "name": "b", "type": "notebook", "kernel": {"name": "nogate"}}
    waiting = threading.Thread(target=_ignore_errors, args=(lambda: jupyter.call("POST", "api/sessions", body),))
    waiting.start()
    wait_until(lambda: len(pool.live()) == 2, "the second launch waits")
    jupyter.terminate()
    waiting.join(DEADLINE_S)
    wait_until(lambda: not pool.live(), "the leases end")


def test_server_starts_the_pool_manager(jupyter: ServerProcess) -> None:
    jupyter.start()
    status, answer = wait_until(lambda: _if_ok(jupyter.call("GET", "fastgpu/api/pool")), "the pool was started")
    assert status == 200
    assert answer["simulated"] is True


def test_event_stream_sends_changes_to_the_browser(pool: PoolProcess, jupyter: ServerProcess) -> None:
    log = jupyter.folder / "events.log"
    (jupyter.folder / "config" / "jupyter_server_config.py").write_text(
        f"import logging\nc = get_config()\nc.EventLogger.handlers = [logging.FileHandler({str(log)!r})]\n"
    )
    jupyter.start()
    stream = Events(jupyter)
    snapshot = stream.next("snapshot")
    assert snapshot["pool"]["simulated"] is True
    assert len(snapshot["devices"]) == 1
    session = jupyter.start_session("a.ipynb")
    changed = stream.next("changed")
    assert changed["leases"][0]["holder"]["kernel_id"] == session["kernel"]["id"]
    event = wait_until(lambda: [line for line in log.read_text().splitlines() if "lease:v1" in line], "the event")
    assert json.loads(event[0])["kernel_id"] == session["kernel"]["id"]
    second = Events(jupyter)
    assert [view["holder"]["kernel_id"] for view in second.next("snapshot")["leases"]] == [session["kernel"]["id"]]
    pool.kill()
    assert "message" in stream.next("unreachable")
    assert "message" in second.next("unreachable")
    again = stream.next("snapshot")
    assert [view["holder"]["kernel_id"] for view in again["leases"]] == [session["kernel"]["id"]]
    stream.close()
    second.close()
    jupyter.terminate()


def test_server_stops_while_a_stream_is_open(pool: PoolProcess, jupyter: ServerProcess) -> None:
    jupyter.start()
    stream = Events(jupyter)
    stream.next("snapshot")
    jupyter.terminate()
    stream.close()


def test_event_stream_over_the_limit_is_refused(pool: PoolProcess, jupyter: ServerProcess) -> None:
    jupyter.start("--FastGPUExtension.event_streams_max=1")
    stream = Events(jupyter)
    stream.next("snapshot")
    status, answer = jupyter.call("GET", "fastgpu/api/events")
    assert status == 429
    assert answer["code"] == "limit_reached"
    stream.close()
    wait_until(lambda: _opens(jupyter), "the place is free again")


class Events:
    """One open event stream."""

    def __init__(self, server: ServerProcess) -> None:
        headers = {"Authorization": f"token {server.token}"}
        request = urllib.request.Request(f"{server.url}fastgpu/api/events", headers=headers)
        self._answer = urllib.request.urlopen(request, timeout=DEADLINE_S)
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")
        assert self._answer.headers["X-Accel-Buffering"] == "no"
        self._messages = self._read()

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self._answer:
            if line.startswith(b"data: "):
                yield json.loads(line[6:])

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of that type."""
        return next(message for message in self._messages if message["type"] == kind)

    def close(self) -> None:
        """Leave."""
        self._answer.close()


def _opens(server: ServerProcess) -> bool:
    try:
        Events(server).close()
    except urllib.error.HTTPError as refused:
        refused.close()
        return False
    return True


def _ignore_errors(call: Any) -> None:
    with contextlib.suppress(OSError):  # the server stopped
        call()


def _if_ok(answer: tuple[int, Any]) -> tuple[int, Any] | None:
    return answer if answer[0] == 200 else None
