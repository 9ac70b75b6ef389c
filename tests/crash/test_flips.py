"""A flipped bit anywhere in the files of the journal: the pool shows what was written, or refuses to serve.

SQLite alone does not notice most of them. ``FASTGPU_FLIPS`` sets how many (1000 in a night).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

import pytest

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import Health, State
from fastgpu_jupyter.errors import FastGPUError, InternalError, Message
from fastgpu_jupyter.pool.journal import store
from fastgpu_jupyter.pool.journal.archive import ArchiveDamaged
from fastgpu_jupyter.pool.journal.codec import encode_state
from fastgpu_jupyter.pool.journal.fsck import cut, examine
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.pool.loop.recovery import replay
from tests.core.world import World, spec

FLIPS = int(os.environ.get("FASTGPU_FLIPS", "50"))
SEED = int(os.environ.get("FASTGPU_FLIPS_SEED", "0"))


class Written(NamedTuple):
    """The files of a killed pool manager, and what they hold."""

    folder: Path
    state: State
    answers: dict[str, str]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Write a journal half of which is in the file and half in the log beside it, with a snapshot in each."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "running").mkdir()
    journal = Journal(folder / "running" / "journal.db")
    world = World(spec("gpu-0"), spec("gpu-1", index=1))
    answers: dict[str, str] = {}
    for number in range(40):
        name = f"lease-{number}"
        world.now_ms += 1000
        world.ask(name, "half", tenant="ab"[number % 2])
        if number >= 3:
            world.do(c.ReleaseLease(f"lease-{number - 3}"))
            if world.state.leases[f"lease-{number - 3}"].state.value == "draining":
                world.drained(f"lease-{number - 3}")
        if number % 10 == 0:
            world.do(
                c.SetHealth("gpu-1", Health.SUSPECT if number % 20 else Health.HEALTHY, Message.of_text("observed"))
            )
        for at, events in world.history:
            journal.append([Entry(at, events, f"key-{number}-{len(answers)}", name)])
            answers[f"key-{number}-{len(answers)}"] = name
        world.history.clear()
        if number in {15, 35}:
            journal.snapshot(encode_state(world.state))
        if number == 20:
            journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            journal._db.execute("PRAGMA wal_autocheckpoint=0")  # the records after this stay in the log
    for name in ("killed", "closed"):
        (folder / name).mkdir()
        for file in (folder / "running").iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, folder / name)
        journal._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (folder / "closed" / "journal.db-wal").unlink()
    journal.close()
    shutil.rmtree(folder / "running")
    return Written(folder, world.state, answers)


def read(folder: Path) -> tuple[State, dict[str, str]]:
    """Return the state and the answers that a pool manager would serve."""
    journal = Journal(folder / "journal.db")
    try:
        state = replay(journal)
        journal.verify(archive=False)
        return state, journal.answers.lease_ids()
    finally:
        journal.close()


@pytest.mark.slow
def test_journal_without_a_flip_is_read_as_written(written: Written, tmp_path: Path) -> None:
    for name in ("killed", "closed"):
        shutil.copytree(written.folder / name, tmp_path / name)
        assert read(tmp_path / name) == (written.state, written.answers)


@pytest.mark.slow
@pytest.mark.timeout(300 + FLIPS // 5)
@pytest.mark.parametrize(
    ("left", "name"),
    [("closed", "journal.db"), ("killed", "journal.db"), ("killed", "journal.db-wal"), ("killed", "journal.db-head")],
)
def test_journal_with_a_flipped_bit_is_refused_or_unchanged(
    written: Written, tmp_path: Path, left: str, name: str
) -> None:
    rng = random.Random(SEED)
    refused = 0
    wrong = []
    for number in range(FLIPS):
        folder = tmp_path / str(number)
        shutil.copytree(written.folder / left, folder)
        content = bytearray((folder / name).read_bytes())
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        content[place] ^= 1 << bit
        (folder / name).write_bytes(content)
        try:
            state, answers = read(folder)
        except InternalError:
            raise
        except FastGPUError as refusal:  # its message names the file
            refused += str(folder) in str(refusal)
        else:
            if (state, answers) != (written.state, written.answers):
                wrong.append((place, bit, state == written.state, len(answers) - len(written.answers)))
        shutil.rmtree(folder)
    assert not wrong, f"seed {SEED}: {len(wrong)} of {FLIPS}: {wrong}"
    # A head whose checksum is wrong is ignored.
    assert refused or name == "journal.db-head", "no flip was noticed"


@pytest.mark.slow
@pytest.mark.timeout(300 + FLIPS // 5)
def test_archive_with_a_flipped_bit_changes_no_state_and_no_history(written: Written, tmp_path: Path) -> None:
    folder = tmp_path / "archived"
    shutil.copytree(written.folder / "closed", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "PART_RECORDS", 10)
        journal = Journal(folder / "journal.db")
        replay(journal)
        history = list(journal.history())
        journal.snapshot(encode_state(written.state))
        while journal.archive_part():
            pass
        journal.close()
    (archive,) = folder.glob("journal.db-archive-*")
    sound, rng, refused = archive.read_bytes(), random.Random(SEED), 0
    for _ in range(FLIPS):
        content = bytearray(sound)
        place, bit = rng.randrange(len(content)), rng.randrange(8)
        content[place] ^= 1 << bit
        archive.write_bytes(content)
        assert read(folder) == (written.state, written.answers)
        journal = Journal(folder / "journal.db")
        try:
            assert list(journal.history()) == history, (SEED, place, bit)
        except ArchiveDamaged as damage:
            refused += archive.name in str(damage)
        finally:
            journal.close()
    # The header of a gzip file has bits that mean nothing.
    assert refused > FLIPS * 0.8


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["the log", "an answer"])
def test_fsck_of_a_damaged_journal_reports_and_cuts_the_damage(written: Written, tmp_path: Path, damage: str) -> None:
    shutil.copytree(written.folder / ("killed" if damage == "the log" else "closed"), tmp_path / "copy")
    path = tmp_path / "copy" / "journal.db"
    if damage == "the log":
        path.with_name("journal.db-wal").unlink()
    else:
        with contextlib.closing(sqlite3.connect(path)) as db, db:
            db.execute("UPDATE answer SET lease_id = 'another' WHERE key = (SELECT min(key) FROM answer)")
    with pytest.raises(FastGPUError, match="damaged"):
        read(tmp_path / "copy")
    found = examine(path)
    assert found.damage is not None
    cut(path, found.records)
    assert examine(path).sound
    state, answers = read(tmp_path / "copy")
    assert set(answers.items()) < set(written.answers.items())
    assert damage == "the log" or (state == written.state and len(answers) == len(written.answers) - 1)
