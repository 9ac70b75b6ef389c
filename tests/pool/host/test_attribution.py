"""Whose a process is, seen at real processes: children, grandchildren whose parent is gone, PID namespaces."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import Holder
from fastgpu_jupyter.errors import NotFound
from fastgpu_jupyter.pool.host import attribution
from fastgpu_jupyter.pool.host.attribution import Attribution, host_pid
from fastgpu_jupyter.pool.host.process import holder_of
from tests.helpers import alive
from tests.waiting import wait_until

#: Starts itself once more ``depth`` times below it, says the number of each, and waits until standard input ends.
TREE = """
import os, subprocess, sys
depth = int(sys.argv[1])
print(os.getpid(), flush=True)
if depth:
    subprocess.run([sys.executable, "-I", "-c", sys.argv[2], str(depth - 1), sys.argv[2]])
else:
    sys.stdin.read()
"""

pytestmark = pytest.mark.slow


@contextlib.contextmanager
def tree(depth: int, *prefix: str, **environ: str) -> Iterator[list[int]]:
    """A chain of real processes, the oldest first; by the numbers that each knows of itself."""
    command = [*prefix, sys.executable, "-I", "-c", TREE, str(depth), TREE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **environ}) as process:
        assert process.stdout is not None
        try:
            yield [int(process.stdout.readline()) for _ in range(depth + 1)]
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def only(leases: frozenset[str]) -> str | None:
    assert len(leases) <= 1
    return next(iter(leases), None)


def following(**pids: int) -> Attribution:
    found = Attribution()
    found.follow({lease_id: holder_of(pid, "boot") for lease_id, pid in pids.items()})
    return found


def test_children_of_a_kernel_belong_to_its_lease() -> None:
    with tree(2) as mine, tree(1) as other:
        found = following(a=mine[0])
        assert [only(found.leases_of(pid)) for pid in mine] == ["a", "a", "a"]
        assert [only(found.leases_of(pid)) for pid in other] == [None, None]
        assert only(found.leases_of(os.getpid())) is None  # a parent is not a child


def test_kernel_started_by_a_kernel_belongs_to_its_own_lease() -> None:
    with tree(2) as pids:
        found = following(outer=pids[0], inner=pids[1])
        assert [only(found.leases_of(pid)) for pid in pids] == ["outer", "inner", "inner"]


@pytest.mark.parametrize(
    ("environ", "look_first"),
    [({}, True), ({"FASTGPU_LEASE": "a"}, False), ({"FASTGPU_ANCESTOR_LEASES": "outer a"}, False)],
)
def test_orphaned_child_still_belongs_to_its_lease(environ: dict[str, str], look_first: bool) -> None:
    """One that was seen in time is remembered; one that was not still has what it was given."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); sys.stdin.read()"
    command, pipe = [sys.executable, "-I", "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **environ}) as kernel:
        assert kernel.stdout is not None
        child = int(kernel.stdout.readline())
        found = following(a=kernel.pid)
        if look_first:
            assert only(found.leases_of(child)) == "a"
        kernel.kill()
    try:
        assert alive(child)
        # Its environment is empty for the moment in which it becomes `sleep`.
        wait_until(lambda: only(found.leases_of(child)) == "a", "the child is found")
    finally:
        os.kill(child, 9)


def test_process_cannot_name_the_lease_of_another_user() -> None:
    with tree(0, FASTGPU_LEASE="a") as (pid,):
        found, other = Attribution(), Holder("boot", 1, 0, 0, uid=os.getuid() + 1)
        found.follow({"a": other})
        assert only(found.leases_of(pid)) is None
        found.follow({"a": Holder("boot", 1, 0, 0, uid=os.getuid())})
        assert only(found.leases_of(pid)) == "a"
        found.follow({})
        assert only(found.leases_of(pid)) is None  # a lease that has ended


def test_kernel_with_several_leases_belongs_to_all_with_its_children() -> None:
    with tree(1) as pids:
        found = following(a=pids[0], b=pids[0])
        assert [found.leases_of(pid) for pid in pids] == [{"a", "b"}] * 2


def test_kernel_without_lease_gets_none_of_its_servers_leases() -> None:
    with tree(0, FASTGPU_LEASE="over") as (kernel,), tree(0) as (other,):
        found = following(coming=os.getpid())
        assert found.leases_of(kernel) == frozenset()
        assert found.leases_of(other) == {"coming"}


def test_process_outside_the_namespace_raises_not_found() -> None:
    with tree(0) as (pid,):
        found = following(a=pid)
    with pytest.raises(NotFound):
        only(found.leases_of(pid))


def test_attribution_reads_each_process_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    facts = attribution._facts

    def noted(key: Any) -> Any:
        read.append(key.pid)
        return facts(key)

    monkeypatch.setattr(attribution, "_facts", noted)
    with tree(2) as pids:
        found = following(a=pids[0])
        for _ in range(3):
            assert [only(found.leases_of(pid)) for pid in pids] == ["a", "a", "a"]
    assert sorted(read) == sorted(set(read))
    assert set(pids) <= set(read)


def test_process_without_environment_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with tree(0, FASTGPU_LEASE="a") as (pid,):
        found, environ = Attribution(), attribution._environ
        found.follow({"a": Holder("boot", 1, 0, 0, uid=os.getuid())})
        monkeypatch.setattr(attribution, "_environ", lambda _: b"")
        assert only(found.leases_of(pid)) is None
        monkeypatch.setattr(attribution, "_environ", environ)
        assert only(found.leases_of(pid)) == "a"


def test_process_that_executes_a_program_keeps_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); sys.stdin.read()"
    command, pipe = [sys.executable, "-I", "-c", code], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as kernel:
        assert kernel.stdout is not None
        child = int(kernel.stdout.readline())
        found = following(a=kernel.pid)
        with monkeypatch.context() as becoming:
            becoming.setattr(attribution, "_environ", lambda _: b"")
            assert only(found.leases_of(child)) == "a"
        kernel.kill()
    try:
        assert only(found.leases_of(child)) == "a"
    finally:
        os.kill(child, 9)


def test_own_control_group_identifies_processes_outside_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    """Played, as only some machines let a test make control groups: who is in which."""
    groups: dict[int, str] = {}
    monkeypatch.setattr(attribution, "_cgroup", lambda folder: (f"0::{groups.get(int(folder.name), '/shell')}",))
    with tree(0) as (kernel,), tree(0) as (strayed,), tree(0) as (other,):
        groups.update({kernel: "/pod/kernel", strayed: "/pod/kernel/child", other: "/pod/kernel-of-another"})
        found = following(a=kernel)
        assert (only(found.leases_of(strayed)), only(found.leases_of(other))) == ("a", None)
        # Where another kernel, or the parent of its own, is in it too, it says nothing.
        groups.update({other: "/pod/kernel"})
        assert only(following(a=kernel, b=other).leases_of(strayed)) is None
        groups.update({os.getpid(): "/pod/kernel"})
        assert only(following(a=kernel).leases_of(strayed)) is None


# -- PID namespaces ---------------------------------------------------------------------------------------------------


def unshare() -> tuple[str, ...]:
    """The words that start a program in a PID namespace of its own."""
    words: tuple[str, ...] = ("unshare", "--pid", "--fork", "--kill-child")
    if os.getuid() != 0:
        words = (*words, "--user", "--map-root-user")
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    tried = subprocess.run([*words, "true"], capture_output=True, text=True, timeout=20, check=False)
    if tried.returncode:
        pytest.skip(f"no PID namespace can be made here: {tried.stderr.strip()}")
    return words


def here(pid_inside: int, above: int) -> int:
    """The number here of the descendant of ``above`` that calls itself ``pid_inside``."""

    def find() -> int:
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
                numbers = lines.get("NSpid", "").split()
                if len(numbers) == 2 and int(numbers[1]) == pid_inside and _is_below(int(numbers[0]), above):
                    return int(numbers[0])
        return 0

    return wait_until(find, f"process {pid_inside} is found")


def _is_below(pid: int, above: int) -> bool:
    while pid > 1 and pid != above:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return pid == above


def test_kernel_in_a_pid_namespace_has_its_children() -> None:
    words = unshare()
    with tree(1, *words) as inside, tree(0) as (other,):
        assert inside[0] == 1  # what the kernel knows of itself is no number of ours
        kernel, child = (here(pid, os.getpid()) for pid in inside)
        found = following(a=kernel)
        assert [only(found.leases_of(pid)) for pid in (kernel, child, other)] == ["a", "a", None]


def test_host_pid_translates_a_pid_of_another_namespace() -> None:
    words = unshare()
    with tree(2, *words) as first, tree(2, *words) as second:
        outside = {here(1, os.getpid())}
        assert first == second  # both count from one
        servers = _inits_below(os.getpid())
        assert len(servers) == 2
        assert outside <= set(servers)
        for server in servers:
            kernel = host_pid(first[1], server)
            assert _is_below(kernel, server)
            assert kernel != server
            with pytest.raises(NotFound):
                host_pid(4_000_000, server)
        assert host_pid(first[1], servers[0]) != host_pid(first[1], servers[1])
    assert host_pid(4711, os.getpid()) == 4711  # a process in our namespace uses our pids


def _inits_below(above: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
            numbers = [int(number) for number in lines.get("NSpid", "").split()]
            if len(numbers) == 2 and numbers[1] == 1 and _is_below(numbers[0], above):
                found.append(numbers[0])
    return found
