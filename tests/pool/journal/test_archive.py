"""Records before the oldest snapshot move to compressed files, and nothing that is read from the journal changes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import pytest

from fastgpu_jupyter.core.accounting import calendar
from fastgpu_jupyter.core.model.entities import Instant, State
from fastgpu_jupyter.core.model.events import Ticked
from fastgpu_jupyter.core.pool import replay as apply_all
from fastgpu_jupyter.errors import StoreFault
from fastgpu_jupyter.pool.http import statements as statement_views
from fastgpu_jupyter.pool.http.views.context import AccessScope
from fastgpu_jupyter.pool.journal import archive as archive_module
from fastgpu_jupyter.pool.journal import fsck
from fastgpu_jupyter.pool.journal import store as store_module
from fastgpu_jupyter.pool.journal.archive import ArchiveDamaged, Part
from fastgpu_jupyter.pool.journal.codec import Record, encode_state
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.pool.loop.recovery import replay
from tests.golden.make import history
from tests.helpers import fastgpu

PART = 8


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "PART_RECORDS", PART)


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """Return one of everything that can happen, over two months."""
    return [Record(at, events) for at, events in history().history]


def write(path: Path, records: list[Record], snapshot_every: int) -> tuple[Journal, State]:
    """Write ``records`` as the pool does, with a snapshot after so many; return the journal and the state."""
    journal, state = Journal(path), State()
    for number, record in enumerate(records, start=1):
        journal.append([Entry(record.at, record.events)])
        apply_all(state, record.events, record.at)
        if number % snapshot_every == 0:
            journal.snapshot(encode_state(state))
            while journal.archive_part():
                pass
    return journal, state


def archived(journal: Journal) -> int:
    return int(journal._db.execute("SELECT coalesce(max(last), 0) FROM archive").fetchone()[0])


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal.db-archive-*"))


def statements(journal: Journal, records: list[Record]) -> list[object]:
    """Return the statements of all months in which anything happened."""
    until = Instant(records[-1].at.ms + 1000, records[-1].at.wall_ms + 1000)
    months = {calendar.text(calendar.month_at(record.at.wall_ms)) for record in records}
    everybody = AccessScope("root", 0, all_tenants=True)
    return [
        statement_views.statements(journal, month, until, everybody, currency="USD", name_of=str)
        for month in sorted(months)
    ]


def test_archived_records_are_read_as_before(tmp_path: Path, records: list[Record]) -> None:
    (tmp_path / "plain").mkdir()
    plain, _ = write(tmp_path / "plain" / "journal.db", records, len(records) + 1)
    journal, state = write(tmp_path / "journal.db", records, 10)
    assert len(records) - 30 < archived(journal) < len(records)
    assert list(journal.history()) == list(plain.history()) == records
    assert statements(journal, records) == statements(plain, records) != []
    assert journal.verify() == len(records)
    assert journal.verify(archive=False) == len(records) - archived(journal)
    journal.close()
    again = Journal(tmp_path / "journal.db")
    assert replay(again) == state
    assert (again.seq, again.unarchived) == (len(records), len(records) - archived(again))
    again.append([Entry(records[-1].at, [Ticked()])])
    assert len(list(again.history())) == len(records) + 1
    again.close()
    plain.close()
    found = fsck.examine(tmp_path / "journal.db")
    assert (found.sound, found.records, found.in_all) == (True, len(records) + 1, len(records) + 1)


def test_state_is_replayed_from_the_archive_without_a_usable_snapshot(tmp_path: Path, records: list[Record]) -> None:
    journal, state = write(tmp_path / "journal.db", records, 10)
    journal._db.execute("UPDATE snapshot SET payload = x'00'")
    assert replay(journal) == state
    journal.close()


def test_archive_is_a_gzip_file_of_lines(tmp_path: Path, records: list[Record]) -> None:
    journal, _ = write(tmp_path / "journal.db", records, 10)
    (file,) = files(tmp_path)
    lines = [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
    parts = [line for line in lines if "first" in line]
    assert [part["first"] for part in parts] == list(range(1, archived(journal), PART))
    assert len(lines) - len(parts) == archived(journal)
    assert file.stat().st_mode & 0o777 == 0o600
    journal.close()


def test_full_archive_continues_in_another_file(
    tmp_path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "FILE_BYTES_MAX", 1)
    journal, _ = write(tmp_path / "journal.db", records, 10)
    assert len(files(tmp_path)) == archived(journal) // PART
    assert list(journal.history()) == records
    journal.close()


def test_what_a_crash_left_in_the_archive_is_overwritten(tmp_path: Path, records: list[Record]) -> None:
    half = len(records) // 2
    journal, _ = write(tmp_path / "journal.db", records[:half], 10)
    (file,) = files(tmp_path)
    with file.open("ab") as left:
        left.write(b"a part whose records are still in the journal" * 100)
    for record in records[half:]:
        journal.append([Entry(record.at, record.events)])
    for _ in range(2):
        journal.append([Entry(records[-1].at, records[-1].events)])
        journal.snapshot(b"{}")
    while journal.archive_part():
        pass
    assert list(journal.history())[: len(records)] == records
    assert b"still in the journal" not in file.read_bytes()
    journal.close()


def test_records_stay_where_the_archive_cannot_be_written(
    tmp_path: Path, records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, _ = write(tmp_path / "journal.db", records, len(records) + 1)
    journal.snapshot(b"{}")

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFault, match="cannot be archived"):
        journal.archive_part()
    monkeypatch.undo()
    assert list(journal.history()) == records
    monkeypatch.setattr(store_module, "PART_RECORDS", PART)
    assert journal.archive_part()
    assert list(journal.history()) == records
    journal.close()


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_damaged_archive_is_named_and_leases_do_not_depend_on_it(
    tmp_path: Path, records: list[Record], damage: str
) -> None:
    journal, state = write(tmp_path / "journal.db", records, 10)
    journal.close()
    (file,) = files(tmp_path)
    content = bytearray(file.read_bytes())
    match damage:
        case "flipped":
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "missing":
            file.unlink()
    again = Journal(tmp_path / "journal.db")
    assert replay(again) == state
    again.verify(archive=False)
    with pytest.raises(ArchiveDamaged, match=rf"{file.name} is damaged: records \d+ to \d+ cannot be read"):
        list(again.history())
    with pytest.raises(ArchiveDamaged):
        statements(again, records)
    again.close()
    found = fsck.examine(tmp_path / "journal.db")
    assert not found.sound
    assert (found.damage, found.records, found.leases) == (None, len(records), len(state.leases))
    assert file.name in str(found.archive_damage)
    refused = fastgpu("fsck", f"--journal={tmp_path / 'journal.db'}", "--cut")
    assert refused.returncode == 1
    assert f"{file.name} is damaged" in refused.stdout
    assert not list(tmp_path.glob("*.damaged-*"))


def test_damaged_record_is_not_archived(tmp_path: Path, records: list[Record]) -> None:
    journal, _ = write(tmp_path / "journal.db", records[:15], len(records))
    journal.snapshot(b"{}")
    journal._db.execute("UPDATE record SET payload = x'7b7d' WHERE seq = 3")
    with pytest.raises(StoreFault, match="damaged at record 3"):
        journal.archive_part()
    assert files(tmp_path) == []
    journal.close()


def test_records_are_read_while_others_are_archived(tmp_path: Path, records: list[Record]) -> None:
    journal, _ = write(tmp_path / "journal.db", records, len(records))
    reading = journal.history()
    first = next(reading)
    while journal.archive_part():
        pass
    assert archived(journal) > 0
    assert [first, *reading] == records
    journal.close()


def test_archive_in_a_restored_backup_is_found(tmp_path: Path, records: list[Record]) -> None:
    journal, state = write(tmp_path / "journal.db", records, 10)
    journal.close()
    (tmp_path / "restored").mkdir()
    for file in tmp_path.glob("journal.db*"):
        shutil.copy(file, tmp_path / "restored")
    restored = Journal(tmp_path / "restored" / "journal.db")
    assert replay(restored) == state
    assert list(restored.history()) == records
    restored.close()


def test_changed_record_of_the_archive_is_found(tmp_path: Path, records: list[Record]) -> None:
    """Also one whose file is a sound gzip file."""
    journal, _ = write(tmp_path / "journal.db", records, 10)
    part = Part(*journal._db.execute("SELECT * FROM archive WHERE first = 1").fetchone())
    (file,) = files(tmp_path)
    content = file.read_bytes()
    text = gzip.decompress(content[: part.length])
    changed = gzip.compress(text.replace(b'"ms":1000', b'"ms":1001', 1), 6, mtime=0)
    file.write_bytes(changed + content[part.length :])
    journal._db.execute("UPDATE archive SET length = ? WHERE first = 1", (len(changed),))
    with pytest.raises(ArchiveDamaged, match="they are not what was written"):
        next(journal.history())
    journal.close()
