"""The pool manager is killed at random instants while eight clients record what it acknowledged; both must agree.

``FASTGPU_KILL_CYCLES`` sets how often (10000 in a night).
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time

import pytest

from fastgpu_jupyter.core.model.events import LeaseEnded
from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.pool.journal.fsck import examine
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from tests.crash.conftest import KillablePool
from tests.views import value_of

CYCLES = int(os.environ.get("FASTGPU_KILL_CYCLES", "60"))
SEED = int(os.environ.get("FASTGPU_KILL_SEED", "20261122"))


class ClientRecord:
    """The leases that one client requested, and what was acknowledged."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.leases: dict[str, str] = {}  #: the idempotency key of each lease
        self.given_back: set[str] = set()  #: where the release was answered or not
        self.released: set[str] = set()
        self.unanswered: list[str] = []  #: keys whose request was not answered

    def request_leases(self, stop: threading.Event) -> None:
        """Request and release leases until ``stop`` is set."""
        client = PoolClient(user_socket(), timeout_s=5)
        count = 0
        while not stop.is_set():
            count += 1
            key, token = f"{self.number}-{count}", new_token()
            while True:  # a request without an answer is repeated with the same key
                try:
                    lease_id = client.request("eighth", token=token, key=key)["id"]
                    break
                except PoolUnreachable:
                    if stop.is_set():
                        self.unanswered.append(key)
                        return
                    time.sleep(0.001)
            assert lease_id not in self.leases, "two requests have one lease"
            self.leases[lease_id] = key
            if count % 8:
                self.given_back.add(lease_id)
                with contextlib.suppress(PoolUnreachable):
                    client.release(lease_id)
                    self.released.add(lease_id)


def leases_ended() -> set[str]:
    """Return the leases that ended: the pool no longer lists all of them, because many ended after them."""
    journal = Journal(user_state_dir() / "journal.db")
    try:
        events = [event for record in journal.history() for event in record.events]
    finally:
        journal.close()
    return {event.lease_id for event in events if isinstance(event, LeaseEnded)}


@pytest.mark.slow
@pytest.mark.timeout(300 + CYCLES * 3)
def test_pool_killed_at_any_instant_loses_nothing_acknowledged(killable_pool: KillablePool) -> None:
    killable_pool.arguments += [
        "--Limits.leases_max_per_tenant=1000000",
        "--Limits.waiting_max_per_tenant=1000000",
        "--Limits.changes_per_day_per_tenant=100000000",
    ]
    killable_pool.arguments += ["--Limits.leases_max=1000000", "--Limits.waiting_max=1000000"]
    assert killable_pool.start()
    stop = threading.Event()
    records = [ClientRecord(number) for number in range(8)]
    failed: list[BaseException] = []

    def run_client(record: ClientRecord) -> None:
        try:
            record.request_leases(stop)
        except BaseException as error:  # noqa: BLE001 (the test fails, not the thread)
            failed.append(error)

    clients = [threading.Thread(target=run_client, args=(record,)) for record in records]
    for thread in clients:
        thread.start()
    rng = random.Random(SEED)
    kills = 0
    try:
        # On a slow machine the clients need more kills until they have had as many answers.
        while not failed and (kills < CYCLES or sum(len(record.leases) for record in records) <= CYCLES):
            kills += 1
            time.sleep(rng.uniform(0, 0.05))  # the instant of the kill is random
            killable_pool.kill()
            assert killable_pool.start(), killable_pool.output.read_text()[-2000:]
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert not failed, (SEED, failed)
    known = {lease["id"]: lease for lease in killable_pool.client.leases()}
    ended = leases_ended()
    acknowledged = {lease_id for record in records for lease_id in record.leases}
    assert len(acknowledged) > CYCLES
    for record in records:
        for lease_id in record.leases:
            lease = known.get(lease_id)
            if lease is None:
                assert lease_id in ended, (SEED, "an acknowledged lease was lost")
                assert lease_id in record.given_back, (SEED, "a lease has ended that its client has")
                continue
            if lease_id in record.released:
                assert lease["state"] in {"draining", "ended"}, (SEED, lease)
            assert lease["state"] != "ended" or value_of(lease["end_reason"]) in {"released", "cancelled"}, (
                SEED,
                lease,
            )
        # A request without an answer is repeated, and gets the lease that it has already or a new one.
        for key in record.unanswered:
            lease_id = killable_pool.client.request("eighth", token=new_token(), key=key)["id"]
            assert lease_id not in acknowledged, "two requests have one lease"
            acknowledged.add(lease_id)
    # Every lease was acknowledged, or its request was repeated above: there is no other.
    assert {lease["id"] for lease in killable_pool.client.leases()} | leases_ended() == acknowledged
    killable_pool.kill()
    found = examine(user_state_dir() / "journal.db")
    assert found.sound, found
