"""Answers of the user database: remembered, expired, refused, late."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from fastgpu_jupyter.errors import HostFault
from fastgpu_jupyter.pool.host.threads import DaemonThreads
from fastgpu_jupyter.pool.identity import known_users
from fastgpu_jupyter.pool.identity.known_users import ABSENT_S, ANSWERS_MAX, FAILED_S, FRESH_S, KnownUsers
from tests.pool.identity.users import FakeTime, FakeUsers
from tests.waiting import wait_until


class Bench:
    """Known users with a database and a clock that the test decides."""

    def __init__(self) -> None:
        self.database, self.time = FakeUsers(ann=1001), FakeTime()
        self.users = KnownUsers(self.database, DaemonThreads, self.time)

    def ask(self, question: int | str, wait_s: float = 5.0) -> int | str | None:
        return asyncio.run(self.users.ask(question, wait_s))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.database.answer()
    bench.users.close()


def test_answer_is_asked_for_once_until_it_expires(bench: Bench) -> None:
    assert [bench.ask("ann"), bench.ask("ann"), bench.ask(1001)] == [1001, 1001, "ann"]
    assert bench.database.asked == ["ann", 1001]
    bench.time.s += FRESH_S
    assert bench.ask("ann") == 1001
    assert bench.database.asked == ["ann", 1001, "ann"]


def test_name_that_is_reused_is_found_under_its_new_number(bench: Bench) -> None:
    assert bench.ask("ann") == 1001
    bench.database.users["ann"] = 1050
    bench.time.s += FRESH_S
    assert bench.ask("ann") == 1050


def test_absence_is_an_answer_with_a_shorter_life(bench: Bench) -> None:
    assert bench.ask("bob") is None
    bench.database.users["bob"] = 1002
    assert bench.ask("bob") is None
    bench.time.s += ABSENT_S
    assert bench.ask("bob") == 1002


def test_failure_keeps_the_user_that_was_known(bench: Bench) -> None:
    assert bench.ask("ann") == 1001
    bench.database.fault, bench.time.s = "It is down.", bench.time.s + FRESH_S
    assert bench.ask("ann") == 1001
    assert bench.users.remembered(1001) is None
    with pytest.raises(HostFault, match="It is down"):
        bench.ask(1001)


def test_failure_is_no_absence_and_is_asked_again_after_a_pause(bench: Bench) -> None:
    assert bench.ask("bob") is None
    bench.database.fault, bench.time.s = "It is down.", bench.time.s + ABSENT_S
    for _ in range(3):
        with pytest.raises(HostFault, match="It is down"):
            bench.ask("bob")
    assert bench.database.asked == ["bob"] * 2
    bench.database.fault, bench.time.s = None, bench.time.s + FAILED_S
    assert bench.ask("bob") is None


def test_silence_costs_the_first_caller_its_time_limit_and_the_others_nothing(bench: Bench) -> None:
    bench.database.hang()
    with pytest.raises(HostFault, match=r"users\.silent"):
        bench.ask("ann", 0.01)
    bench.time.s += 5.0
    with pytest.raises(HostFault, match=r"users\.silent"):
        bench.ask("ann", 5.0)  # would take 5 s if it waited again
    assert bench.database.asked == ["ann"]
    bench.database.answer()
    assert wait_until(lambda: bench.users.remembered("ann"), "the late answer is used") == 1001


def test_silence_is_not_asked_without_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_users, "UNANSWERED_MAX", 3)
    bench.database.hang()
    for uid in range(10):
        assert bench.users.remembered(uid) is None
    with pytest.raises(HostFault, match=r"users\.silent"):
        bench.ask(9)
    bench.database.answer()
    wait_until(lambda: len(bench.database.asked) == 3, "three were asked")


def test_answers_are_remembered_up_to_a_limit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_users, "ANSWERS_MAX", 2)
    assert ANSWERS_MAX == 4096
    assert [bench.ask(name) for name in ("ann", "b", "c", "ann")] == [1001, None, None, 1001]
    assert bench.database.asked == ["ann", "b", "c", "ann"]
