"""Writes a golden journal: a small history, in the format and with the events of the version that runs this.

A golden journal is made once for each format that was ever released and is then kept for ever: every later version
must open it and come to the state that is written beside it. ``python -m tests.golden.make FOLDER NAME``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from fastgpu_jupyter.core import commands as c
from fastgpu_jupyter.core.model import Health, State
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from tests.core.world import World, spec


def history() -> World:
    """One of everything that can happen to a lease and to a device."""
    world = World(spec("gpu-0", index=0), spec("gpu-1", index=1))
    world.active("whole")
    world.active("part", "quarter")
    world.ask("waits")
    world.now_ms += 90_000
    world.do(c.Tick())
    world.do(c.BindHolder("part", world.state.leases["whole"].holder))
    world.do(c.SetHealth("gpu-1", Health.SUSPECT, "an ECC error"))
    world.do(c.ReleaseLease("whole"))
    world.drained("whole")
    world.do(c.HolderEnded("part", world.state.leases["part"].holder))
    return world


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


def main() -> None:
    """Write NAME.db and NAME.json into FOLDER."""
    folder, name = Path(sys.argv[1]), sys.argv[2]
    world = history()
    journal = Journal(folder / f"{name}.db")
    for at, events in world.history:
        journal.append([Entry(at, events, f"key-{at.ms}", "whole")])
    journal._db.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    journal.close()
    expected = json.loads(msgspec.json.encode(summary(world.state)))
    (folder / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
