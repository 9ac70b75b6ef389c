"""Whose the processes of a list are, as leases come and go: real processes, on a device that is played."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from fastgpu_jupyter.pool.devices.driver import DeviceProcess
from fastgpu_jupyter.pool.host import attribution
from fastgpu_jupyter.pool.host.attribution import Key
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.monitors.process_owners import DeviceAssignments, OwnershipResolver, ProcessOwnership

OTHER_USER = DeviceAssignments({}, {})


@pytest.fixture
def pid() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def identified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers that were looked at, each time."""
    numbers: list[int] = []
    identify = attribution.Attribution.identify

    def noting(self: attribution.Attribution, pid: int) -> Key:
        numbers.append(pid)
        return identify(self, pid)

    monkeypatch.setattr(attribution.Attribution, "identify", noting)
    return numbers


def assignments(*device_ids: str, **pids: int) -> DeviceAssignments:
    """Leases by the process that holds each, all of them on each of these devices."""
    holders = {lease_id: holder_of(pid, "boot") for lease_id, pid in pids.items()}
    return DeviceAssignments(holders, {device_id: tuple(pids) for device_id in device_ids})


def foreign(owned: ProcessOwnership) -> list[tuple[int, str | None]]:
    return [(one.holder.pid, one.lease_id) for one in owned.foreign]


def test_resolver_reads_a_list_once_and_reassigns_when_leases_change(pid: int, identified: list[int]) -> None:
    owners = OwnershipResolver("boot")
    listed = [DeviceProcess(pid, 7)]
    for _ in range(3):
        found = owners.find("gpu", 1, listed, OTHER_USER)
        assert (foreign(found), found.memory_bytes) == ([(pid, None)], {})
    for _ in range(3):
        found = owners.find("gpu", 1, listed, assignments("gpu", a=pid))
        assert (foreign(found), found.lease_of, found.memory_bytes) == ([], {pid: "a"}, {"a": 7})
    assert foreign(owners.find("gpu", 1, listed, assignments("another", a=pid))) == [(pid, "a")]
    assert identified == [pid]
    assert owners.find("gpu", 2, [], OTHER_USER) == ProcessOwnership(2, {}, {}, (), hidden=False)
    owners.find("gpu", None, listed, OTHER_USER)
    owners.find("gpu", None, listed, OTHER_USER)
    assert identified == [pid] * 3, "a list without a number is a new one each time"


def test_resolver_keeps_the_identity_of_a_reused_pid(
    pid: int, identified: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = OwnershipResolver("boot")
    listed = [DeviceProcess(pid, 7)]
    mine = assignments("gpu", a=pid)
    assert owners.find("gpu", 1, listed, mine).lease_of == {pid: "a"}
    another = DeviceAssignments(
        {"b": replace(mine.holders["a"], start_time=mine.holders["a"].start_time + 1)}, {"gpu": ("b",)}
    )
    assert owners.find("gpu", 1, listed, another).lease_of == {}
    # One that was reused between the list and the look at who holds it is not reported as the one that was listed.
    monkeypatch.setattr(attribution.Attribution, "identify", lambda _, number: Key(number, 1))
    assert owners.find("gpu", 2, listed, OTHER_USER).foreign == ()
    assert identified == [pid]


def test_still_foreign_drops_a_process_whose_lease_is_newer(pid: int) -> None:
    owners = OwnershipResolver("boot")
    found = owners.find("gpu", 1, [DeviceProcess(pid, 7)], OTHER_USER).foreign
    assert owners.still_foreign("gpu", found, OTHER_USER) == found
    assert owners.still_foreign("gpu", found, assignments("gpu", a=pid)) == ()
    (elsewhere,) = owners.still_foreign("gpu", found, assignments("another", a=pid))
    assert elsewhere.lease_id == "a"


def test_resolver_counts_an_ended_process_as_hidden() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait(20)
    found = OwnershipResolver("boot").find("gpu", 1, [DeviceProcess(process.pid, 1)], OTHER_USER)
    assert (found.foreign, found.hidden) == ((), True)


def test_process_of_several_leases_belongs_to_the_newest() -> None:
    me = os.getpid()
    found = OwnershipResolver("boot").find("gpu", 1, [DeviceProcess(me, 5)], assignments("gpu", old=me, new=me))
    assert found.lease_of == {me: "new"}
