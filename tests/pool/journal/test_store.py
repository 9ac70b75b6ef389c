"""The journal: appended records are there, damage is named, and a failed write raises a fault."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from fastgpu_jupyter import __version__
from fastgpu_jupyter.core.model.entities import (
    EndReason,
    Health,
    Instant,
    State,
)
from fastgpu_jupyter.core.model.events import DeviceHealthChanged, Event, LeaseEnded, PoolStarted, Ticked
from fastgpu_jupyter.errors import Message, StoreFault
from fastgpu_jupyter.pool.journal import database
from fastgpu_jupyter.pool.journal.chain import seal
from fastgpu_jupyter.pool.journal.codec import decode, decode_state, encode, encode_state
from fastgpu_jupyter.pool.journal.database import FORMAT
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.pool.loop.recovery import replay
from tests.core.world import World, spec
from tests.golden.make import history

AT = Instant(1000, 2000)


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Callable[[], Journal]]:
    opened: list[Journal] = []

    def open_(name: str = "journal.db") -> Journal:
        opened.append(Journal(tmp_path / name))
        return opened[-1]

    yield open_
    for journal in opened:
        journal.close()


def test_replay_yields_appended_records_in_order(open_journal: Callable[[], Journal]) -> None:
    journal = open_journal()
    journal.append([Entry(AT, [Ticked()]), Entry(AT, [LeaseEnded("a", EndReason.RELEASED)], "key", "a")])
    journal.append([Entry(Instant(1001, 2001), [DeviceHealthChanged("gpu", Health.FAULTY, Message.of_text("why"))])])
    journal.close()
    again = open_journal()
    assert [record.events for record in again.replay()] == [
        [Ticked()],
        [LeaseEnded("a", EndReason.RELEASED)],
        [DeviceHealthChanged("gpu", Health.FAULTY, Message.of_text("why"))],
    ]
    assert again.answers.lease_ids() == {"key": "a"}
    again.append([Entry(AT, [Ticked()])])
    assert len(list(again.replay())) == 4


def test_every_event_is_decoded_as_it_was_encoded() -> None:
    recorded = history().history
    for at, events in recorded:
        assert decode(encode(at, events)) == (at, events)
    assert {type(event) for _, events in recorded for event in events} == set(get_args(Event))


@pytest.mark.parametrize("offset", range(0, 40, 3))
def test_changed_byte_is_found_and_its_record_named(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.append([Entry(AT, [PoolStarted("boot", number)]) for number in range(5)])
    journal.close()
    with sqlite3.connect(path) as db:
        payload = bytearray(db.execute("SELECT payload FROM record WHERE seq = 3").fetchone()[0])
        payload[offset] ^= 1
        db.execute("UPDATE record SET payload = ? WHERE seq = 3", (bytes(payload),))
    db.close()
    before = path.read_bytes()
    damaged = Journal(path)
    with pytest.raises(StoreFault, match=r"damaged at record 3.*Nothing was changed"):
        list(damaged.replay())
    damaged.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("sql", ["DELETE FROM record WHERE seq = 2", "UPDATE record SET seq = 9 WHERE seq = 5"])
def test_missing_record_is_found(tmp_path: Path, sql: str) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.append([Entry(AT, [Ticked()]) for _ in range(5)])
    journal.close()
    with sqlite3.connect(path) as db:
        db.execute(sql)
    db.close()
    damaged = Journal(path)
    with pytest.raises(StoreFault, match="damaged at record"):
        list(damaged.replay())
    damaged.close()


@pytest.mark.parametrize("seed", range(20))
def test_flipped_byte_of_the_file_never_gives_a_wrong_state(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.append([Entry(AT, [PoolStarted(f"boot-{number}", number)]) for number in range(50)])
    journal.close()
    content = bytearray(path.read_bytes())
    drawn = random.Random(seed)
    content[drawn.randrange(len(content))] ^= 1 << drawn.randrange(8)
    path.write_bytes(content)
    try:
        damaged = Journal(path)
    except StoreFault:
        return
    try:
        events = [event for record in damaged.replay() for event in record.events]
    except StoreFault:
        return
    finally:
        damaged.close()
    # A byte that holds nothing was hit: then all must be there.
    assert events == [PoolStarted(f"boot-{number}", number) for number in range(50)]


def test_file_that_is_no_journal_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"a diary, not a database" * 100)
    with pytest.raises(StoreFault, match="kept as it is"):
        Journal(path)
    assert path.read_bytes() == b"a diary, not a database" * 100


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}


@pytest.mark.parametrize("writer", ["9.8.7", None])
def test_newer_format_is_refused_by_the_name_of_its_version_and_not_changed(tmp_path: Path, writer: str | None) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.append([Entry(AT, [PoolStarted("boot", 1)])])
    journal._db.execute("PRAGMA user_version = 99")
    if writer:
        journal._db.execute("INSERT INTO writer (version, id) VALUES (?, 'x')", (writer,))
    else:
        journal._db.execute("DROP TABLE writer")
    before = files_of(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreFault) as refused:
            Journal(path)
        assert f"FastGPU {writer or 'of an unknown version'} (format 99)" in str(refused.value)
        assert f"this version, FastGPU {__version__} (format {FORMAT}). Nothing was changed." in str(refused.value)
    assert files_of(tmp_path) == before
    journal.close()


def test_event_of_a_newer_version_is_refused_by_the_name_of_that_version(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = Journal(path)
    journal.append([Entry(AT, [PoolStarted("boot", 1)])])
    payload = b'{"ms": 1, "wall_ms": 1, "events": [{"type": "LeaseTeleported", "lease_id": "a"}]}'
    journal._insert([(2, payload, seal(journal._seal, payload))], [])
    journal._db.execute("INSERT INTO writer (version, id) VALUES ('9.8.7', 'x')")
    before = files_of(tmp_path)
    reading = Journal(path)
    with pytest.raises(
        StoreFault, match=rf"Record 2 .*FastGPU {__version__} .*LeaseTeleported.*FastGPU 9\.8\.7\. Nothing"
    ):
        list(reading.replay())
    reading.close()
    assert files_of(tmp_path) == before
    journal.close()


def test_journal_names_each_version_that_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.db"
    ids = set()
    for version in ("0.1.0", "0.1.0", "0.2.0"):
        monkeypatch.setattr(database, "__version__", version)
        journal = Journal(path)
        list(journal.replay())
        journal.append([Entry(AT, [PoolStarted("boot", 1)])])
        ids.add(journal.id)
        journal.close()
    assert len(ids) == 1
    with contextlib.closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT version FROM writer ORDER BY number").fetchall() == [("0.1.0",), ("0.2.0",)]


def test_append_on_a_full_disk_fails_and_keeps_old_records(open_journal: Callable[[], Journal]) -> None:
    journal = open_journal()
    journal.append([Entry(AT, [PoolStarted("boot", 1)])])
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreFault, match=r"cannot be written.*kept as it is"):
        journal.append([Entry(AT, [PoolStarted("x" * 4000, number)]) for number in range(100)])
    assert [record.events for record in journal.replay()] == [[PoolStarted("boot", 1)]]
    journal._db.execute("PRAGMA max_page_count = 100000")
    journal.append([Entry(AT, [PoolStarted("boot", 2)])])
    assert len(list(journal.replay())) == 2


def test_journal_is_readable_by_its_owner_only(open_journal: Callable[[], Journal]) -> None:
    assert open_journal().path.stat().st_mode & 0o777 == 0o600


def test_replay_from_a_snapshot_reads_only_later_records(open_journal: Callable[[], Journal]) -> None:
    world = World(spec("gpu"))
    world.active("a")
    journal = open_journal()
    for at, events in world.history:
        journal.append([Entry(at, events)])
    journal.snapshot(encode_state(world.state))
    before = len(world.history)
    world.ask("b")
    for at, events in world.history[before:]:
        journal.append([Entry(at, events)])
    (after, _), *_ = journal.snapshots()
    assert (after, len(list(journal.replay(after)))) == (before, 1)
    assert replay(journal) == world.state


@pytest.mark.parametrize(
    "damage",
    ["UPDATE snapshot SET payload = x'7b7d'", "UPDATE snapshot SET seal = x'00'", "UPDATE snapshot SET seq = 1"],
)
def test_damaged_snapshot_is_not_used(open_journal: Callable[[], Journal], damage: str) -> None:
    world = World(spec("gpu"))
    world.active("a")
    journal = open_journal()
    for at, events in world.history:
        journal.append([Entry(at, events)])
    journal.snapshot(encode_state(world.state))
    journal._db.execute(damage)
    assert list(journal.snapshots()) == []
    assert replay(journal) == world.state


def test_snapshot_with_other_fields_is_not_used() -> None:
    payload = msgspec.json.decode(encode_state(State(parked_bytes=1)))
    assert decode_state(msgspec.json.encode(payload)) == State(parked_bytes=1)
    payload["shape"] = "another"
    del payload["state"]["parked_bytes"]
    assert decode_state(msgspec.json.encode(payload)) is None
    assert decode_state(msgspec.json.encode(payload["state"])) is None


def test_old_snapshots_are_removed(open_journal: Callable[[], Journal]) -> None:
    journal = open_journal()
    journal.snapshot(b"of nothing")
    for number in range(4):
        journal.append([Entry(AT, [PoolStarted("boot", number)])])
        journal.snapshot(b"{}")
    assert [seq for seq, _ in journal.snapshots()] == [4, 3]


def test_verify_finds_damage_before_the_snapshot(open_journal: Callable[[], Journal]) -> None:
    journal = open_journal()
    journal.append([Entry(AT, [PoolStarted("boot", number)]) for number in range(5)])
    journal.snapshot(encode_state(State()))
    journal._db.execute("UPDATE record SET payload = x'00' WHERE seq = 2")
    assert replay(journal) == State()
    with pytest.raises(StoreFault, match="damaged at record 2"):
        journal.verify()
