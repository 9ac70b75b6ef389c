"""Deliberately broken pool managers, and the test that must find each; a test that cannot fail proves nothing.

``python -m tests.crash.mutations [NAME ...]`` copies the package to a temporary folder, breaks one thing at a time by
replacing a piece of text, and runs the test that must catch it. A piece that is not in the product any more is an
error: the mutation is then to be written anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "fastgpu_jupyter"
SIMULATOR = ("-m", "tests.sim.story", "--seeds", "60", "--steps", "200")


class Mutation(NamedTuple):
    """One thing that is broken."""

    name: str
    path: str
    old: str
    new: str
    test: tuple[str, ...] = SIMULATOR


def pytest(*what: str) -> tuple[str, ...]:
    return ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:rerunfailures", *what)


RUNTIME, STORE, APPLY, DECIDE = "pool/loop/runtime.py", "pool/journal/store.py", "core/apply.py", "core/decide.py"
MPS = "pool/devices/mechanisms/mps.py"

MUTATIONS = (
    Mutation(
        "answered before it is written",
        RUNTIME,
        "        entries = [entry for _, entry in decided]\n",
        "        entries = [entry for _, entry in decided]\n"
        "        for call, entry in decided:\n            call.answer(entry.lease_id)\n",
    ),
    Mutation(
        "read before it is written",
        RUNTIME,
        "        async with self._commit_lock:\n            return view",
        "        if True:\n            return view",
    ),
    Mutation(
        "a failed write stays in memory",
        RUNTIME,
        "            self._pool = Pool(await self._write(replay, self._journal))\n",
        "            pass\n",
    ),
    Mutation(
        "a key that was written though the write failed is not known",
        RUNTIME,
        "            self._keys = await self._write(self._journal.answers)\n        except",
        "            pass\n        except",
        pytest("tests/pool/loop/test_idempotency.py"),
    ),
    Mutation(
        "a key is remembered before it is written",
        RUNTIME,
        "                    fresh[entry.key] = entry.lease_id\n",
        "                    self._keys[entry.key] = entry.lease_id\n",
        pytest("tests/pool/loop/test_idempotency.py"),
    ),
    Mutation(
        "a key twice in one batch is two leases",
        RUNTIME,
        "                    fresh[entry.key] = entry.lease_id\n",
        "                    pass\n",
    ),
    Mutation(
        "keys are not on disk",
        STORE,
        '            self._db.executemany("INSERT OR IGNORE INTO answer',
        '            0 and self._db.executemany("INSERT OR IGNORE INTO answer',
    ),
    Mutation(
        "what is owed is written anew though it may be there",
        "pool/loop/degraded_mode.py",
        "        entries.append(tick)\n",
        "        entries = [*entries, tick]\n",
    ),
    Mutation(
        "memory stays half done after a bug",
        RUNTIME,
        "        if after_bug is not None:\n            await self._reload()",
        "        if False:\n            await self._reload()",
    ),
    Mutation(
        "the snapshot is taken before its records are written",
        RUNTIME,
        "        if events or any(entry.key for entry in entries):\n",
        "        if self._journal.seq - self._snapshot_seq >= SNAPSHOT_EVERY:\n            self._snapshot()\n"
        "        if events or any(entry.key for entry in entries):\n",
    ),
    Mutation(
        "a release on a full disk is not noted",
        "pool/loop/degraded_mode.py",
        "            release_log.note(Release(command.lease_id, reason, at))",
        "            Release(command.lease_id, reason, at)",
    ),
    Mutation(
        "releases noted on a full disk are not read",
        "pool/loop/recovery.py",
        "    released = release_log.read() if release_log else []",
        "    released: list[Release] = []",
    ),
    Mutation(
        "a process is known by its number",
        "pool/host/process.py",
        "        if _identify(holder.pid, pidfd, boot_id) == holder:",
        "        if _identify(holder.pid, pidfd, boot_id).pid == holder.pid:",
    ),
    Mutation(
        "holders are not watched after a restart",
        "core/model/effects.py",
        "        yield WatchHolder(lease.id, lease.holder)\n        yield from",
        "        yield from",
    ),
    Mutation(
        "drains are not taken up after a restart",
        "core/model/effects.py",
        "        yield from _of_device(lease)\n",
        "        yield from () if lease.state is LeaseState.DRAINING else _of_device(lease)\n",
    ),
    Mutation(
        "preparations are not taken up after a restart",
        "core/model/effects.py",
        "        yield from _of_device(lease)\n",
        "        yield from () if lease.state is LeaseState.PREPARING else _of_device(lease)\n",
    ),
    Mutation(
        "an earlier holder's death ends the lease",
        DECIDE,
        "if lease is None or lease.holder != command.holder:",
        "if lease is None:",
        pytest("tests/core/test_pool.py"),
    ),
    Mutation("a lease outlives the boot", DECIDE, "    if command.boot_id == state.boot_id:\n", "    if True:\n"),
    Mutation(
        "a device is free before its memory is",
        "pool/effects/executor.py",
        "                if not await self._on_device(effect, since_s):\n                    break\n",
        "                await self._on_device(effect, since_s)\n                break\n",
    ),
    Mutation(
        "a list of processes from before says who is there now",
        "pool/effects/executor.py",
        "self._begun_s >= since_s\n",
        "True\n",
        pytest("tests/pool/effects/test_executor.py"),
    ),
    Mutation(
        "a driver that is silent is asked all the same",
        "pool/effects/executor.py",
        "        if self.unresponsive_message is not None:\n            raise HostFault(self.unresponsive_message)\n",
        "",
        pytest("tests/pool/effects/test_executor.py"),
    ),
    Mutation(
        "what a lease had made for it passes to the next",
        "pool/effects/executor.py",
        "        await self._release(effect.logical_gpu)\n        return scrub_result or",
        "        return scrub_result or",
        pytest("tests/pool/monitors/test_processes.py"),
    ),
    Mutation(
        "what is said to be overwritten is not",
        "pool/effects/scrub_worker.py",
        '        cuda("cuMemsetD8_v2", ctypes.c_uint64(address), ctypes.c_ubyte(0), ctypes.c_size_t(size))\n',
        "",
        pytest("tests/pool/effects/test_scrubber.py", "-k", "reads"),
    ),
    Mutation(
        "a device is granted while its memory is not overwritten",
        "pool/effects/scrubber.py",
        "            self._scrubbing.update(dict.fromkeys(devices, lease_id))\n",
        "",
        pytest("tests/pool/effects/test_scrubber.py", "-k", "comes"),
    ),
    Mutation(
        "who overwrites is taken for a process without a lease",
        "pool/loop/runtime.py",
        "        self.process_monitor.own_pids = self.scrubber.pids\n",
        "",
        pytest("tests/pool/effects/test_scrubber.py", "-k", "hangs"),
    ),
    Mutation(
        "a lease is ready before its device files are open",
        "pool/effects/executor.py",
        "            await self._device_access.open_devices(effect.lease_id, replace(gpu, driver_handle=made))\n",
        "            pass\n",
        pytest("tests/pool/effects/test_executor.py", "-k", "device_files"),
    ),
    Mutation(
        "a kernel opens what is not made for it yet",
        "pool/effects/device_access.py",
        "was_open if begins else ",
        "",
        pytest("tests/pool/effects/test_device_access_states.py"),
    ),
    Mutation(
        "a process counts for whichever lease it names",
        "pool/host/attribution.py",
        "if named is not None and named.uid == facts.uid:",
        "if named is not None:",
        pytest("tests/pool/monitors/test_processes.py"),
    ),
    Mutation(
        "isolation is promised that no mechanism keeps",
        "core/placement/mechanisms.py",
        "(requirements.size.whole or capability.enforcement in ENFORCED_BY[requirements.isolation])",
        "True",
        pytest("tests/core/placement/test_mechanisms.py"),
    ),
    Mutation(
        "a lease that uses too much is never told",
        "core/lease/memory_limit.py",
        "    if lease.over_limit_since_ms is None:\n        return [e.LeaseOverLimit",
        "    if lease.over_limit_since_ms is None:\n        return [] and [e.LeaseOverLimit",
        pytest("tests/core/lease/test_memory_limit.py"),
    ),
    Mutation(
        "capacity is given back at draining",
        APPLY,
        "    lease.end_reason, lease.end_detail = event.reason, event.detail\n\n",
        "    lease.end_reason, lease.end_detail = event.reason, event.detail\n"
        "    _give_back(state, lease, lease.logical_gpu, at)\n    _take(state, lease, lease.logical_gpu, at)\n"
        "    state.devices[lease.logical_gpu.device_id].promised_bytes -= 1\n\n",
    ),
    Mutation(
        "the meter runs on while it drains",
        APPLY,
        "    meter.close_segment(state, lease, at.ms)\n    _drop_image(state, lease)\n    lease.end_reason",
        "    _drop_image(state, lease)\n    lease.end_reason",
    ),
    Mutation(
        "a resize forgets what the time before it cost",
        APPLY,
        "    meter.close_segment(state, lease, at.ms)  # at the old rate\n",
        "    lease.active_ms = meter.active_ms(lease, at.ms)\n",
    ),
    Mutation(
        "time is not ticked",
        DECIDE,
        "running = due and any(",
        "running = False and any(",
        pytest("tests/sim/test_time_and_prefixes.py"),
    ),
    Mutation(
        "any generation may report",
        "core/lease/transition.py",
        "    return lease if lease.logical_gpu.generation == generation else None",
        "    return lease",
        pytest("tests/core/test_pool.py"),
    ),
    Mutation(
        "seals are not checked",
        STORE,
        "if seq != before + 1 or _seal(seal_before, payload) != seal:",
        "if seq != before + 1:",
        pytest("tests/pool/journal/test_store.py"),
    ),
    Mutation(
        "a missing end is not noticed",
        STORE,
        "        if before < head:\n",
        "        if False:\n",
        pytest("tests/crash/test_flips.py", "-k", "wal or log"),
    ),
    Mutation(
        "an answer's seal is not checked",
        STORE,
        'if seal is not None and sha256(f"{key}\\0{lease_id}".encode()).digest() != seal:',
        "if False:",
        pytest("tests/crash/test_flips.py", "-k", "answer"),
    ),
    Mutation(
        "a snapshot's seal is not checked",
        STORE,
        "                if _seal(record_seal, payload) == seal:\n",
        "                if True:\n",
        pytest("tests/pool/journal/test_store.py"),
    ),
    Mutation(
        "the lock is shared",
        "pool/host/single_instance.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        pytest("tests/crash/test_alone.py", "-k", "twenty"),
    ),
    Mutation(
        "the disk is not synced",
        STORE,
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=OFF",
        pytest("tests/crash/test_power.py", "-k", "acknowledged"),
    ),
    Mutation(
        "the disk is synced now and then",
        STORE,
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=NORMAL",
        pytest("tests/crash/test_power.py", "-k", "acknowledged"),
    ),
    Mutation(
        "the name of the release log is not synced",
        "pool/journal/release_log.py",
        "            _sync_folder(path.parent)\n",
        "",
        pytest("tests/crash/test_power.py", "-k", "noted"),
    ),
    Mutation(
        "a lease that is held is parked for others",
        "core/scheduling/preemption.py",
        "        if wanted and lease.request.retention is Retention.YIELD and park_refusal(state, lease) is None:\n",
        "        if wanted and park_refusal(state, lease) is None:\n",
        pytest("tests/core/scheduling/test_preemption.py"),
    ),
    Mutation(
        "a lease on a device that cannot park is parked",
        "core/placement/parkability.py",
        "    if not can_park(state, lease):\n",
        "    if False:\n",
        pytest("tests/core/scheduling/test_preemption.py"),
    ),
    Mutation(
        "a kernel of which nobody knows whether it computes is taken for idle",
        "core/scheduling/preemption.py",
        "        idle = lease.reports_activity and not lease.busy\n",
        "        idle = not lease.busy\n",
        pytest("tests/core/scheduling/test_preemption.py"),
    ),
    Mutation(
        "a device is free before its lease is parked",
        APPLY,
        "    lease.park_reason, lease.migration_requested = event.reason, False\n",
        "    lease.park_reason, lease.migration_requested = event.reason, False\n"
        "    _give_back(state, lease, gpu, at)\n",
        pytest("tests/core/scheduling/test_preemption.py"),
    ),
    Mutation(
        "parked memory goes to another process",
        "core/model/entities.py",
        "        return self.image is not None and self.image.holder == self.holder and not left\n",
        "        return self.image is not None and not left\n",
        pytest("tests/core/scheduling/test_preemption.py"),
    ),
    Mutation(
        "taken for parked though memory is left on the device",
        "pool/effects/executor.py",
        "        if left:\n",
        "        if False:\n",
        pytest("tests/pool/loop/test_runtime.py"),
    ),
    Mutation(
        "parking is billed",
        APPLY,
        "    meter.close_segment(state, lease, at.ms)\n    gpu = lease.logical_gpu\n",
        "    gpu = lease.logical_gpu\n",
        pytest("tests/core/scheduling/test_preemption.py"),
    ),
    Mutation(
        "who has had more is served first",
        "core/accounting/fairshare.py",
        "    return (_used(state, books, now_ms) + ahead) / books.weight\n",
        "    return -(_used(state, books, now_ms) + ahead) / books.weight\n",
        pytest(
            "tests/core/scheduling/test_naive.py",
            "tests/core/scheduling/test_scheduler.py",
            "--hypothesis-profile",
            "no-shrinking",
        ),
    ),
    Mutation(
        "a limit is looked at only after it is passed",
        "core/accounting/fairshare.py",
        "books.held_milli + more_milli <= books.limit_milli for",
        "books.held_milli <= books.limit_milli for",
        pytest("tests/core/scheduling/test_scheduler.py"),
    ),
    Mutation(
        "what is out of service is granted",
        "core/model/entities.py",
        "self.present and not self.drained and self.scrub_pending is None and self.health is Health.HEALTHY\n",
        "self.present and self.health is Health.HEALTHY\n",
        pytest(
            "tests/core/scheduling/test_naive.py",
            "tests/core/scheduling/test_scheduler.py",
            "--hypothesis-profile",
            "no-shrinking",
        ),
    ),
    Mutation(
        "what is used within a reservation is paid for once more",
        "core/accounting/meter.py",
        "    if tenant.reserved_milli:\n        recut(state, lease.tenant, now_ms)\n    else:\n",
        "    if True:\n",
        pytest("tests/core/accounting/test_amounts.py"),
    ),
    Mutation(
        "what is used after a reservation ended is still covered",
        "core/accounting/ledger.py",
        "if one.tenant == tenant and one.runs]",
        "if one.tenant == tenant and one.began_wall_ms is not None]",
        pytest("tests/core/accounting/test_amounts.py"),
    ),
    Mutation(
        "a month turns when it is noticed",
        "core/accounting/calendar.py",
        "        ms = min(max(ms, last.ms + month.ends_wall_ms - last.wall_ms), at.ms)\n",
        "        ms = at.ms\n",
        pytest("tests/core/accounting/test_amounts.py"),
    ),
    Mutation(
        "a reservation is paid for while it does not hold yet",
        "core/accounting/reservation_coverage.py",
        "min(max(at.wall_ms, known.start_wall_ms), known.end_wall_ms)",
        "known.start_wall_ms",
        pytest("tests/core/accounting/test_reservations.py"),
    ),
    Mutation(
        "what is reserved is given to who keeps it",
        "core/scheduling/scheduler.py",
        "            elif not guard.leaves_room(lease, devices):\n",
        "            elif False:\n",
        pytest("tests/core/accounting/test_reservations.py"),
    ),
    Mutation(
        "the driver is not told what leases hold",
        "pool/loop/recovery.py",
        "    driver.adopt([",
        "    0 and driver.adopt([",
        pytest("tests/pool/devices/nvidia/test_mig_pool.py", "-k", "killed_between"),
    ),
    Mutation(
        "what somebody else made goes with the lease",
        "pool/devices/mechanisms/mig.py",
        "        if not _part(gpu).preexisting:\n",
        "        if True:\n",
        pytest("tests/pool/devices/nvidia/test_mig_pool.py", "-k", "administrator_made"),
    ),
    Mutation(
        "a partition is made where another lease has one",
        "core/placement/mig_partitions.py",
        "    there = held | {",
        "    there = {",
        pytest("tests/core/placement/test_mig_partitions.py", "-k", "mixture or overlap"),
    ),
    Mutation(
        "a partition that stands there is leased twice",
        "core/placement/mig_partitions.py",
        " and not taken & shapes[profile.name].mask(one.start):\n",
        ":\n",
        pytest("tests/core/placement/test_placer.py", "tests/core/placement/test_mig_partitions.py"),
    ),
    Mutation(
        "a lease that holds something else than its partition is not found",
        "core/lease/invariants.py",
        "    yield from _partition_violations(device, holders)\n",
        "",
        pytest("tests/core/placement/test_mig_partitions.py", "-k", "found"),
    ),
    Mutation(
        "a lease of a GPU that was divided underneath goes on",
        DECIDE,
        "device.spec.id not in shown] + switched\n",
        "device.spec.id not in shown]\n",
        pytest("tests/core/placement/test_mig_partitions.py", "-k", "switched"),
    ),
    Mutation(
        "a partition is left though its lease is over",
        "pool/devices/mechanisms/mig.py",
        "        if not _part(gpu).preexisting:\n            self._unmake(gpu)\n",
        "        pass\n",
    ),
    Mutation(
        "what a failed preparation has left is left",
        RUNTIME,
        "                if gpu.partition is not None:\n",
        "                if False:\n",
        pytest("tests/pool/loop/test_runtime.py", "-k", "preparation"),
    ),
    Mutation(
        "whatever is in a partition's place is destroyed with it",
        "pool/devices/mechanisms/mig.py",
        "            if mine:\n",
        "            if True:\n",
    ),
    Mutation(
        "a partition that somebody destroyed is not missed",
        "pool/monitors/inventory.py",
        "            if why is not None:\n",
        "            if False:\n",
    ),
    Mutation(
        "a partition is leased where another lease has lost its own",
        "core/placement/mig_partitions.py",
        " and not taken & shapes[profile.name].mask(one.start):\n",
        " and (one.profile, one.start) not in held:\n",
        pytest("tests/core/placement/test_placer.py", "-k", "before_that_is_known"),
    ),
    Mutation(
        "what could not be prepared loses its place",
        APPLY,
        "    _stand_where_it_stood(state, lease)\n    expires_ms",
        "    state.arrivals += 1\n    lease.arrival = state.arrivals\n    state.queue[lease.id] = None\n    expires_ms",
        pytest("tests/core/lease/test_preparation.py"),
    ),
    Mutation(
        "a lease is moved that nobody asked to move",
        "core/lease/migration.py",
        "        lease.migration_requested\n        and lease.state",
        "        lease.state",
        pytest("tests/core/lease/test_migration.py", "tests/core/test_pool.py"),
    ),
    Mutation(
        "a partition that its lease has left stays",
        "pool/effects/executor.py",
        "return c.ParkSucceeded(lease_id, generation, 0, await self._drain(effect))",
        "return c.ParkSucceeded(lease_id, generation, 0)",
        pytest("tests/pool/devices/nvidia/test_mig_pool.py", "-k", "not_well_moves"),
    ),
    Mutation(
        "room is made on one device and kept on another",
        "core/placement/placer.py",
        "        return found if sooner < 0 or (sooner == 0 and requirements.size.whole) else part\n",
        "        return part\n",
        pytest("tests/core/placement/test_placer.py", "-k", "room_that_is_made"),
    ),
    Mutation(
        "a lease whose budget is spent comes back",
        DECIDE,
        " if goes_on and not budgets.is_spent(lease, at.ms) else parked\n",
        " if goes_on else parked\n",
        pytest("tests/core/accounting/test_budgets.py"),
    ),
    Mutation(
        "an MPS daemon ends with the first of its leases",
        MPS,
        "if served.name == name and not served.generations:",
        "if served.name == name:",
        pytest("tests/pool/devices/nvidia/test_mps.py", "-k", "have_one_daemon_that_ends_with_the_last"),
    ),
    Mutation(
        "an MPS daemon is started again after a crash",
        MPS,
        "daemon = self._running(gpu) or self._started(gpu)",
        "daemon = self._started(gpu)",
        pytest("tests/pool/devices/nvidia/test_mps.py", "-k", "not_started_twice"),
    ),
    Mutation(
        "an MPS daemon that a crash left is left for ever",
        MPS,
        "        for folder in self._folders():\n",
        "        for folder in []:\n",
        pytest("tests/pool/devices/nvidia/test_mps.py", "-k", "nobody_noted"),
    ),
    Mutation(
        "a lease goes on whose MPS daemon ended",
        MPS,
        "return None if daemon is not None and daemon.serves else LOST",
        "return None",
        pytest("tests/pool/devices/nvidia/test_mps.py", "-k", "are_lost"),
    ),
    Mutation(
        "what is reserved is lent to what cannot give it back",
        "core/accounting/reservations.py",
        "return spec.parkable and (capability is None or capability.parkable)",
        "return spec.parkable",
        pytest("tests/core/placement/test_mechanisms.py", "-k", "not_lent"),
    ),
)  # fmt: skip


def applied(mutation: Mutation, package: Path) -> str:
    """The text of the broken module. Raises :class:`LookupError` where there is nothing to break."""
    text = (package / mutation.path).read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise LookupError(f"{mutation.name}: its piece is {text.count(mutation.old)} times in {mutation.path}")
    return text.replace(mutation.old, mutation.new)


def caught(mutation: Mutation, folder: Path) -> tuple[bool, str]:
    """Whether its test fails, and what that said; ``folder`` has a copy of the package and of the tests."""
    path = folder / PACKAGE / mutation.path
    sound = path.read_text(encoding="utf-8")
    path.write_text(applied(mutation, folder / PACKAGE), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "FASTGPU_ALONE_ROUNDS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *mutation.test],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    finally:
        path.write_text(sound, encoding="utf-8")
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(("tests.", "E  ", "Wrong"))]
    return done.returncode != 0, (said or done.stderr.splitlines()[-1:] or [""])[
        -1 if mutation.test == SIMULATOR else 0
    ]


def copy(folder: Path) -> None:
    """What a test needs."""
    without = shutil.ignore_patterns("__pycache__", "labextension", "node_modules")
    for name in (PACKAGE, "tests", "kernels"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    shutil.copy(ROOT / "pyproject.toml", folder)


def survivors(names: list[str]) -> list[str]:
    """Break one thing after the other and report each; the names of what no test found."""
    unknown = set(names) - {mutation.name for mutation in MUTATIONS}
    if unknown:
        raise SystemExit(f"There is no mutation {unknown.pop()!r}.")
    left = []
    with tempfile.TemporaryDirectory(prefix="fastgpu-mutations-") as name:
        folder = Path(name)
        copy(folder)
        for mutation in MUTATIONS:
            if names and mutation.name not in names:
                continue
            began_s = time.monotonic()
            found, said = caught(mutation, folder)
            took_s = time.monotonic() - began_s
            outcome = "caught" if found else "NOT CAUGHT"
            print(f"{outcome:<10} {took_s:5.1f} s  {mutation.name}: {said[:110]}", flush=True)  # noqa: T201
            left += [] if found else [mutation.name]
    return left


if __name__ == "__main__":
    sys.exit(1 if survivors(sys.argv[1:]) else 0)
