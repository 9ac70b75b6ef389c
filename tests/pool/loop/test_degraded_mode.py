"""A disk that is full, read-only or broken: nothing is granted, releases are, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.model.entities import EndReason, Instant, State
from fastgpu_jupyter.errors import FastGPUError, PoolUnreachable, StoreFault
from fastgpu_jupyter.pool.journal import release_log as release_log_module
from fastgpu_jupyter.pool.journal.release_log import RECORD_BYTES, RECORDS_MAX, PreallocatedReleaseLog, Release
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import command_queue, degraded_mode
from fastgpu_jupyter.pool.loop.recovery import replay
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_state_dir
from tests.helpers import PoolProcess
from tests.pool.conftest import Serve
from tests.pool.served import ServedPool
from tests.views import text, value_of
from tests.waiting import wait_until

OpenReserve = Callable[[Path], PreallocatedReleaseLog]
Break = Callable[[ServedPool], Callable[[], None]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degraded_mode, "PROBE_S", 0.01)
    monkeypatch.setattr(command_queue, "RETRY_S", 0.02)


def pragma(pool: ServedPool, text: str) -> Any:
    # In the thread that writes: a connection is for one thread at a time.
    return pool.run(pool.services.writer.run(lambda: pool.journal._db.execute(f"PRAGMA {text}").fetchall()))


def fill(pool: ServedPool) -> Callable[[], None]:
    """No more pages: what SQLite says is what it says on a full disk."""
    pragma(pool, f"max_page_count={pragma(pool, 'page_count')[0][0]}")
    return lambda: pragma(pool, "max_page_count=1000000")


def protect(pool: ServedPool) -> Callable[[], None]:
    """What SQLite says is what it says on a disk that was mounted read-only."""
    pragma(pool, "query_only=1")
    return lambda: pragma(pool, "query_only=0")


def degrade(pool: ServedPool, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
    """Ask until the disk is found to be full; with ``monkeypatch`` it stays so for as long as the test takes."""
    if monkeypatch:
        monkeypatch.setattr(degraded_mode, "PROBE_S", 60.0)
    with contextlib.suppress(StoreFault):
        for _ in range(200):
            pool.client.request("eighth", notebook="x" * 1000, token=new_token())
    assert not pool.client.pool()["accepting"]


def on_disk(folder: Path) -> State:
    journal = Journal(folder / "journal.db")
    with contextlib.closing(journal):
        return replay(journal)


@pytest.fixture(params=[fill, protect])
def broken(request: pytest.FixtureRequest) -> Break:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def open_release_log() -> Iterator[OpenReserve]:
    """Opens reserves, and closes them with the test."""
    with contextlib.ExitStack() as opened:
        yield lambda path: opened.enter_context(contextlib.closing(PreallocatedReleaseLog(path)))


# -- in operation -----------------------------------------------------------------------------------------------------


def test_pool_on_a_full_disk_accepts_releases_and_grants_nothing(serve: Serve, broken: Break) -> None:
    pool = serve()
    held = pool.client.request("full", token=new_token())["id"]
    waits = pool.client.request("full", token=new_token())["id"]
    gives_up = pool.client.request("full", token=new_token())["id"]
    mend = broken(pool)
    degrade(pool)
    said = text(pool.client.pool()["message"])
    assert said is not None
    assert "cannot be written" in said
    assert "releases are accepted, but nothing new is granted" in said
    with pytest.raises(StoreFault, match="nothing new is granted"):
        pool.client.request("eighth", token=new_token())
    assert pool.raw("GET", "/v1/health").status == 200
    assert pool.client.release(held)["state"] == "draining"
    assert pool.client.release(held)["state"] == "draining"
    assert value_of(pool.client.release(gives_up)["end_reason"]) == "cancelled"
    assert pool.client.lease(waits)["state"] == "waiting"  # the device is given back, and not granted
    assert pool.raw("DELETE", f"/v1/leases/{'x' * 16}").status == 404
    mend()
    wait_until(lambda: pool.client.pool()["accepting"], "it goes on by itself")
    assert pool.client.pool()["message"] is None
    wait_until(lambda: pool.client.lease(waits)["state"] == "active", "who waited is served")
    assert value_of(pool.client.lease(held)["end_reason"]) == "released"
    pool.stop()
    state = on_disk(pool.folder)
    assert {name: state.leases[name].end_reason for name in (held, waits, gives_up)} == {
        held: EndReason.RELEASED,
        waits: None,
        gives_up: EndReason.CANCELLED,
    }
    with contextlib.closing(PreallocatedReleaseLog(pool.folder / "releases.preallocated")) as release_log:
        assert release_log.read() == []


def test_request_whose_write_failed_leaves_no_lease_and_no_cost(serve: Serve, broken: Break) -> None:
    pool = serve()
    known = [pool.client.request("half", token=new_token())["id"]]
    mend = broken(pool)
    with contextlib.suppress(StoreFault):
        while True:
            known.append(pool.client.request("eighth", notebook="x" * 1000, token=new_token())["id"])
    assert [lease["id"] for lease in pool.client.leases()] == known
    mend()
    wait_until(lambda: pool.client.pool()["accepting"], "it goes on")
    assert [lease["id"] for lease in pool.client.leases()] == known


def test_release_on_a_full_disk_is_billed_until_its_answer(serve: Serve) -> None:
    pool = serve()
    lease = pool.client.request("full", token=new_token())["id"]
    mend = fill(pool)
    degrade(pool)
    billed = pool.client.release(lease)["usage"]["active_ms"]
    wait_until(lambda: pool.call(pool.services.store.now).ms > billed + 50, "time passes")
    mend()
    wait_until(lambda: pool.client.lease(lease)["state"] == "ended", "it ends")
    assert pool.client.lease(lease)["usage"]["active_ms"] == billed
    pool.stop()
    assert on_disk(pool.folder).leases[lease].active_ms == billed


def test_holder_that_dies_on_a_full_disk_is_reaped_and_billed_to_its_end(serve: Serve) -> None:
    pool = serve()
    token = new_token()
    lease = pool.client.request("full", token=token)["id"]
    with subprocess.Popen(["sleep", "60"]) as kernel:
        pool.client.bind(lease, token, kernel.pid)
        mend = fill(pool)
        degrade(pool)
        kernel.kill()
    wait_until(lambda: pool.client.lease(lease)["state"] == "draining", "it is reaped")
    assert value_of(pool.client.lease(lease)["end_reason"]) == "holder_died"
    mend()
    wait_until(lambda: pool.client.lease(lease)["state"] == "ended", "it ends")


@pytest.mark.slow
def test_subscriber_is_notified_when_the_disk_becomes_full_and_writable(serve: Serve) -> None:
    pool = serve()
    with contextlib.closing(pool.client.events()) as stream:
        accepting = (message["pool"]["accepting"] for message in stream if message["type"] == "snapshot")
        assert next(accepting)
        mend = fill(pool)
        degrade(pool)
        assert not next(accepting)
        mend()
        assert next(accepting)


@pytest.mark.slow
def test_subscriber_that_missed_the_fault_gets_a_snapshot(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = serve()
    with contextlib.closing(pool.client.events()) as stream:
        since = next(iter(stream))["seq"]
    fill(pool)
    degrade(pool, monkeypatch)
    with contextlib.closing(pool.client.events(since=since)) as stream:
        first = next(iter(stream))
        assert (first["type"], first["pool"]["accepting"]) == ("snapshot", False)


def test_release_that_cannot_be_recorded_is_not_acknowledged(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release_log_module, "RECORDS_MAX", 1)
    pool = serve()
    first, second = (pool.client.request("half", token=new_token())["id"] for _ in range(2))
    fill(pool)
    degrade(pool, monkeypatch)
    pool.client.release(first)
    refused = pool.raw("DELETE", f"/v1/leases/{second}")
    assert refused.status == 507
    assert "The lease is not released" in refused.json["detail"]
    assert pool.client.lease(second)["state"] == "active"


def test_pool_without_release_log_refuses_releases_on_a_full_disk(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", _no_space)
        pool = serve()
    lease = pool.client.request("half", token=new_token())["id"]
    fill(pool)
    degrade(pool, monkeypatch)
    with pytest.raises(StoreFault, match="not released"):
        pool.client.release(lease)


def _no_space(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_journal_that_cannot_be_read_back_gets_no_more_records(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = serve()
    lease = pool.client.request("half", token=new_token())["id"]

    def unreadable(*_: object) -> None:
        raise StoreFault("The journal is damaged at record 3.")

    tried: list[object] = []

    def catch_up(*pending_entries: object) -> None:
        tried.append(pending_entries)
        raise StoreFault("The journal cannot be written.")

    monkeypatch.setattr(degraded_mode, "catch_up", catch_up)
    with monkeypatch.context() as patch:
        patch.setattr(degraded_mode, "replay", unreadable)
        mend = fill(pool)
        degrade(pool)
    mend()
    pool.run(asyncio.sleep(10 * degraded_mode.PROBE_S))  # time enough to find that it could be written
    # Acknowledged from the reserve, and never written behind a gap.
    assert pool.client.release(lease)["state"] in {"draining", "ended"}
    assert not pool.client.pool()["accepting"]
    pool.stop()
    assert not tried
    again = ServedPool(pool.folder)
    assert value_of(again.client.lease(lease)["end_reason"]) == "released"
    again.stop()


# -- starts -----------------------------------------------------------------------------------------------------------


def crash(pool: ServedPool, folder: Path) -> Path:
    """What a pool manager that is killed now leaves behind."""
    folder.mkdir()
    for path in pool.folder.glob("journal.db*"):
        shutil.copy(path, folder)
    shutil.copy(pool.folder / "releases.preallocated", folder)
    return folder


def test_release_on_a_full_disk_survives_a_crash(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = serve(simulate="2xA100-80GB")
    held = pool.client.request("full", token=new_token())["id"]
    kept = pool.client.request("full", token=new_token())["id"]
    waits = pool.client.request("full", token=new_token())["id"]
    fill(pool)
    degrade(pool, monkeypatch)
    billed = pool.client.release(held)["usage"]["active_ms"]
    pool.client.release(waits)
    left = crash(pool, tmp_path / "left")
    assert on_disk(left).leases[held].end_reason is None  # the journal alone does not know it
    for _ in range(2):  # and once it is known it stays so
        again = ServedPool(left, "2xA100-80GB")
        found = {lease["id"]: lease for lease in again.client.leases()}
        assert (value_of(found[held]["end_reason"]), found[held]["usage"]["active_ms"]) == ("released", billed)
        assert value_of(found[waits]["end_reason"]) == "cancelled"
        assert found[kept]["state"] == "active"
        assert again.client.pool()["accepting"]
        again.stop()
        assert again.release_log._used == 0


def test_start_on_a_full_disk_serves_and_grants_nothing(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = serve()
    held = pool.client.request("full", token=new_token())["id"]
    waits = pool.client.request("full", token=new_token())["id"]
    fill(pool)
    degrade(pool, monkeypatch)
    pool.client.release(held)
    left = crash(pool, tmp_path / "left")

    def full(journal: Journal, entries: Any) -> None:
        raise StoreFault("The journal cannot be written.")

    monkeypatch.setattr(degraded_mode, "PROBE_S", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", full)
        again = ServedPool(left)
        assert not again.client.pool()["accepting"]
        assert "no room" in str(again.client.pool()["message"])
        assert value_of(again.client.lease(held)["end_reason"]) == "released"
        assert again.client.lease(waits)["state"] == "waiting"
        left = crash(again, tmp_path / "left once more")
    wait_until(lambda: again.client.lease(waits)["state"] == "active", "it goes on by itself")
    again.stop()
    third = ServedPool(left)
    assert value_of(third.client.lease(held)["end_reason"]) == "released"
    third.stop()


# -- the reserve ------------------------------------------------------------------------------------------------------


def release(number: int) -> Release:
    return Release(f"lease-{number}", EndReason.RELEASED, Instant(number, number + 10**12))


def test_release_log_keeps_its_records_and_its_size(tmp_path: Path, open_release_log: OpenReserve) -> None:
    path = tmp_path / "release_log"
    release_log = open_release_log(path)
    size = path.stat()
    for number in range(5):
        release_log.note(release(number))
    assert (path.stat().st_size, path.stat().st_blocks) == (size.st_size, size.st_blocks)
    assert size.st_mode & 0o777 == 0o600
    again = open_release_log(path)
    assert again.read() == [release(number) for number in range(5)]
    again.note(release(5))
    assert len(open_release_log(path).read()) == 6
    again.clear()
    assert open_release_log(path).read() == []


def test_release_log_with_a_torn_record_leaves_out_only_that(tmp_path: Path, open_release_log: OpenReserve) -> None:
    path = tmp_path / "release_log"
    release_log = open_release_log(path)
    for number in range(3):
        release_log.note(release(number))
    with path.open("r+b") as file:
        file.seek(RECORD_BYTES + 100)
        file.write(b"torn")
    assert open_release_log(path).read() == [release(0), release(2)]


def test_release_log_that_is_full_refuses_a_record(tmp_path: Path, open_release_log: OpenReserve) -> None:
    release_log = open_release_log(tmp_path / "release_log")
    release_log._used = RECORDS_MAX
    with pytest.raises(StoreFault, match="were used"):
        release_log.note(release(1))


def test_release_log_refuses_a_lease_id_that_does_not_fit(tmp_path: Path, open_release_log: OpenReserve) -> None:
    with pytest.raises(StoreFault, match="does not fit"):
        open_release_log(tmp_path / "release_log").note(Release("x" * 300, EndReason.RELEASED, Instant(1, 1)))


# -- a real disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(isolated: Path) -> Iterator[Path]:
    """The folder of the pool's state, with 1 MiB in all."""
    folder = user_state_dir()
    folder.mkdir(parents=True, mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_kill_9_on_a_full_disk_loses_no_acknowledged_release(
    isolated: Path, small_disk: Path, request: pytest.FixtureRequest
) -> None:
    pool = PoolProcess(isolated, "8xA100-80GB")
    pool.start()
    request.addfinalizer(pool.end)
    held = [pool.client.request("quarter", token=new_token())["id"] for _ in range(30)]
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 512):
            pass
    with contextlib.suppress(StoreFault):
        while True:
            held.append(pool.client.request("eighth", notebook="x" * 1000, token=new_token())["id"])
    released = set()
    for turn in range(3):
        for lease_id in held[turn * 5 : turn * 5 + 5]:
            pool.client.release(lease_id)
            released.add(lease_id)
        assert not pool.client.pool()["accepting"]
        pool.kill()
        pool.start()
    _agrees(pool.client, held, released)
    filler.unlink()
    wait_until(lambda: pool.client.pool()["accepting"], "it goes on by itself")
    _agrees(pool.client, held, released)
    more = pool.client.request("eighth", token=new_token())["id"]
    pool.kill()
    pool.start()
    _agrees(pool.client, [*held, more], released)
    pool.end()
    with contextlib.closing(sqlite3.connect(small_disk / "journal.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _agrees(client: PoolClient, held: list[str], released: set[str]) -> None:
    found = {lease["id"]: value_of(lease["end_reason"]) for lease in client.leases()}
    assert set(found) >= set(held), "an acknowledged lease was lost"
    for lease_id in held:
        assert (found[lease_id] is not None) == (lease_id in released), lease_id


@pytest.mark.slow
def test_first_start_on_a_full_disk_exits_with_one_sentence(isolated: Path, small_disk: Path) -> None:
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 512):
            pass
    pool = PoolProcess(isolated, "1xA100-80GB")
    with pytest.raises((AssertionError, PoolUnreachable, FastGPUError)) as caught:
        pool.start()
    said = str(caught.value)
    assert said.count("\n") <= 1
    assert "cannot be opened" in said
    assert "Traceback" not in said
