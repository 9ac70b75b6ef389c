"""Processes by identity, one pool a folder, and a socket in the right hands."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import Holder
from fastgpu_jupyter.errors import Conflict, Forbidden, HostFault, NotFound
from fastgpu_jupyter.pool.host import process, single_instance
from fastgpu_jupyter.pool.host.attribution import lease_of
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.wire import unixsocket
from tests import refusals
from tests.waiting import DEADLINE_S, wait_until

BOOT = SystemClock().boot_id()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    running = subprocess.Popen(["sleep", "60"])
    yield running
    running.kill()
    running.wait()


def test_holder_identity_has_more_than_the_pid(child: subprocess.Popen[bytes]) -> None:
    known = process.holder_of(child.pid, BOOT)
    pidfd = process.open_holder(known, BOOT)
    assert pidfd is not None
    os.close(pidfd)
    for other in (
        replace(known, start_time=known.start_time + 1),
        replace(known, pidfd_inode=known.pidfd_inode + 1),
        replace(known, boot_id="another boot"),
        replace(known, uid=known.uid + 1),
    ):
        assert process.open_holder(other, BOOT) is None


def test_zombie_has_ended(child: subprocess.Popen[bytes]) -> None:
    known = process.holder_of(child.pid, BOOT)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.open_holder(known, BOOT) is None
    with pytest.raises(NotFound, match="has ended"):
        process.holder_of(child.pid, BOOT)


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**70])
def test_holder_of_a_pid_without_process_raises_not_found(pid: int) -> None:
    with pytest.raises(NotFound):
        process.holder_of(pid, BOOT)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can choose the next process number")
def test_holder_of_a_reused_pid_is_another(child: subprocess.Popen[bytes]) -> None:
    known = process.holder_of(child.pid, BOOT)
    child.kill()
    child.wait()
    for _ in range(50):
        Path("/proc/sys/kernel/ns_last_pid").write_text(str(known.pid - 1))
        reborn = subprocess.Popen(["sleep", "60"])
        try:
            if reborn.pid == known.pid:
                assert process.open_holder(known, BOOT) is None
                assert process.holder_of(known.pid, BOOT) != known
                return
        finally:
            reborn.kill()
            reborn.wait()
    pytest.fail("the number was never reused")


def test_watcher_reports_the_current_holder_once(child: subprocess.Popen[bytes]) -> None:
    reported: list[tuple[str, Holder]] = []

    async def story() -> None:
        ended = asyncio.Event()

        def tell(lease_id: str, holder: Holder) -> None:
            reported.append((lease_id, holder))
            ended.set()

        watcher = process.HolderWatcher(BOOT, tell)
        first = process.holder_of(child.pid, BOOT)
        watcher.watch("a", first)
        watcher.watch("b", first)
        watcher.watch("b", process.holder_of(os.getpid(), BOOT))
        child.kill()
        await asyncio.wait_for(ended.wait(), DEADLINE_S)
        watcher.close()
        assert reported == [("a", first)]

    asyncio.run(story())


def test_watcher_reports_a_holder_that_has_ended_already(child: subprocess.Popen[bytes]) -> None:
    async def story() -> None:
        ended = asyncio.Event()
        watcher = process.HolderWatcher(BOOT, lambda *_: ended.set())
        gone = replace(process.holder_of(child.pid, BOOT), start_time=1)
        watcher.watch("a", gone)
        await asyncio.wait_for(ended.wait(), DEADLINE_S)

    asyncio.run(story())


def test_lease_of_reads_the_environment_of_a_process() -> None:
    environment = {**os.environ, "FASTGPU_LEASE": "abc"}
    with subprocess.Popen(["sleep", "60"], env=environment) as running:
        # Until exec is done the child still shows our own environment.
        assert wait_until(lambda: lease_of(running.pid), "the process has its own environment") == "abc"
        running.kill()
    assert lease_of(running.pid) is None


def test_second_lock_is_refused_with_the_owner(tmp_path: Path) -> None:
    descriptor = single_instance.acquire_lock(tmp_path, "lock")
    single_instance.write_owner(descriptor, "socket /a")
    with refusals.refused(Conflict, match=rf"already running here \(process {os.getpid()}, socket /a\)"):
        single_instance.acquire_lock(tmp_path, "lock")
    os.close(descriptor)
    os.close(single_instance.acquire_lock(tmp_path, "lock"))


def test_child_process_does_not_inherit_the_lock(tmp_path: Path) -> None:
    descriptor = single_instance.acquire_lock(tmp_path, "lock")
    with subprocess.Popen(["sleep", "60"], close_fds=False) as running:
        os.close(descriptor)
        os.close(single_instance.acquire_lock(tmp_path, "lock"))
        running.kill()


def test_private_folder_has_its_mode_and_owner(tmp_path: Path) -> None:
    single_instance.create_private_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(tmp_path)
    with refusals.refused(HostFault, match="is a link or belongs to another user"):
        single_instance.create_private_folder(tmp_path / "link")
    (tmp_path / "file").touch()
    with refusals.refused(HostFault, match="cannot be made"):
        single_instance.create_private_folder(tmp_path / "file")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with refusals.refused(HostFault, match="belongs to another user"):
        single_instance.create_private_folder(tmp_path)


def test_listen_replaces_a_stale_socket_with_the_right_mode(tmp_path: Path) -> None:
    path = tmp_path / "pool.sock"
    single_instance.listen(path, 0o600).close()
    with single_instance.listen(path, 0o600), unixsocket.connect(path, DEADLINE_S):
        assert path.stat().st_mode & 0o777 == 0o600
        assert list(tmp_path.iterdir()) == [path]


def test_listen_removes_private_names_of_killed_pools(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    names = {
        "dead": f".pool.sock.{ended.pid}",
        "alive": f".pool.sock.{os.getppid()}",
        "another's": f".other.sock.{ended.pid}",
        "a number too long": f".pool.sock.{2**70}",
    }
    for name in names.values():
        with socket.socket(socket.AF_UNIX) as left, unixsocket.short_address(tmp_path / name) as address:
            left.bind(address)
    (tmp_path / f".pool.sock.0{ended.pid}").write_text("no socket")
    single_instance.listen(tmp_path / "pool.sock", 0o600).close()
    found = {path.name for path in tmp_path.iterdir()}
    assert found == {"pool.sock", f".pool.sock.0{ended.pid}", *names.values()} - {names["dead"]}


def test_socket_lock_is_refused_to_a_second_pool(tmp_path: Path) -> None:
    path = tmp_path / "pool.sock"
    descriptor = single_instance.acquire_socket_lock(path)
    single_instance.write_owner(descriptor, "state folder /a")
    with refusals.refused(
        Conflict, match=r"already running at the socket .*pool\.sock \(process .*/a\).*another socket"
    ):
        single_instance.acquire_socket_lock(path)
    os.close(single_instance.acquire_socket_lock(tmp_path / "other.sock"))
    os.close(descriptor)
    os.close(single_instance.acquire_socket_lock(path))


def test_remove_socket_keeps_the_socket_of_another_pool(tmp_path: Path) -> None:
    path = tmp_path / "pool.sock"
    with single_instance.listen(path, 0o600):
        ours = single_instance.inode(path)
        path.rename(tmp_path / "moved")  # so that the inode is not used again
        with single_instance.listen(path, 0o600):  # another pool replaced it
            single_instance.remove_socket(path, ours)
            unixsocket.connect(path, DEADLINE_S).close()
            single_instance.remove_socket(path, single_instance.inode(path))
            assert not path.exists()


def test_listen_supports_a_path_of_any_length(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with (
        single_instance.listen(folder / "pool.sock", 0o600) as server,
        unixsocket.connect(folder / "pool.sock", DEADLINE_S) as client,
    ):
        server.settimeout(DEADLINE_S)
        accepted, _ = server.accept()
        with accepted:
            assert unixsocket.peer_of(accepted).pid == os.getpid()
            assert unixsocket.peer_of(client).uid == os.getuid()
            assert process.peer_holder(accepted, BOOT) == process.holder_of(os.getpid(), BOOT)


def test_listen_on_a_bad_path_says_why(tmp_path: Path) -> None:
    (tmp_path / "pool.sock").mkdir()
    with refusals.refused(HostFault, match="is not a socket"):
        single_instance.listen(tmp_path / "pool.sock", 0o600)


def test_peer_holder_without_peer_pidfd_uses_the_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_SO_PEERPIDFD", 9999)
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert process.peer_holder(one, BOOT).pid == os.getpid()


def test_peer_that_is_known_is_identified_by_what_can_change(tmp_path: Path) -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        known = process.peer_holder(one, BOOT)
        assert process.peer_holder(one, BOOT, known) is known
        with refusals.refused(Forbidden, match="has changed its user"):
            process.peer_holder(one, BOOT, replace(known, uid=known.uid + 1))
    path = tmp_path / "pool.sock"
    connect = "import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); time.sleep(99)"
    with single_instance.listen(path, 0o600) as server, subprocess.Popen([sys.executable, "-c", connect, path]) as peer:
        server.settimeout(DEADLINE_S)
        accepted, _ = server.accept()
        with accepted:
            known = process.peer_holder(accepted, BOOT)
            assert known.pid == peer.pid
            peer.kill()
            peer.wait()
            with refusals.refused(NotFound, match="has ended"):
                process.peer_holder(accepted, BOOT, known)


def test_host_is_linux() -> None:
    assert sys.platform == "linux"
