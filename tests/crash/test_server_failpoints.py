"""A Jupyter server is killed at known steps: of a start, a restart, the end of another kernel, and of adoption.

``FASTGPU_SERVER_FAILPOINTS=all`` runs all of them, ``"start after-process,restart after-keep"`` these two. Otherwise
those that have the most consequences are run.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest

from fastgpu_jupyter.wire import kept_kernels, standby_status
from tests.crash.server_kills import Kills
from tests.helpers import alive
from tests.server.kernel_socket import kernel_socket
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


class After(enum.StrEnum):
    """What the next server has of a kernel whose server was killed at a step of its start or restart."""

    NOTHING = "nothing: neither kernel nor lease"
    KERNEL = "the kernel, which no session has yet"
    SESSION = "the kernel and its session"
    OLD = "the process from before the restart, with its variables"
    NEW = "another process, without variables"


#: Without standby kernels.
STARTS = {
    "before-acquire": After.NOTHING,
    "after-acquire": After.NOTHING,
    "after-record": After.NOTHING,
    "before-process": After.NOTHING,
    "after-process": After.KERNEL,
    "before-hold": After.KERNEL,
    "after-recorded": After.KERNEL,
    "after-hold": After.KERNEL,
    "before-session": After.KERNEL,
    "after-session": After.KERNEL,  # which no browser knows yet
    "after-session-noted": After.SESSION,
}
RESTARTS = {
    "before-keep": After.OLD,
    "after-keep": After.OLD,
    "after-restart": After.NEW,  # it was asked to end
    "before-cleanup": After.NEW,
    "after-cleanup": After.NEW,
    "after-acquire": After.NEW,
    "after-record": After.NEW,
    "before-process": After.NEW,
    "after-process": After.NEW,
    "after-recorded": After.NEW,
    "after-hold": After.NEW,
}
#: With a standby kernel that is ready.
HANDED_OVER = {
    "before-hand-over": After.NOTHING,
    "after-hand-over": After.NOTHING,
    "before-go": After.NOTHING,
    "after-go": After.KERNEL,
    "before-hold": After.KERNEL,  # what follows is done at the same time as the session is saved
}
HANDED_OVER_AGAIN = dict.fromkeys(("before-hand-over", "after-hand-over", "before-go", "after-go"), After.NEW)
#: Of the kernel that has the GPU for which a cell of another one waits.
ENDS = dict.fromkeys(("before-release", "after-release", "before-cleanup", "after-cleanup"), After.NOTHING)
#: Of the server that adopts.
ADOPTIONS = dict.fromkeys(
    ("before-claim", "after-claim", "before-adopt", "after-adopt", "before-register", "after-register"), After.OLD
)
#: What is run always.
OFTEN = (
    "start after-process", "restart after-keep", "restart before-cleanup", "end before-release", "adoption after-claim",
    "standby after-hand-over", "standby after-go",
)  # fmt: skip


RUNS_UNTIL = """
import pathlib, time
while not pathlib.Path({flag!r}).exists():
    time.sleep(0.02)
print("has run")
"""


class AimedKills(Kills):
    """Kills at a step of the server."""

    def at(self, step: str, method: str, path: str, body: object = None) -> None:
        """Let the server end at ``step`` of a request, and start the next."""

        def kill() -> None:
            self.jupyter.wait_killed()
            self.jupyter.start(*self.arguments)

        children = {child.pid for child in psutil.Process(self.jupyter.pid).children()}
        self.jupyter.crash_at.write_text(step)
        self.killed_during(lambda: self.jupyter.call(method, path, body), kill)
        self._expect_no_other(children)

    def _expect_no_other(self, children: set[int]) -> None:
        """Expect that what the server had started are kernels with a record, or has ended."""

        def others() -> set[int]:
            kernels = {found.record.kernel.pid for found in kept_kernels.records() if found.record.kernel is not None}
            return {pid for pid in children - kernels if alive(pid)}

        wait_until(lambda: not others(), "the standby kernels have ended with their server")

    def start(self, step: str, after: After) -> None:
        name = self.new_name()
        body = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "fastgpu"}}
        self.at(step, "POST", "api/sessions", body)
        wait_until(lambda: self._other() is (after is not After.NOTHING), f"the next server has {after}")
        sessions = {one["path"]: one["kernel"]["id"] for one in self.jupyter.call("GET", "api/sessions")[1]}
        assert (name in sessions) is (after is After.SESSION)
        for kernel_id in self.kernels() - {self.kernel_id}:
            wait_until(lambda: len(self.pool.live()) == 2, "both kernels have one lease each")
            with kernel_socket(self.jupyter, kernel_id, "another") as socket:
                socket.run("%fastgpu cpu")
                assert socket.run("print(6 * 7)") == "42\n"
            assert self.jupyter.call("DELETE", f"api/kernels/{kernel_id}")[0] == 204

    def _other(self) -> bool | None:
        """Return whether the server has another kernel beside that of the notebook; None while that may change."""
        recorded = {found.record.kernel_id for found in kept_kernels.records()}
        return len(recorded) > 1 if recorded == self.kernels() else None

    def restart(self, step: str, after: After) -> None:
        self.run("x = 41")
        before = self._process()
        self.at(step, "POST", f"api/kernels/{self.kernel_id}/restart")
        if after is After.NEW:
            wait_until(lambda: self._process() not in (None, before), "the kernel is another process")
        wait_until(lambda: self.kernel_id in self.kernels(), "the kernel is there, by adoption or by a start")
        assert self.run("print(globals().get('x'))").strip() == ("41" if after is After.OLD else "None")

    def _process(self) -> int | None:
        """Return the number of the process that the record of the notebook's kernel has."""
        found = [found.record.kernel for found in kept_kernels.records() if found.record.kernel_id == self.kernel_id]
        return found[0].pid if found and found[0] is not None else None

    def while_the_other_ends(self, step: str, _after: After) -> None:
        """The notebook's cell waits for the GPU of the other one, which is closed when the server ends."""
        before, self.session = self.session, self.jupyter.start_session(self.new_name())
        flag = self.folder / step
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            cell = socket.send(RUNS_UNTIL.format(flag=str(flag)))
            socket.wait(cell, "display_data", lambda content: "position 1" in content["data"]["text/plain"])
            self.at(step, "DELETE", f"api/sessions/{before['id']}")
        flag.touch()  # what a cell does in the instant of the kill is lost with the server
        with kernel_socket(self.jupyter, self.kernel_id, "browser") as socket:
            assert socket.wait(cell, "execute_reply")["status"] == "ok"
            wait_until(lambda: "has run" in socket.text(cell), "the cell has run")

    def adoption(self, step: str, _after: After) -> None:
        self.run("x = 41")
        self.jupyter.kill()
        self.jupyter.fail_to_start(step, *self.arguments)
        self.jupyter.start(*self.arguments)
        assert self.run("print(x)").strip() == "41"

    def cull(self) -> None:
        """Let the next server end the kernel that it has adopted, because it is not used."""
        self.arguments += ["--MappingKernelManager.cull_idle_timeout=1", "--MappingKernelManager.cull_interval=1"]
        self.again()
        wait_until(lambda: not self.kernels(), "the kernel is culled")
        wait_until(lambda: not self.pool.live(), "its lease ends")
        assert list(kept_kernels.records()) == []

    def start_from_standby(self, step: str, after: After) -> None:
        self._make_standby_ready()
        self.start(step, after)

    def restart_from_standby(self, step: str, after: After) -> None:
        self._make_standby_ready()
        self.restart(step, after)

    def _make_standby_ready(self) -> None:
        """Let the servers from here on have standby kernels, and wait until one is ready."""
        if not self.arguments:
            self.arguments += ["--StandbyKernels.count=1", "--StandbyKernels.wait_for_quiet=False"]
            self.again()
        wait_until(
            lambda: any(one.waiting for one in standby_status.read() if one.pid == self.jupyter.pid),
            "a standby kernel is ready",
        )


def _chosen(kind: str, steps: Iterable[str]) -> list[str]:
    wanted = os.environ.get("FASTGPU_SERVER_FAILPOINTS", ",".join(OFTEN))
    return [step for step in steps if wanted == "all" or f"{kind} {step}" in wanted.split(",")]


@pytest.mark.timeout(900)
def test_server_killed_at_a_step_loses_no_kernel_and_bills_no_lease_twice(kills: AimedKills) -> None:
    for kind, steps, kill in (
        ("start", STARTS, kills.start),
        ("restart", RESTARTS, kills.restart),
        ("end", ENDS, kills.while_the_other_ends),
        ("adoption", ADOPTIONS, kills.adoption),
        ("standby", HANDED_OVER, kills.start_from_standby),
        ("standby restart", HANDED_OVER_AGAIN, kills.restart_from_standby),
    ):
        for step in _chosen(kind, steps):
            try:
                kill(step, steps[step])
                kills.check()
            except AssertionError as error:
                raise AssertionError(f"{kind} {step}: {error}") from error
    kills.cull()


@pytest.fixture
def kills(isolated: Path, installed: None) -> Iterator[AimedKills]:
    """A notebook with a kernel that runs."""
    found = AimedKills(isolated)
    try:
        found.begin()
        yield found
    finally:
        found.end()
