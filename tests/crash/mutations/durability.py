"""Mutations of the loop and the journal: what was acknowledged is on disk, and memory is never ahead of the disk."""

from __future__ import annotations

from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import degraded_mode, recovery
from fastgpu_jupyter.pool.loop.command_loop import CommandLoop
from fastgpu_jupyter.pool.loop.degraded_mode import DegradedMode
from fastgpu_jupyter.pool.loop.state_store import StateStore
from tests.crash import test_flips, test_power
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation, Violates
from tests.pool.journal import test_store
from tests.pool.loop import test_degraded_mode, test_idempotency

D = Guarantee.DURABILITY

MUTATIONS = (
    Mutation(
        "a command is answered before it is written",
        D,
        (
            Edit(
                CommandLoop._commit,
                "entries = _1",
                "entries = _1\nfor call, entry in decided:\n"
                "    call.answer(self._store.state, self._store.now(), entry.lease_id)",
            ),
        ),
        Violates("an acknowledged lease is missing|an acknowledged release is missing", first=2),
    ),
    Mutation(
        "the state is read before it is written",
        D,
        (Edit(StateStore.read, "async with self.commit_lock: ...", "return view(self._pool.state, self.now())"),),
        Violates("a state that was read is undone", first=2),
    ),
    Mutation(
        "events whose write failed stay in memory",
        D,
        (Edit(DegradedMode.reload, "self._store.replace(...)", "None"),),
        Violates("the snapshot differs|the state in memory differs|a state that was read is undone"),
    ),
    Mutation(
        "a key that is on disk is forgotten when its write is reported as failed",
        D,
        (Edit(DegradedMode.reload, "self._answers.replace(...)", "None"),),
        Fails(test_idempotency.test_write_that_was_done_though_reported_as_failed_is_taken_up, error="StoreFault"),
    ),
    Mutation(
        "a key is remembered before it is written",
        D,
        (Edit(CommandLoop._decide_all, "fresh.add(_1)", "self._answers.add(_1)"),),
        Fails(
            test_idempotency.test_key_whose_write_failed_is_not_answered,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "a key twice in one batch is two leases",
        D,
        (Edit(CommandLoop._decide_all, "fresh.add(_1)", "None"),),
        Violates("one idempotency key has"),
    ),
    Mutation(
        "keys are not written",
        D,
        (
            Edit(
                Journal._insert, 'self._db.executemany("INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?)", _1)', "pass"
            ),
        ),
        Violates("one idempotency key has"),
    ),
    Mutation(
        "entries that may be on disk are written with another tick",
        D,
        (Edit(degraded_mode.unwritten_entries, "entries.append(tick)", "entries = [*entries, tick]"),),
        Fails(
            test_idempotency.test_tick_whose_write_was_reported_as_failed_is_written_once,
            "cannot be written.* is None",
        ),
    ),
    Mutation(
        "memory keeps a part of a command after a bug",
        D,
        (Edit(CommandLoop._commit, "if after_error is not None: ...", "pass"),),
        Violates("the snapshot differs|the state in memory differs|a state that was read is undone", first=5),
    ),
    Mutation(
        "a snapshot is taken before its records are written",
        D,
        (
            Edit(
                CommandLoop._commit,
                "entries = _1",
                "entries = _1\nif self._writer.snapshot_due: self._writer.store_snapshot(self._store.state)",
            ),
        ),
        Fails(test_idempotency.test_snapshot_has_no_event_whose_write_failed, r"\[.a., .b.\] == \[.a.\]"),
    ),
    Mutation(
        "a release is not noted while the disk is full",
        D,
        (Edit(degraded_mode.record_release, "release_log.note(...)", "pass"),),
        Fails(test_degraded_mode.test_release_on_a_full_disk_survives_a_crash, r"== \('released'"),
    ),
    Mutation(
        "noted releases are not read at the start",
        D,
        (Edit(recovery.recover, "released = _1", "released = []"),),
        Fails(test_degraded_mode.test_release_on_a_full_disk_survives_a_crash, r"== \('released'"),
    ),
    Mutation(
        "seals of records are not checked",
        D,
        (Edit(Journal._chain, "_1 or _seal(...) != seal", "_1"),),
        Fails(test_store.test_changed_byte_is_found_and_its_record_named, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "a missing end of the journal is not noticed",
        D,
        (Edit(Journal._chain, "before < head", "False"),),
        Fails(test_flips.test_fsck_of_a_damaged_journal_reports_and_cuts_the_damage, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "seals of answers are not checked",
        D,
        (Edit(Journal.answers, "seal is not None and _1", "False"),),
        Fails(test_flips.test_fsck_of_a_damaged_journal_reports_and_cuts_the_damage, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "seals of snapshots are not checked",
        D,
        (Edit(Journal.snapshots, "_seal(...) == seal", "True"),),
        Fails(test_store.test_damaged_snapshot_is_not_used),
    ),
    Mutation(
        "the disk is not synced",
        D,
        (Edit(Journal.__init__, '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=OFF"'),),
        Fails(test_power.test_acknowledged_commands_survive_a_power_cut, "cut at"),
        in_processes=True,
    ),
    Mutation(
        "the disk is synced only at checkpoints",
        D,
        (Edit(Journal.__init__, '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=NORMAL"'),),
        Fails(test_power.test_acknowledged_commands_survive_a_power_cut, "cut at"),
        in_processes=True,
    ),
    Mutation(
        "the name of the release log is not synced",
        D,
        (Edit(PreallocatedReleaseLog.__init__, "_sync_folder(...)", "pass"),),
        Fails(test_power.test_noted_release_survives_a_power_cut, "cut at"),
        in_processes=True,
    ),
)
