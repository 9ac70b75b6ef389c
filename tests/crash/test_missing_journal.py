"""Files of the journal are removed or replaced, under a running pool manager and between two of them.

What is written to a file that has no name any more is gone with the process, so it is not acknowledged; and a pool
manager that knew nothing of the leases would grant their devices again.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.errors import FastGPUError, StoreFault
from fastgpu_jupyter.pool.journal.marker import Markers, marker_paths
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.loop import degraded_mode
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from tests.crash.conftest import KillablePool
from tests.pool.conftest import Serve
from tests.pool.conftest import serve as serve  # noqa: PLC0414 (a fixture)
from tests.pool.served import ServedPool
from tests.views import text
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degraded_mode, "PROBE_S", 0.01)
    monkeypatch.setattr(degraded_mode, "WATCH_S", 0.02)


def request(pool: ServedPool | KillablePool) -> str:
    return str(pool.client.request("eighth", token=new_token())["id"])


def fault_of(pool: ServedPool | KillablePool) -> str:
    pool_view = pool.client.status()["pool"]
    return "" if pool_view["accepting"] else str(text(pool_view["message"]))


def replaced_by_a_copy(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    path.with_name("copy").rename(path)


def replaced_by_an_empty_file(path: Path) -> None:
    path.unlink()
    path.touch()


REMOVED: dict[str, Callable[[Path], object]] = {
    "removed": lambda path: path.unlink(),
    "replaced by a copy": replaced_by_a_copy,
    "replaced by an empty file": replaced_by_an_empty_file,
}


@pytest.mark.parametrize("name", ["journal.db", "lock"])
@pytest.mark.parametrize("removal", REMOVED)
def test_nothing_is_acknowledged_until_the_file_is_back(serve: Serve, tmp_path: Path, removal: str, name: str) -> None:
    (tmp_path / "lock").touch()  # as the pool manager has one
    pool = serve()
    kept = request(pool)
    path, kept_file = tmp_path / name, tmp_path / "kept"
    os.link(path, kept_file)
    REMOVED[removal](path)
    with pytest.raises(StoreFault, match=f"{name} was removed or replaced"):
        request(pool)
    with pytest.raises(StoreFault, match="was removed or replaced"):
        pool.client.resize(kept, "quarter")
    assert "nothing new is granted" in fault_of(pool)
    assert pool.client.lease(kept)["state"] == "active"
    kept_file.rename(path)
    wait_until(lambda: not fault_of(pool), "the pool goes on by itself")
    request(pool)


def test_removal_is_shown_though_nothing_is_written(serve: Serve, tmp_path: Path) -> None:
    pool = serve()
    (tmp_path / "journal.db").rename(tmp_path / "moved")
    wait_until(lambda: "was removed or replaced" in fault_of(pool), "the pool shows it")
    (tmp_path / "moved").rename(tmp_path / "journal.db")
    wait_until(lambda: not fault_of(pool), "the pool goes on by itself")


def test_removed_log_is_made_again_and_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    pool = serve()
    before = [request(pool) for _ in range(3)]
    (tmp_path / "journal.db-wal").unlink()
    wait_until((tmp_path / "journal.db-wal").exists, "the log is made again")
    wait_until(lambda: not fault_of(pool), "the pool goes on by itself")
    after = request(pool)
    # What a pool manager that is killed now leaves:
    (tmp_path / "killed").mkdir()
    for file in tmp_path.glob("journal.db*"):
        shutil.copy(file, tmp_path / "killed")
    pool.stop()
    (tmp_path / "next").mkdir()
    for file in (tmp_path / "killed").iterdir():
        if not file.name.endswith("-shm"):
            shutil.copy(file, tmp_path / "next")
    again = ServedPool(tmp_path / "next")
    assert {*before, after} <= {lease["id"] for lease in again.client.leases()}
    again.stop()


def test_removed_head_is_made_again(serve: Serve, tmp_path: Path) -> None:
    pool = serve()
    head = tmp_path / "journal.db-head"
    content = head.read_bytes()
    head.unlink()
    request(pool)
    assert head.read_bytes() not in (b"", content)
    assert not fault_of(pool)


def test_release_is_not_noted_in_a_removed_file(tmp_path: Path) -> None:
    from fastgpu_jupyter.core.model.entities import EndReason, Instant
    from fastgpu_jupyter.pool.journal.release_log import Release

    release_log = PreallocatedReleaseLog(tmp_path / "releases")
    release_log.note(Release("a", EndReason.RELEASED, Instant(1, 1)))
    (tmp_path / "releases").unlink()
    with pytest.raises(StoreFault, match="was not noted"):
        release_log.note(Release("b", EndReason.RELEASED, Instant(1, 1)))
    release_log.close()


# -- the next pool manager --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("left", ["no folder", "an empty folder", "an empty file"])
def test_pool_whose_folder_was_removed_does_not_start_empty(killable_pool: KillablePool, left: str) -> None:
    assert killable_pool.start()
    folder, moved = user_state_dir(), user_state_dir().with_name("moved")
    kept = request(killable_pool)
    folder.rename(moved)
    with pytest.raises(FastGPUError, match="was removed or replaced"):
        request(killable_pool)
    killable_pool.kill(signal.SIGTERM)
    if left != "no folder":
        folder.mkdir(mode=0o700)
    if left == "an empty file":
        (folder / "journal.db").touch()
    assert not killable_pool.start()
    assert killable_pool.wait() == 1
    assert f"There is no journal at {folder / 'journal.db'}" in killable_pool.output.read_text()
    assert "pool --start-empty" in killable_pool.output.read_text()
    shutil.rmtree(folder)
    moved.rename(folder)
    assert killable_pool.start()
    assert killable_pool.client.lease(kept)["state"] == "active"
    killable_pool.kill()
    shutil.rmtree(folder)
    killable_pool.arguments.append("--start-empty")
    assert killable_pool.start()
    assert killable_pool.client.leases() == []


@pytest.fixture
def holder() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a process that has a lease of the pool at the user's socket, by its environment."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        environment = {**os.environ, "FASTGPU_LEASE": "abc", "FASTGPU_SOCKET": str(user_socket())}
        started.append(subprocess.Popen(["sleep", "600"], env=environment))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_pool_does_not_start_empty_where_a_process_holds_a_lease(
    killable_pool: KillablePool, holder: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = holder()
    killable_pool.arguments.append("--start-empty")
    assert not killable_pool.start()
    assert killable_pool.wait() == 1
    assert f"processes hold leases of a pool at {user_socket()}: {process.pid}." in killable_pool.output.read_text()
    process.kill()
    process.wait()
    assert killable_pool.start()


def test_marker_is_about_its_own_journal_only(tmp_path: Path) -> None:
    paths = marker_paths(tmp_path / "state", tmp_path / "run" / "pool.sock")
    (tmp_path / "run").mkdir()
    ours = Markers(tmp_path / "state" / "journal.db", paths)
    ours.require_first_start()
    assert ours.write()
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600, 0o600]
    Markers(tmp_path / "other" / "journal.db", paths).require_first_start()
    for path in paths:
        with pytest.raises(StoreFault, match="says that there was one"):
            ours.require_first_start()
        path.unlink()
    ours.require_first_start()


def test_marker_that_can_only_be_written_in_one_place_is_enough(tmp_path: Path) -> None:
    ours = Markers(tmp_path / "journal.db", (tmp_path / "missing" / "marker", tmp_path / "marker"))
    assert ours.write()
    with pytest.raises(StoreFault):
        ours.require_first_start()
    assert not Markers(tmp_path / "journal.db", (tmp_path / "missing" / "marker",)).write()


def test_commit_to_a_file_that_is_removed_meanwhile_is_not_acknowledged(serve: Serve, tmp_path: Path) -> None:
    pool = serve()
    insert = pool.journal._insert

    def insert_and_remove(*what: Any) -> None:
        insert(*what)
        pool.journal._insert = insert  # type: ignore[method-assign]
        (tmp_path / "journal.db").rename(tmp_path / "moved")

    pool.journal._insert = insert_and_remove  # type: ignore[method-assign, assignment]
    for _ in range(2):
        with pytest.raises(StoreFault, match="was removed or replaced"):
            pool.client.request("eighth", token="0" * 64, key="once")
    (tmp_path / "moved").rename(tmp_path / "journal.db")
    wait_until(lambda: not fault_of(pool), "the pool goes on by itself")
    lease_id = pool.client.request("eighth", token="0" * 64, key="once")["id"]
    assert [lease["id"] for lease in pool.client.leases()] == [lease_id]
