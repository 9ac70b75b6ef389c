"""Failures of the command loop that the simulator found, one small story each: see tests/crash/README.md."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.events import LeaseDraining
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.pool import Pool as Rules
from fastgpu_jupyter.errors import InternalError, StoreFault
from fastgpu_jupyter.pool.effects import executor as executor_module
from fastgpu_jupyter.pool.journal import writer as writer_module
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import command_queue, degraded_mode
from fastgpu_jupyter.pool.loop.recovery import recover, replay
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from tests.core.world import spec
from tests.pool.running_pool import Pool, ScriptedDriver, run
from tests.waiting import async_wait_until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degraded_mode, "PROBE_S", 0.01)
    monkeypatch.setattr(command_queue, "RETRY_S", 0.01)
    monkeypatch.setattr(executor_module, "DRAIN_POLL_S", 0.01)


def test_key_twice_in_one_batch_gives_one_lease(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        assert len(set(await asyncio.gather(*(pool.ask(f"lease-{n}", key="once") for n in range(5))))) == 1
        assert len(await pool.services.store.read(lambda state, _: list(state.leases))) == 1

    run(tmp_path, story)


def test_key_whose_write_failed_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(pool: Pool) -> None:
        def fail(*_: object) -> None:
            raise StoreFault("gone")

        monkeypatch.setattr(pool.journal, "append", fail)
        monkeypatch.setattr(degraded_mode, "replay", fail)
        for _ in range(2):
            with pytest.raises(StoreFault):
                await pool.ask("a", key="once")

    run(tmp_path, story)


def test_write_that_was_done_though_reported_as_failed_is_taken_up(tmp_path: Path) -> None:
    async def story(pool: Pool) -> None:
        append = pool.journal.append

        def fail_late(entries: Any) -> None:
            pool.journal.append = append  # type: ignore[method-assign]
            seq, seal = pool.journal.seq, pool.journal._seal
            append(entries)
            pool.journal.seq, pool.journal._seal = seq, seal
            raise StoreFault("disk I/O error")

        pool.journal.append = fail_late  # type: ignore[method-assign]
        assert await pool.ask("a", key="once") == "a"  # it is there: that was seen when it was read back
        await pool.until_mended()
        assert await pool.ask("b", key="once") == "a"
        await pool.until("a", LeaseState.ACTIVE)
        pool.journal.append = fail_late  # type: ignore[method-assign]
        with pytest.raises(StoreFault, match="Until then"):
            await pool.services.commands.submit(c.SetTenant("ann", 200, None))
        await pool.until_mended()
        assert await pool.services.store.read(lambda state, _: state.tenants["ann"].weight) == 200

    run(tmp_path, story)


@pytest.mark.parametrize("unread", [False, True])
def test_pending_entries_whose_write_was_reported_as_failed_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unread: bool
) -> None:
    release_log = PreallocatedReleaseLog(tmp_path / "releases")

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        insert, missing = pool.journal._insert, pool.journal._missing
        tries: list[object] = []

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        def fail_late(*what: Any) -> None:
            tries.append(what)
            if tries == [what]:
                insert(*what)
                raise sqlite3.OperationalError("disk I/O error")
            insert(*what)

        def fail_to_read(rows: Any) -> Any:
            pool.journal._missing = missing  # type: ignore[method-assign]
            raise StoreFault("cannot be read")

        monkeypatch.setattr(pool.journal, "_insert", fail)
        with pytest.raises(StoreFault):
            await pool.ask("b")
        await pool.services.commands.submit(c.ReleaseLease("a"))
        if unread:
            pool.journal._missing = fail_to_read  # type: ignore[method-assign]
        monkeypatch.setattr(pool.journal, "_insert", fail_late)
        await pool.until_mended()
        assert len(tries) >= 2
        assert await pool.ask("c") == "c"
        assert release_log.read() == []
        released = [event for one in pool.journal.history() for event in one.events if isinstance(event, LeaseDraining)]
        assert [event.lease_id for event in released] == ["a"]

    run(tmp_path, story, release_log=release_log)


@pytest.mark.slow
def test_internal_error_with_pending_entries_stops_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release_log = PreallocatedReleaseLog(tmp_path / "releases")

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        insert = pool.journal._insert

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(pool.journal, "_insert", fail)
        with pytest.raises(StoreFault):
            await pool.ask("b")
        await pool.services.commands.submit(c.ReleaseLease("a"))
        with monkeypatch.context() as patch:
            patch.setattr(degraded_mode, "record_release", lambda *_, **__: 1 / 0)
            with pytest.raises(InternalError):
                await pool.services.commands.submit(c.ReleaseLease("a"))
        seq = pool.journal.seq
        pool.journal._insert = insert  # type: ignore[method-assign]
        for _ in range(20):  # of which each would have tried to write
            await asyncio.sleep(degraded_mode.PROBE_S)
        assert pool.journal.seq == seq
        assert [release.lease_id for release in release_log.read()] == ["a"]  # for the next start

    run(tmp_path, story, release_log=release_log)


def test_release_after_an_internal_error_is_decided_by_the_durable_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)

        def bug(*_: object, **_options: object) -> None:
            raise InternalError("impossible")

        with monkeypatch.context() as patch:
            patch.setattr(Rules, "advance", bug)  # after the release was applied, before it was written
            with pytest.raises(InternalError):
                await pool.services.commands.submit(c.ReleaseLease("a"))
        await pool.services.commands.submit(c.ReleaseLease("a"))
        other = Journal(tmp_path / "journal.db")
        assert replay(other).leases["a"].state in (LeaseState.DRAINING, LeaseState.ENDED)
        other.close()
        await pool.until("a", LeaseState.ENDED)

    run(tmp_path, story)


def test_device_missing_at_a_start_on_a_full_disk_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        await pool.services.stop()
        shown, pool.driver.specs = pool.driver.specs, []
        journal, release_log = Journal(tmp_path / "journal.db"), PreallocatedReleaseLog(tmp_path / "release_log")

        def fail(entries: Any) -> None:
            raise StoreFault("disk full")

        monkeypatch.setattr(journal, "append", fail)
        recovered, _ = recover(journal, DriverAtStartup(pool.driver), pool.clock, release_log)
        assert recovered.state.leases["a"].state is LeaseState.ACTIVE
        pool.driver.specs = shown
        journal.close()
        release_log.close()
        await pool.start()
        assert (await pool.lease("a")).state is LeaseState.ACTIVE

    run(tmp_path, story, ScriptedDriver(spec("gpu")))


def test_keys_that_cannot_be_read_raise_a_store_fault(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    journal._db.execute("DROP TABLE answer")
    with pytest.raises(StoreFault, match="cannot be read"):
        journal.answers.lease_ids()
    journal.close()


def test_snapshot_interval_counts_records_of_earlier_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool manager that is killed again and again does not replay more and more."""
    monkeypatch.setattr(writer_module, "SNAPSHOT_EVERY", 10)

    async def story(pool: Pool) -> None:
        for life in range(6):
            await pool.ask(f"lease-{life}")
            await pool.services.commands.submit(c.ReleaseLease(f"lease-{life}"))
            await pool.until(f"lease-{life}", LeaseState.ENDED)
            pool.services.faults.stop_grants("Killed.")  # no snapshot is stored at its end
            await pool.services.stop()
            await pool.start()
        newest = next((seq for seq, _ in pool.journal.snapshots()), 0)
        assert pool.journal.seq - newest < 2 * 10

    run(tmp_path, story)


def test_snapshot_has_no_event_whose_write_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreFault("gone")

    async def story(pool: Pool) -> None:
        await pool.ask("a")
        await pool.until("a", LeaseState.ACTIVE)
        monkeypatch.setattr(writer_module, "SNAPSHOT_EVERY", 1)
        with monkeypatch.context() as patch:
            patch.setattr(pool.journal, "append", fail)
            with pytest.raises(StoreFault):
                await pool.ask("b")
            assert await pool.services.store.read(lambda state, _: list(state.leases)) == ["a"]
        await pool.until_mended()
        await pool.ask("c")
        assert set(replay(pool.journal).leases) == {"a", "c"}

    run(tmp_path, story)


def test_tick_whose_write_was_reported_as_failed_is_written_once(tmp_path: Path) -> None:
    release_log = PreallocatedReleaseLog(tmp_path / "releases")

    async def story(pool: Pool) -> None:
        insert, missing = pool.journal._insert, pool.journal._missing
        tries: list[object] = []

        def fail(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        def fail_late(*what: Any) -> None:
            tries.append(what)
            insert(*what)
            if tries == [what]:
                raise sqlite3.OperationalError("disk I/O error")

        def fail_to_read(rows: Any) -> Any:
            pool.journal._missing = missing  # type: ignore[method-assign]
            raise StoreFault("cannot be read")

        pool.journal._insert = fail  # type: ignore[method-assign, assignment]
        with pytest.raises(StoreFault):
            await pool.ask("a")
        # The next try is to write that time has passed. It succeeds, and is reported as failed.
        written = pool.journal.seq
        pool.journal._missing = fail_to_read  # type: ignore[method-assign]
        pool.journal._insert = fail_late  # type: ignore[method-assign, assignment]
        await async_wait_until(
            lambda: pool.services.faults.message is None or len(tries) > 10, "the journal is written again"
        )
        assert pool.services.faults.message is None
        assert pool.journal.seq == written + 1
        assert await pool.ask("b") == "b"

    run(tmp_path, story, release_log=release_log)
