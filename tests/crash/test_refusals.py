"""A damaged journal is refused, and neither the refusal nor ``fsck`` changes a byte of it.

What is refused may be complete: the damage may be in a copy, or in a part that can be restored. SQLite by itself copies
what it takes for the log into the file, and deletes the log, as soon as a connection that may write is closed.

``FASTGPU_DAMAGED`` sets how many random damages are tried (1000 in a night), ``FASTGPU_DAMAGED_SEED`` draws others.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.journal.fsck import cut, examine
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop.recovery import recover
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from fastgpu_jupyter.wire.locate import user_state_dir
from tests.crash.conftest import KillablePool
from tests.crash.test_flips import Written, written  # noqa: F401 (a fixture)
from tests.helpers import fastgpu_process
from tests.waiting import wait_until

DAMAGED = int(os.environ.get("FASTGPU_DAMAGED", "20"))
SEED = int(os.environ.get("FASTGPU_DAMAGED_SEED", "0"))
Damage = Callable[[Path], None]


def _flip_in_the_log(path: Path) -> None:
    _overwrite(path.with_name("journal.db-wal"), 0.5, lambda byte: byte ^ 1)


def _truncate_the_log(path: Path) -> None:
    log = path.with_name("journal.db-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])


def _clear_the_head_of_the_log(path: Path) -> None:
    log = path.with_name("journal.db-wal")
    log.write_bytes(bytes(32) + log.read_bytes()[32:])


def _remove_the_log(path: Path) -> None:
    path.with_name("journal.db-wal").unlink()


def _flip_in_a_record(path: Path) -> None:
    content = path.read_bytes()
    place = content.index(b'"LeaseRequested"')
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def _overwrite(path: Path, place: float, change: Callable[[int], int]) -> None:
    content = bytearray(path.read_bytes())
    at = round(place * len(content))
    content[at] = change(content[at])
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "a flipped bit in the log": _flip_in_the_log,
    "a truncated log": _truncate_the_log,
    "a log without its header": _clear_the_head_of_the_log,
    "a missing log": _remove_the_log,
    "a flipped bit in a record": _flip_in_a_record,
}


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the files of a journal. SQLite's index of the log is no part of it, nor is a log in which nothing is."""
    files = {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm")}
    return {name: content for name, content in files.items() if content or not name.endswith("-wal")}


@pytest.fixture
def damaged(request: pytest.FixtureRequest, written: Written, tmp_path: Path) -> Path:  # noqa: F811 (the fixture)
    """Return a journal with the damage that is the parameter."""
    folder = tmp_path / "damaged"
    shutil.copytree(written.folder / "killed", folder)
    DAMAGES[request.param](folder / "journal.db")
    return folder / "journal.db"


@pytest.mark.slow
@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
def test_refused_start_changes_no_byte(damaged: Path) -> None:
    before = content_of(damaged.parent)
    journal = Journal(damaged)
    with pytest.raises(FastGPUError, match="damaged at record"):
        recover(journal, DriverAtStartup(SimulatedDriver("1xA100-80GB", {})), SystemClock())
    journal.close()
    assert content_of(damaged.parent) == before


@pytest.mark.slow
@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
def test_fsck_changes_no_byte_and_cuts_after_a_complete_copy(damaged: Path, tmp_path: Path) -> None:
    before = content_of(damaged.parent)
    found = examine(damaged)
    assert found.damage is not None
    assert sorted(file.name for file in damaged.parent.iterdir()) == sorted(before)
    assert content_of(damaged.parent) == before
    backup = cut(damaged, found.records)
    copied = {name.replace("journal.db", backup.name): content for name, content in before.items()}
    assert {name: content_of(damaged.parent).get(name) for name in copied} == copied
    assert examine(damaged).sound
    assert examine(backup).damage is not None


@pytest.mark.slow
def test_pool_that_refuses_to_start_leaves_its_files_to_be_repaired(killable_pool: KillablePool) -> None:
    """A log that was damaged and is put back: everything that was acknowledged is there."""
    assert killable_pool.start()
    lease_id = killable_pool.client.request("half", token="0" * 64, key="once")["id"]
    killable_pool.kill()
    folder = user_state_dir()
    log = folder / "journal.db-wal"
    complete = log.read_bytes()
    log.write_bytes(complete[: 32 + 2 * (24 + 4096)])  # two pages: not even the tables are left
    before = content_of(folder)
    assert not killable_pool.start()
    killable_pool.wait()
    assert "is damaged" in killable_pool.output.read_text()
    assert fastgpu_process("fsck").returncode == 1
    after = content_of(folder)
    assert [name for name, content in before.items() if after.get(name) != content] in ([], ["lock"])
    log.write_bytes(complete)
    assert killable_pool.start()
    assert killable_pool.client.lease(lease_id)["state"] in {"preparing", "active"}
    wait_until(lambda: killable_pool.client.lease(lease_id)["state"] == "active", "the lease is active")


@pytest.mark.parametrize("tables", ["CREATE TABLE diary (day TEXT)", "CREATE TABLE record (seq INTEGER)"])
def test_database_of_another_program_is_not_changed(tmp_path: Path, tables: str) -> None:
    path = tmp_path / "journal.db"
    with sqlite3.connect(path) as db:
        db.execute(tables)
    db.close()
    before = content_of(tmp_path)
    with pytest.raises(FastGPUError, match="is not a journal that this version of FastGPU can read"):
        Journal(path)
    assert content_of(tmp_path) == before


@pytest.mark.slow
@pytest.mark.timeout(300 + DAMAGED)
def test_reading_never_changes_a_journal_whatever_is_damaged(written: Written, tmp_path: Path) -> None:  # noqa: F811
    rng = random.Random(SEED)
    for number in range(DAMAGED):
        folder = tmp_path / str(number)
        shutil.copytree(written.folder / "killed", folder)
        name = rng.choice(["journal.db", "journal.db-wal", "journal.db-head"])
        _overwrite(folder / name, rng.random(), lambda byte: byte ^ 1 << rng.randrange(8))
        before = content_of(folder)
        with contextlib.suppress(FastGPUError):
            examine(folder / "journal.db")
        try:
            journal = Journal(folder / "journal.db")
            try:
                list(journal.replay())
            finally:
                journal.close()
        except FastGPUError:
            pass
        assert content_of(folder) == before, (SEED, number)
        shutil.rmtree(folder)
