"""The records of kernels that may outlive their server: what is stored, who may take a kernel over, what is ignored."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from fastgpu_jupyter.wire import kept_kernels
from fastgpu_jupyter.wire.kept_kernels import Found, claim, identity_path, records, write
from fastgpu_jupyter.wire.process_identity import ProcessIdentity, identify, write_own_identity
from fastgpu_jupyter.wire.schemas.kept_kernel import KeptKernel, RecordedProcess
from fastgpu_jupyter.wire.variables import KEPT
from tests.waiting import wait_until

GONE = RecordedProcess(boot_id="an-earlier-boot", pid=1, start_time=1)


def record(kernel_id: str = "one", server: RecordedProcess = GONE) -> KeptKernel:
    return KeptKernel(
        kernel_id=kernel_id,
        kernelspec="fastgpu",
        user=os.getuid(),
        root="/notebooks",
        keep="crash",
        orphan_after_s=86_400.0,
        server=server,
        connection_file="/runtime/kernel-one.json",
        created_at=1,
    )


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


def own() -> RecordedProcess:
    found = kept_kernels.recorded(os.getpid())
    assert found is not None
    return found


def test_written_record_is_read_and_only_its_owner_may_read_it() -> None:
    umask = os.umask(0)
    try:
        path = write(record("a/../b"))
    finally:
        os.umask(umask)
    assert [found.record for found in records()] == [record("a/../b")]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    kept_kernels.remove(path)
    assert list(records()) == []


def test_kernel_of_a_starting_server_is_known_by_its_own_file() -> None:
    path = write(record())
    (found,) = records()
    assert found.kernel() is None
    write_own_identity(identity_path(path))
    assert found.kernel() == identify(os.getpid())
    assert identity_path(path).stat().st_mode & 0o777 == 0o600
    kept_kernels.remove(path)
    assert not identity_path(path).exists()


def test_process_that_is_being_started_is_waited_for() -> None:
    path = write(record())
    (old,) = records()
    assert not old.may_start()
    assert Found(path, msgspec.structs.replace(record(), created_at=time.time_ns() // 1_000_000)).may_start()
    environment = {**os.environ, KEPT: str(path)}
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as child:
        wait_until(old.may_start, "the process is seen")
        child.kill()
    assert not old.may_start()


def test_record_that_is_too_large_is_not_written() -> None:
    large = msgspec.structs.replace(record(), notebook="x" * kept_kernels.RECORD_BYTES_MAX)
    with pytest.raises(OSError, match="too large"):
        write(large)
    assert list(records()) == []


def test_files_of_processes_that_were_killed_are_removed() -> None:
    path = write(record())
    left = [path.with_name(f".{path.name}.1.new"), identity_path(kept_kernels.record_path("gone"))]
    for one in [*left, path.with_name(".another.json.2.new"), identity_path(path)]:
        one.write_bytes(b"{")
    for one in left:
        os.utime(one, (1, 1))
    kept_kernels.remove_unfinished()
    assert not any(one.exists() for one in left)
    assert len(list(path.parent.iterdir())) == 3


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1}', b" " * (kept_kernels.RECORD_BYTES_MAX + 1)])
def test_damaged_record_is_reported_and_no_other_one_is_lost(content: bytes) -> None:
    write(record())
    damaged: list[Path] = []
    path = kept_kernels.record_path("two")
    path.write_bytes(content)
    assert [found.record.kernel_id for found in records(lambda path, _: damaged.append(path))] == ["one"]
    assert damaged == [path]


def test_record_of_another_kernel_user_or_later_version_is_ignored() -> None:
    write(record())
    others = [
        msgspec.structs.replace(record("another"), user=os.getuid() + 1),
        msgspec.structs.replace(record("later"), version=3),
    ]
    for one in others:
        write(one)
    kept_kernels.record_path("copied").write_bytes(msgspec.json.encode(record()))
    assert [found.record.kernel_id for found in records()] == ["one"]


def test_record_with_fields_of_a_later_version_is_read() -> None:
    path = write(record())
    path.write_bytes(msgspec.json.encode({**msgspec.to_builtins(record()), "later": 1}))
    assert [found.record for found in records()] == [record()]


def test_kernel_of_a_living_server_is_never_claimed() -> None:
    write(record(server=own()))
    (found,) = records()
    assert not found.is_orphaned()
    assert claim(found) is None


def test_kernel_of_a_server_that_cannot_be_observed_is_not_orphaned(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", fail)
    assert not Found(write(record(server=own())), record(server=own())).is_orphaned()


def test_kernel_of_a_server_that_its_parent_has_not_waited_for_is_orphaned() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        server = kept_kernels.recorded(child.pid)
        assert server is not None
        found = Found(write(record(server=server)), record(server=server))
        assert not found.is_orphaned()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert found.is_orphaned()


def test_orphaned_kernel_is_claimed_once_by_many_at_a_time() -> None:
    """Descriptors of one process exclude one another as those of two do, and all find the record first."""
    write(record())
    (found,) = records()
    claimed: list[Found | None] = []
    threads = [threading.Thread(target=lambda: claimed.append(claim(found))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (only,) = [one for one in claimed if one is not None]
    assert only.record.server == own()
    assert [one.record.server for one in records()] == [own()]


def test_claim_gives_up_where_another_process_holds_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_kernels, "LOCK_S", 0.02)
    found = Found(write(record()), record())
    with kept_kernels._locked(found.path.parent):
        assert claim(found) is None
    assert claim(found) is not None


def test_identity_of_another_boot_or_start_time_has_ended() -> None:
    now = identify(os.getpid())
    assert now is not None
    assert not now.has_ended()
    assert now._replace(boot_id="another").has_ended()
    assert now._replace(start_time=now.start_time + 1).has_ended()
    assert ProcessIdentity(now.boot_id, 2**22 + 1, 1).has_ended()
