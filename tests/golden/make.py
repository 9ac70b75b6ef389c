"""Writes a golden journal: a small history, in the format and with the events of the version that runs this.

``0.1`` is kept for ever: every later version must open it and come to the state that is written beside it. ``make
golden`` writes ``next``, which has what was added since, and is renamed to the version when that is released. It adds
to the description of the format, and refuses a change with which older journals could not be read.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import (
    BudgetPolicy,
    ClusterRequest,
    Enforcement,
    Health,
    HostSpec,
    IdlePolicy,
    IdleTimes,
    Plan,
    Policy,
    Priority,
    Retention,
    ScrubOutcome,
    ScrubResult,
    State,
)
from fastgpu_jupyter.core.model.lifecycle import LeaseState
from fastgpu_jupyter.core.model.use import MeasuredUse
from fastgpu_jupyter.errors import Message
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from tests.core.faults import WRONG_ADDRESS
from tests.core.world import World, holder, spec
from tests.golden.format import describe, incompatibilities, path_of


def history() -> World:
    """One of everything that can happen to a lease, to a device and to money."""
    world = World(*(spec(f"gpu-{index}", index=index, parkable=True) for index in range(3)))
    _come_and_go(world)
    _borrow(world)
    _pay(world)
    _try_again(world)
    world.do(c.CountChange("cleo"))
    _submit(world)
    _rest(world)
    _serve_by_engine(world)
    return world


def _come_and_go(world: World) -> None:
    world.active("whole", tenant_name="Ann")
    world.active("part", "quarter")
    world.ask("waits", "2xany", wait_ms_max=600_000)
    world.do(c.SetCpuMeanwhile("waits", on=True))
    world.pass_time(90_000)
    world.do(c.BindHolder("part", world.state.leases["whole"].holder))
    world.do(c.SetHealth("gpu-2", Health.SUSPECT, Message.of_text("an ECC error")))
    world.do(c.RestoreDevice("gpu-2"))
    world.do(c.DrainDevice("gpu-2", drained=True))
    world.do(c.DrainDevice("gpu-2", drained=False))
    world.do(c.ReportScrubFailure("gpu-2", Message.of_text("a call failed")))
    world.do(c.ReportScrubFailure("gpu-2", None))
    world.do(c.ReportUnownedMemory("gpu-2", 60 << 30))
    world.do(c.ReportUnownedMemory("gpu-2", 1 << 30))
    world.do(c.ReportFault("gpu-0", WRONG_ADDRESS, ("whole",), certain=True))
    world.do(c.ResizeLease("part", "half"))
    _grow(world)
    world.do(c.RenameLease("part", "training run.ipynb"))
    world.do(c.TransferLease("part", "bob"))
    world.do(c.ReleaseLease("waits"))
    world.do(c.ReleaseLease("whole"))
    world.drained("whole", ScrubResult(ScrubOutcome.OVERWRITTEN, 80 << 30, Message.of_text("All of it.")))
    world.do(c.HolderEnded("part", world.state.leases["part"].holder))


def _grow(world: World) -> None:
    for name, size in (("rests", "70GiB"), ("grows", "eighth")):  # on one device
        world.active(name, size, tenant="dora")
    world.do(c.ReportActivity("rests", busy=False))
    world.do(c.ResizeLease("grows", "full"))
    world.do(c.ResizeLease("grows", "eighth"))  # withdraws it
    world.parked("rests")
    world.do(c.ReleaseLease("rests"))
    world.do(c.ReleaseLease("grows"))
    world.drained("grows")


def _borrow(world: World) -> None:
    world.do(c.SetPolicy(Policy(idle_ms=7000)))
    generation = world.active("lent", "half", tenant="cleo").logical_gpu.generation  # type: ignore[union-attr]
    world.do(c.ReportMemory("lent", generation, 60 << 30))
    world.do(c.ReportMemory("lent", generation, 20 << 30))
    world.do(c.LimitSet("lent", generation, Enforcement.DRIVER, "a group"))
    world.do(c.ReportActivity("lent", busy=True))
    world.do(c.SetRetention("lent", Retention.HOLD))
    world.do(c.SetRetention("lent", Retention.YIELD))
    world.do(c.ParkLease("lent"))
    world.do(c.ParkFailed("lent", generation, Message.of_text("a process did not stop")))
    world.active("tidy", "half", tenant="cleo")
    world.do(c.ParkLease("tidy"))
    world.parked("tidy", 1 << 30)
    for device_id in world.state.devices:
        world.do(c.DrainDevice(device_id, drained=True))
    world.do(c.ResumeLease("tidy"))
    world.do(c.ParkLease("tidy"))  # withdraws it
    for device_id in world.state.devices:
        world.do(c.DrainDevice(device_id, drained=False))
    world.do(c.ResumeLease("tidy"))
    resuming = world.state.leases["tidy"].logical_gpu
    assert resuming is not None
    world.do(c.ResumePostponed("tidy", resuming.generation, Message.of_text("too little memory is free")))
    world.resumed("tidy")


def _pay(world: World) -> None:
    world.do(c.SetGroup("lab", 200, 5000, 1000))
    world.do(c.SetTenant("cleo", 100, 2000, 500, "lab"))
    world.do(c.SetBudget("cleo", 1_000_000, BudgetPolicy.WARN))
    world.do(c.SetLeaseBudget("tidy", 1_000_000))
    world.do(c.ReserveCapacity("kept", "cleo", 500, None, Plan.MONTH, 30))
    world.do(c.ReserveCapacity("cancelled", "dora", 500, None, Plan.YEAR, 40))
    world.do(c.CancelReservation("cancelled"))
    for _ in range(30):
        world.pass_time(60_000)
    world.do(c.ReportNoAnswer())
    left = tuple(device.spec for device in world.state.devices.values() if device.spec.index < 2)
    world.do(c.SetDevices(left, (HostSpec("host", 8000, 64 << 30),)))
    world.pass_time(35 * 86_400_000)


def _try_again(world: World) -> None:
    there = tuple(device.spec for device in world.state.devices.values())
    world.do(c.SetDevices((*there, spec("gpu-8", index=8, parkable=True), spec("gpu-9", index=9, parkable=True))))
    lease = world.ask("again", "half", tenant="dora", parkable=False)
    assert lease.logical_gpu is not None
    world.do(
        c.PrepareFailed("again", lease.logical_gpu.generation, Message.of_text("another process created one there"))
    )
    world.prepared("again")
    world.do(c.ResizeLease("again", "quarter"))
    world.do(c.ReportLibraries("again", lease.logical_gpu.memory_bytes, ("JAX",)))
    world.do(c.SetHealth(lease.logical_gpu.device_id, Health.SUSPECT, Message.of_text("an ECC error")))
    world.do(c.MigrateLease("again"))
    world.do(c.BindHolder("again", holder(4000)))
    world.parked("again", 0)
    world.prepared("again")


def _submit(world: World) -> None:
    """A job computes, is parked for a kernel, and waits where it was."""
    for name in ("first", "second", "third"):
        world.ask(name, "full", tenant="dora", priority=Priority.LOW, job=f"job · {name}")
    computing = [lease for lease in world.state.leases.values() if lease.request.job and lease.logical_gpu]
    for lease in computing:
        world.prepared(lease.id)
        world.do(c.ReportActivity(lease.id, busy=True))
    world.ask("cell", "full", tenant="dora")
    for lease in computing:
        if lease.state is LeaseState.PARKING:
            world.parked(lease.id)
    world.prepared("cell")
    for name in ("cell", "first", "second", "third"):
        world.do(c.ReleaseLease(name))
        if world.state_of(name) is LeaseState.DRAINING:
            world.drained(name)


def _rest(world: World) -> None:
    world.do(c.SetPolicy(Policy(idle_policy=IdlePolicy(IdleTimes(notify_ms=60_000, park_ms=600_000)))))
    gpu = world.active("rests", "quarter", tenant="dora", idle=IdleTimes(park_ms=300_000)).logical_gpu
    assert gpu is not None
    world.do(c.ReportActivity("rests", busy=False))
    world.do(c.ReportGPUUse("rests", gpu.generation, world.now_ms))
    world.do(c.ReportGPUUse("rests", gpu.generation, None))
    world.do(c.ReportGPUUse("rests", gpu.generation, world.now_ms))
    world.do(c.SnoozeLease("rests", 60_000))
    world.do(c.RecordUse("rests", MeasuredUse(3, 40_000, 60_000, 0, 1 << 30, 900_000, 40_000)))
    world.do(c.SilenceAdvice("rests", silenced=True))
    for _ in range(6):
        world.pass_time(60_000)


def _serve_by_engine(world: World) -> None:
    """An engine serves a lease that outlives its server, refuses one, and loses one."""
    request = ClusterRequest("gpu", "physics", "high", "ib", time_limit_ms=7_200_000)
    for name in ("served", "refused", "lost"):
        world.on_cluster(name, "2xh100", cluster=request, keep_ms=60_000)
        world.do(c.ClusterJobSubmitted(name, world.job(name), f"1{len(name)}"))
    world.granted("served", milli=2000)
    world.do(c.ClusterTimeSet("served", world.job("served"), world.at.wall_ms + 7_200_000))
    world.do(c.ClusterJobRefused("refused", world.job("refused"), Message.of_text("PartitionTimeLimit")))
    world.granted("lost", milli=250, enforcement=Enforcement.NONE, ends_at_ms=world.at.wall_ms)
    world.pass_time(60_000)
    world.do(c.ClusterJobEnded("lost", world.job("lost"), Message.of_text("NODE_FAIL"), world.at.wall_ms - 20_000))
    world.do(c.HolderEnded("served", world.state.leases["served"].holder))
    world.do(c.BindHolder("served", holder(5000)))
    world.do(c.HolderEnded("served", holder(5000)))
    world.pass_time(60_000)
    world.do(c.ClusterJobEnded("served", world.job("served"), Message.of_text("CANCELLED")))


def summary(state: State) -> dict[str, object]:
    """What must never read differently, whatever fields a later version adds."""
    return {
        "leases": {
            lease.id: [
                lease.tenant,
                lease.state.value,
                lease.end_reason.value if lease.end_reason else None,
                lease.logical_gpu.device_id if lease.logical_gpu else None,
                lease.active_ms,
                lease.cost_numerator,
                lease.holder.pid,
            ]
            for lease in state.leases.values()
        },
        "queue": list(state.queue),
        "devices": {device.spec.id: [device.health.value, device.promised_bytes] for device in state.devices.values()},
    }


def main() -> int:
    """Write NAME.db, NAME.json and the description of the format into FOLDER; return 1 where that is refused."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    description = folder / path_of().name
    if description.exists():
        refused = list(incompatibilities(json.loads(description.read_text()), json.loads(json.dumps(describe()))))
        if refused:
            print("Older journals could not be read: " + "; ".join(refused), file=sys.stderr)  # noqa: T201 (its purpose)
            return 1
    for old in folder.glob(f"{name}.*"):
        old.unlink()
    world = history()
    journal = Journal(folder / f"{name}.db")
    for at, events in world.history:
        journal.append([Entry(at, events, f"key-{at.ms}", "whole")])
    journal._db.execute("UPDATE writer SET id = 'golden'")  # else random, and the file another one each time
    journal._db.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    journal.close()
    expected = json.loads(msgspec.json.encode(summary(world.state)))
    (folder / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")
    description.write_text(json.dumps(describe(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
