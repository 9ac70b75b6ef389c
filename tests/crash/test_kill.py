"""The pool manager is killed at any instant while eight clients write diaries; at the end both must agree.

``FASTGPU_KILL_CYCLES`` makes it long (10000 for a night).
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time

import pytest

from fastgpu_jupyter.errors import PoolUnreachable
from fastgpu_jupyter.pool.journal.fsck import examine
from fastgpu_jupyter.wire.client import PoolClient, new_token
from fastgpu_jupyter.wire.locate import user_socket, user_state_dir
from tests.crash.conftest import Forked
from tests.views import value_of

CYCLES = int(os.environ.get("FASTGPU_KILL_CYCLES", "60"))
SEED = int(os.environ.get("FASTGPU_KILL_SEED", "20261122"))


class Diary:
    """What one client was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.leases: dict[str, str] = {}  #: lease -> the key it was asked for with
        self.released: set[str] = set()
        self.unsure: list[str] = []  #: keys that were never answered

    def write(self, stop: threading.Event) -> None:
        client = PoolClient(user_socket(), timeout_s=5)
        count = 0
        while not stop.is_set():
            count += 1
            key, token = f"{self.number}-{count}", new_token()
            while True:  # a lost answer is asked for again with the same key, until there is one
                try:
                    lease_id = client.request("eighth", token=token, key=key)["id"]
                    break
                except PoolUnreachable:
                    if stop.is_set():
                        self.unsure.append(key)
                        return
                    time.sleep(0.001)
            assert lease_id not in self.leases, "this lease was given twice"
            self.leases[lease_id] = key
            if count % 8:
                with contextlib.suppress(PoolUnreachable):
                    client.release(lease_id)
                    self.released.add(lease_id)


@pytest.mark.slow
@pytest.mark.timeout(300 + CYCLES * 3)
def test_kill_9_at_any_instant_loses_nothing_that_was_acknowledged(forked: Forked) -> None:
    forked.arguments += ["--Limits.leases_max_per_tenant=1000000", "--Limits.waiting_max_per_tenant=1000000"]
    forked.arguments += ["--Limits.leases_max=1000000", "--Limits.waiting_max=1000000"]
    assert forked.start()
    stop = threading.Event()
    diaries = [Diary(number) for number in range(8)]
    failed: list[BaseException] = []

    def live(diary: Diary) -> None:
        try:
            diary.write(stop)
        except BaseException as error:  # noqa: BLE001 (it is the test that fails, not a thread)
            failed.append(error)

    clients = [threading.Thread(target=live, args=(diary,)) for diary in diaries]
    for thread in clients:
        thread.start()
    drawn = random.Random(SEED)
    try:
        for _ in range(CYCLES):
            time.sleep(drawn.uniform(0, 0.05))  # the instant is what is drawn
            forked.kill()
            assert forked.start(), forked.output.read_text()[-2000:]
    finally:
        stop.set()
        for thread in clients:
            thread.join()
    assert not failed, (SEED, failed)
    known = {lease["id"]: lease for lease in forked.client.leases()}
    told = {lease_id for diary in diaries for lease_id in diary.leases}
    assert len(told) > CYCLES
    for diary in diaries:
        for lease_id in diary.leases:
            lease = known.get(lease_id)
            assert lease is not None, (SEED, "an acknowledged lease was lost")
            if lease_id in diary.released:
                assert lease["state"] in {"draining", "ended"}, (SEED, lease)
            assert lease["state"] != "ended" or value_of(lease["end_reason"]) in {"released", "cancelled"}, (
                SEED,
                lease,
            )
        # Who was never answered asks once more, and gets the one lease that there is, or a new one.
        for key in diary.unsure:
            lease_id = forked.client.request("eighth", token=new_token(), key=key)["id"]
            assert lease_id not in told, "this lease was given twice"
            told.add(lease_id)
    # A lease that nobody was told of is one whose key was never answered: there is none besides.
    assert {lease["id"] for lease in forked.client.leases()} == told
    forked.kill()
    found = examine(user_state_dir() / "journal.db")
    assert found.sound, found
