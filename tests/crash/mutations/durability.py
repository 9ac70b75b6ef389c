"""Mutations of the loop and the journal: what was acknowledged is on disk, and memory is never ahead of the disk."""

from __future__ import annotations

from fastgpu_jupyter.jobs.runner import hand_over
from fastgpu_jupyter.pool.journal import database, files
from fastgpu_jupyter.pool.journal.answers import AnswerTable
from fastgpu_jupyter.pool.journal.archive import Archive
from fastgpu_jupyter.pool.journal.database import Database
from fastgpu_jupyter.pool.journal.marker import Markers
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop import degraded_mode, recovery
from fastgpu_jupyter.pool.loop.answers import Answers
from fastgpu_jupyter.pool.loop.command_loop import CommandLoop
from fastgpu_jupyter.pool.loop.degraded_mode import DegradedMode
from fastgpu_jupyter.pool.loop.first_answers import FirstAnswers
from fastgpu_jupyter.pool.loop.idempotency import AnsweredKeys
from fastgpu_jupyter.pool.loop.state_store import StateStore
from tests.crash import test_flips, test_missing_journal, test_power, test_refusals
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation, Violates
from tests.jobs.runner import test_hand_over
from tests.pool.http import test_first_answers, test_limits
from tests.pool.journal import test_archive, test_store
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
                "entries = _1\nself._answer_maker.send(answers)",
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
        (Edit(Journal._insert, "self.answers.insert(...)", "pass"),),
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
        (Edit(Journal._chain, "_1 or seal_after(...) != seal", "_1"),),
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
        (Edit(AnswerTable.lease_ids, "_1 != seal", "False"),),
        Fails(test_flips.test_fsck_of_a_damaged_journal_reports_and_cuts_the_damage, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "seals of snapshots are not checked",
        D,
        (Edit(Journal.snapshots, "seal_after(...) == seal", "True"),),
        Fails(test_store.test_damaged_snapshot_is_not_used),
    ),
    Mutation(
        "the disk is not synced",
        D,
        (Edit(Database._open_for_writing, '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=OFF"'),),
        Fails(test_power.test_acknowledged_commands_survive_a_power_cut, "cut at"),
        in_processes=True,
    ),
    Mutation(
        "the disk is synced only at checkpoints",
        D,
        (Edit(Database._open_for_writing, '"PRAGMA synchronous=FULL"', '"PRAGMA synchronous=NORMAL"'),),
        Fails(test_power.test_acknowledged_commands_survive_a_power_cut, "cut at"),
        in_processes=True,
    ),
    Mutation(
        "the name of the release log is not synced",
        D,
        (Edit(PreallocatedReleaseLog.__init__, "sync_folder(...)", "pass"),),
        Fails(test_power.test_noted_release_survives_a_power_cut, "cut at"),
        in_processes=True,
    ),
    Mutation(
        "a journal that was only read is written to when it is closed",
        D,
        (
            Edit(
                database._read_only,
                "return _1",
                "return sqlite3.connect(path, isolation_level=None, check_same_thread=False)",
            ),
        ),
        Fails(test_refusals.test_refused_start_changes_no_byte, parameters="a flipped bit in the log"),
    ),
    Mutation(
        "the copy that is made before a cut lacks the log",
        D,
        (Edit(files.copy_journal, "not source.exists()", "not source.exists() or source != path"),),
        Fails(test_refusals.test_fsck_changes_no_byte_and_cuts_after_a_complete_copy, parameters="a truncated log"),
    ),
    Mutation(
        "an empty journal is made where records were written",
        D,
        (Edit(Database._require_format, "self.head.read()[0]", "0"),),
        Fails(test_refusals.test_pool_that_refuses_to_start_leaves_its_files_to_be_repaired),
        in_processes=True,
    ),
    Mutation(
        "the archive is not synced before records leave the journal",
        D,
        (Edit(Archive.append, "os.fsync(descriptor)", "pass"),),
        Fails(test_power.test_archived_records_survive_a_power_cut, "cut at"),
        in_processes=True,
    ),
    Mutation(
        "archived records are not verified",
        D,
        (Edit(Archive.records, "seal != part.seal or _1", "_1"),),
        Fails(test_archive.test_changed_record_of_the_archive_is_found, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "what is written to a removed file is acknowledged",
        D,
        (Edit(Database.require_in_place, "self._missing()", "()"),),
        Fails(
            test_missing_journal.test_nothing_is_acknowledged_until_the_file_is_back,
            "DID NOT RAISE",
            error="Failed",
            parameters="removed-journal.db",
        ),
    ),
    Mutation(
        "a key in a removed file is answered",
        D,
        (Edit(DegradedMode.commit_releases, "answered is not None and in_place", "answered is not None"),),
        Fails(
            test_missing_journal.test_commit_to_a_file_that_is_removed_meanwhile_is_not_acknowledged,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "a pool whose journal is missing starts with an empty one",
        D,
        (Edit(Markers.require_first_start, "_read(path) == str(self._journal)", "False"),),
        Fails(test_missing_journal.test_marker_is_about_its_own_journal_only, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "a repeated request is answered with what there is now",
        D,
        (Edit(FirstAnswers.find, "return await _1", "return None"),),
        Fails(test_first_answers.test_repeated_request_gets_the_first_answer_after_everything_has_changed),
    ),
    Mutation(
        "an answer is sent that is not written with its command",
        D,
        (Edit(Answers.entries, "entry._replace(answer=answer.first)", "entry"),),
        Fails(test_first_answers.test_first_answer_is_written_with_its_command),
    ),
    Mutation(
        "a command about no lease is carried out again when it is repeated",
        D,
        (Edit(AnsweredKeys.find, "self._lease_ids.get(key)", "self._lease_ids.get(key) or None"),),
        Fails(test_first_answers.test_command_about_no_lease_is_carried_out_once),
    ),
    Mutation(
        "the changes of a tenant are not counted",
        D,
        (Edit(CommandLoop._decide, "events += self._execute_alone(...)", "pass"),),
        Fails(
            test_limits.test_toggling_is_refused_at_the_limit_and_what_ends_a_lease_is_not,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "the outcome of a job is lost where the disk is full",
        D,
        (Edit(hand_over.write_outcome, "(folder / _RESERVE).replace(path)", "pass"),),
        Fails(test_hand_over.test_outcome_is_written_on_a_full_disk, error="FileNotFoundError"),
    ),
)
