"""A request that is repeated with its idempotency key gets the first answer, and does nothing."""

from __future__ import annotations

import json
import random
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fastgpu_jupyter.core.lease import history
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.http.handlers import leases
from fastgpu_jupyter.pool.journal.answers import DICTIONARIES_MAX, AnsweredKey, AnswerTable, FirstAnswer
from fastgpu_jupyter.pool.journal.database import Database
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from fastgpu_jupyter.wire.client import new_token
from tests.core.world import World, spec
from tests.pool.conftest import Serve
from tests.pool.served import Answer, ServedPool
from tests.waiting import DEADLINE_S, wait_until

REQUEST = {"size": "half", "token_sha256": "0" * 64}


def send(pool: ServedPool, method: str, path: str, key: str, body: dict[str, Any] | None = None) -> Answer:
    content = None if body is None else json.dumps(body).encode()
    return pool.raw(method, path, content, Content_Type="application/json", Idempotency_Key=key)


def same(one: Answer, other: Answer) -> bool:
    return (one.status, one.body) == (other.status, other.body)


def test_repeated_request_gets_the_first_answer_after_everything_has_changed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = serve()
    first = send(pool, "POST", "/v1/leases", "once", REQUEST)
    assert first.status == 201
    path = f"/v1/leases/{first.json['id']}"
    pinned = send(pool, "POST", f"{path}/pin", "pin", {"pinned": True})
    assert (pinned.status, pinned.json["parking"]["retention"]) == (200, "hold")
    send(pool, "POST", f"{path}/pin", "unpin", {"pinned": False})
    assert same(send(pool, "POST", f"{path}/pin", "pin", {"pinned": True}), pinned)
    assert pool.client.lease(first.json["id"])["parking"]["retention"] == "yield"
    released = send(pool, "DELETE", path, "release")
    wait_until(lambda: pool.client.lease(first.json["id"])["state"] == "ended", "the lease ends")
    assert same(send(pool, "DELETE", path, "release"), released)
    assert same(send(pool, "POST", "/v1/leases", "once", REQUEST), first)
    # Also once the lease is forgotten, and by the next pool manager.
    monkeypatch.setattr(history, "KEPT_MS", 0)
    pool.run(pool.services.commands.submit(c.Tick()))
    assert pool.raw("GET", path).status == 404
    for _ in range(2):
        assert same(send(pool, "POST", "/v1/leases", "once", REQUEST), first)
        assert same(send(pool, "DELETE", path, "release"), released)
        assert pool.client.leases() == []
        pool.stop()
        pool = serve()


def test_command_about_no_lease_is_carried_out_once(serve: Serve) -> None:
    pool = serve()
    body = {"weight": 5, "limit_milli": None, "guaranteed_milli": 0, "group": None}
    first = send(pool, "PUT", "/v1/tenants/ann", "five", body)
    assert first.json["weight"] == 5
    send(pool, "PUT", "/v1/tenants/ann", "seven", {**body, "weight": 7})
    assert same(send(pool, "PUT", "/v1/tenants/ann", "five", body), first)
    weights = {tenant["tenant"]["name"]: tenant["weight"] for tenant in pool.client.tenants()}
    assert weights["ann"] == 7


def test_first_answer_is_not_given_without_the_token_of_the_lease(serve: Serve) -> None:
    pool = serve()
    token = new_token()
    path = f"/v1/leases/{pool.client.request('half', token=token)['id']}/activity"
    body, key = b'{"busy": true}', {"Content_Type": "application/json", "Idempotency_Key": "once"}
    assert pool.raw("POST", path, body, Authorization=f"Bearer {token}", **key).status == 200
    assert pool.raw("POST", path, body, **key).status == 403
    assert pool.raw("POST", path, body, Authorization=f"Bearer {new_token()}", **key).status == 403


def test_refused_request_is_decided_again(serve: Serve) -> None:
    pool = serve(leases_max_per_tenant=1)
    held = send(pool, "POST", "/v1/leases", "held", REQUEST)
    assert send(pool, "POST", "/v1/leases", "later", REQUEST).status == 429
    pool.client.release(held.json["id"])
    wait_until(lambda: pool.client.lease(held.json["id"])["state"] == "ended", "the lease ends")
    assert send(pool, "POST", "/v1/leases", "later", REQUEST).status == 201


def test_first_answer_is_written_with_its_command(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = serve()
    monkeypatch.setattr(pool.journal.answers, "keep_first", lambda _: pytest.fail("the answer is written once more"))
    first = send(pool, "POST", "/v1/leases", "once", REQUEST)
    assert first.json["state"] == "active"
    released = send(pool, "DELETE", f"/v1/leases/{first.json['id']}", "release")
    assert same(send(pool, "POST", "/v1/leases", "once", REQUEST), first)
    assert same(send(pool, "DELETE", f"/v1/leases/{first.json['id']}", "release"), released)


def test_answer_does_not_wait_for_a_slow_preparation_and_is_kept(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    prepares = threading.Event()
    monkeypatch.setattr(leases, "PREPARE_GRACE_S", 0.01)
    monkeypatch.setattr(SimulatedDriver, "prepare", lambda *_: str(prepares.wait(DEADLINE_S)))
    pool = serve()
    first = send(pool, "POST", "/v1/leases", "once", REQUEST)
    assert (first.status, first.json["state"]) == (201, "preparing")
    prepares.set()
    wait_until(lambda: pool.client.lease(first.json["id"])["state"] == "active", "the lease is active")
    assert same(send(pool, "POST", "/v1/leases", "once", REQUEST), first)


def test_answer_that_was_lost_is_made_from_what_there_is(serve: Serve) -> None:
    pool = serve()
    first = send(pool, "POST", "/v1/leases", "once", REQUEST)
    pool.run(pool.services.writer.run(pool.journal._db.execute, "UPDATE answer SET body = NULL"))
    again = send(pool, "POST", "/v1/leases", "once", REQUEST)
    assert (again.status, again.json["id"]) == (201, first.json["id"])
    assert len(pool.client.leases()) == 1


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> AnswerTable:
    database = Database(tmp_path / "journal.db")
    return AnswerTable(database)


def insert(table: AnswerTable, *rows: tuple[str, int]) -> None:
    table.insert(AnsweredKey(key, "lease", ms) for key, ms in rows)


def test_first_answer_stays_and_a_damaged_one_is_not_used(table: AnswerTable) -> None:
    insert(table, ("1:a", 1))
    table.keep_first([("1:a", FirstAnswer(201, b"one"))])
    table.keep_first([("1:a", FirstAnswer(200, b"two"))])
    table.keep_first([("1:unknown", FirstAnswer(200, b"two"))])
    assert table.first("1:a") == FirstAnswer(201, b"one")
    assert table.first("1:unknown") is None
    (body,) = table._database.connection.execute("SELECT body FROM answer").fetchone()
    table._database.connection.execute("UPDATE answer SET body = ?", (body[:-1] + bytes([body[-1] ^ 1]),))
    assert table.first("1:a") is None
    table._database.close()


def test_answers_are_compressed_by_earlier_ones(table: AnswerTable) -> None:
    """Also where several kinds alternate, and answers that are like no other do not add dictionaries without end."""
    drawn = random.Random(1)
    kinds = [drawn.randbytes(400).hex().encode() for _ in range(3)]
    for number in range(300):
        insert(table, (f"1:{number}", number))
        table.keep_first([(f"1:{number}", FirstAnswer(200, b"%d %s" % (number, kinds[number % 3])))])
    connection = table._database.connection
    assert connection.execute("SELECT count(*) FROM dictionary").fetchone()[0] <= 3
    assert connection.execute("SELECT avg(length(body)) FROM answer").fetchone()[0] < 60
    assert all(
        table.first(f"1:{number}") == FirstAnswer(200, b"%d %s" % (number, kinds[number % 3])) for number in range(300)
    )
    for number in range(300, 500):
        insert(table, (f"1:{number}", number))
        table.keep_first([(f"1:{number}", FirstAnswer(200, drawn.randbytes(500)))])
    assert connection.execute("SELECT count(*) FROM dictionary").fetchone()[0] <= DICTIONARIES_MAX + 1
    assert None not in {table.first(f"1:{number}") for number in range(500)}
    table.forget(1000, keep=10)
    assert connection.execute("SELECT count(*) FROM dictionary").fetchone()[0] == 1
    table._database.close()


def test_old_keys_are_forgotten_and_each_user_loses_its_own_oldest(table: AnswerTable) -> None:
    insert(table, ("1:old", 1), ("2:old", 2), ("2:kept", 10), *((f"1:{number}", 10 + number) for number in range(6)))
    assert table.forget(10, keep=100) == 2
    assert list(table.lease_ids()) == ["2:kept", *(f"1:{number}" for number in range(6))]
    assert table.forget(10, keep=4) == 2
    assert list(table.lease_ids()) == ["2:kept", *(f"1:{number}" for number in range(2, 6))]
    assert table.forget(1000, keep=4) == 5
    assert table.forget(1000, keep=4) == 0
    table._database.close()


def test_keys_and_answers_survive_archiving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastgpu_jupyter.pool.journal import store

    monkeypatch.setattr(store, "PART_RECORDS", 2)
    world = World(spec("gpu"))
    for number in range(6):
        world.ask(f"lease-{number}")
    journal = Journal(tmp_path / "journal.db")
    for number, (at, events) in enumerate(world.history):
        journal.append([Entry(at, events, f"1:{number}", f"lease-{number}")])
        journal.answers.keep_first([(f"1:{number}", FirstAnswer(201, b"%d" % number))])
    journal.snapshot(b"{}")
    while journal.archive_part():
        pass
    journal.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        assert db.execute("SELECT min(seq) FROM record").fetchone()[0] > 1
    again = Journal(tmp_path / "journal.db")
    assert again.answers.lease_ids() == {f"1:{number}": f"lease-{number}" for number in range(len(world.history))}
    assert again.answers.first("1:0") == FirstAnswer(201, b"0")
    again.close()
