"""``jupyter fastgpu fsck``: what it finds, says and mends."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastgpu_jupyter.cli.fsck import report
from fastgpu_jupyter.errors import StoreFault
from fastgpu_jupyter.pool.host import single_instance
from fastgpu_jupyter.pool.journal import fsck
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from tests import refusals
from tests.golden.make import history
from tests.helpers import fastgpu
from tests.pool.conftest import Serve
from tests.pool.conftest import serve as serve  # noqa: PLC0414 (a fixture)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    world = history()
    journal = Journal(tmp_path / "journal.db")
    for at, events in world.history:
        journal.append([Entry(at, events)])
    journal.close()
    return tmp_path / "journal.db"


def damage(path: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


def test_examine_counts_and_exports_a_sound_journal(path: Path) -> None:
    exported = io.StringIO()
    finding = fsck.examine(path, export=exported)
    lines = [json.loads(line) for line in exported.getvalue().splitlines()]
    assert finding.sound
    assert finding.records == finding.in_all == len(lines)
    assert lines[0]["events"][0]["type"] == "PoolStarted"


def test_examine_names_damage_and_changes_nothing(path: Path) -> None:
    damage(path, "UPDATE record SET payload = x'00' WHERE seq = 4")
    before = path.read_bytes()
    finding = fsck.examine(path)
    assert not finding.sound
    assert finding.records == 3
    assert "damaged at record 4" in str(finding.damage)
    assert path.read_bytes() == before


def test_cut_keeps_the_sound_part_and_a_copy(path: Path) -> None:
    damage(path, "UPDATE record SET payload = x'00' WHERE seq = 4")
    before = path.read_bytes()
    backup = fsck.cut(path, fsck.examine(path).records)
    assert backup.read_bytes() == before
    finding = fsck.examine(path)
    assert (finding.sound, finding.records) == (True, 3)
    assert fsck.cut(path, 3) != backup


def test_report_of_a_journal_without_its_newest_records_names_no_number(path: Path) -> None:
    damage(path, "DELETE FROM record WHERE seq > 3")
    finding = fsck.examine(path)
    assert (finding.records, finding.in_all) == (3, 3)
    *_, way_out = report(path, finding, None)
    assert way_out.startswith("Restore a backup, or go on without those at its end: stop the pool")


def test_examine_of_a_missing_journal_creates_none(tmp_path: Path) -> None:
    with refusals.refused(StoreFault, match="There is no journal"):
        fsck.examine(tmp_path / "journal.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_fsck_command_cuts_only_without_a_running_pool(path: Path, isolated: Path) -> None:
    assert fastgpu("fsck", f"--journal={path}").stdout.count("The journal is sound") == 1
    damage(path, "UPDATE record SET payload = x'00' WHERE seq = 4")
    explained = fastgpu("fsck", f"--journal={path}")
    assert explained.returncode == 1
    assert "damaged at record 4" in explained.stdout
    assert "fsck --cut" in explained.stdout
    held = single_instance.acquire_lock(path.parent, "lock")
    refused = fastgpu("fsck", f"--journal={path}", "--cut")
    assert (refused.returncode, refused.stderr.count("already running")) == (1, 1)
    os.close(held)
    mended = fastgpu("fsck", f"--journal={path}", "--cut", "--json")
    assert mended.returncode == 0
    assert Path(json.loads(mended.stdout)["backup"]).exists()
    assert fastgpu("fsck", f"--journal={path}").returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize(("damaged", "percent"), [(None, 100), (4, 300)])
def test_fsck_command_shows_progress_on_a_terminal_only(
    path: Path, isolated: Path, damaged: int | None, percent: int
) -> None:
    in_all = fsck.examine(path).in_all
    if damaged:
        damage(path, f"UPDATE record SET payload = x'00' WHERE seq = {damaged}")
        percent //= in_all
    assert fastgpu("fsck", f"--journal={path}").stderr == ""
    ours, terminal = os.openpty()
    command = [sys.executable, "-m", "fastgpu_jupyter", "fsck", f"--journal={path}"]
    subprocess.run(command, stderr=terminal, stdout=subprocess.DEVNULL, timeout=30, check=False)
    os.close(terminal)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert said.replace(" \r", "\r") == f"\r{percent} % of {in_all:,} records\r\n"


def test_journal_of_a_running_pool_is_examined_as_it_is_at_one_instant(serve: Serve, tmp_path: Path) -> None:
    """Its files change while they are read, so that SQLite makes the copy."""
    lock = single_instance.acquire_lock(tmp_path, "lock")  # as the pool manager has it
    pool = serve()
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            pool.client.release(pool.client.request("half", token="0" * 64)["id"])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            finding = fsck.examine(tmp_path / "journal.db")
            assert finding.sound, finding
            assert 0 < finding.records <= pool.journal.seq
    finally:
        stop.set()
        writer.join()
        os.close(lock)
