"""Power cuts after which any part of what was not synced is lost (see :mod:`.power`); what was acknowledged is kept.

``FASTGPU_POWER_CUTS`` sets how many (10000 in a night), ``FASTGPU_POWER_SEED`` draws others.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.core.model.entities import EndReason
from fastgpu_jupyter.errors import FastGPUError
from fastgpu_jupyter.pool.devices.simulated import SimulatedDriver
from fastgpu_jupyter.pool.host.clock import SystemClock
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog
from fastgpu_jupyter.pool.journal.store import Journal
from fastgpu_jupyter.pool.loop.recovery import recover
from fastgpu_jupyter.pool.monitors.inventory import DriverAtStartup
from fastgpu_jupyter.wire.client import new_token
from fastgpu_jupyter.wire.locate import user_state_dir
from tests.compiled import session_compiler
from tests.crash import power
from tests.helpers import PoolProcess

CUTS = int(os.environ.get("FASTGPU_POWER_CUTS", "150"))
SEED = int(os.environ.get("FASTGPU_POWER_SEED", "20261122"))
DEVICES = "2xA100-80GB"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + CUTS // 5)]


@pytest.fixture(scope="session")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library that logs what a process does to its files."""
    name = "power_cut.so"
    source = Path(__file__).with_name("power_cut.c")
    flags = ("-fvisibility=default", "-ldl", "-lpthread")
    return session_compiler(tmp_path_factory).library("power", name, [source], *flags) / name


def recorded(recorder: Path, folder: Path, log: Path) -> dict[str, str]:
    """Return the environment in which the operations of a process are logged."""
    return {"LD_PRELOAD": str(recorder), "FASTGPU_POWER_FOLDER": str(folder), "FASTGPU_POWER_LOG": str(log)}


def cuts(log: Path, folder: Path) -> Iterator[tuple[int, list[str], Path]]:
    """Yield power cuts at random instants: the instant, what was acknowledged by then, and the folder that is left."""
    rng = random.Random(SEED)
    disk, acknowledged = power.Disk(), list[str]()
    steps = list(power.read_log(log))
    first = next(number for number, operation in enumerate(steps) if operation.kind == power.ACKNOWLEDGED)
    instants = sorted(rng.randint(first, len(steps) - 1) for _ in range(CUTS))
    for number, operation in enumerate(steps):
        if operation.kind == power.ACKNOWLEDGED:
            acknowledged.append(operation.name)
        else:
            disk.apply(operation)
        while instants and instants[0] == number:
            left = folder / f"cut-{len(instants)}"
            disk.cut_power(rng, left)
            yield instants.pop(0), acknowledged, left
            shutil.rmtree(left)


def write_much(pool: PoolProcess, log: Path, count: int, life: int) -> None:
    """Send so many commands that the log of the journal is written back several times."""
    for number in range(count):
        key = f"key-{life}-{number}"
        lease_id = pool.client.request("eighth", token=new_token(), key=key)["id"]
        power.acknowledge(log, f"granted {lease_id} {key}")
        if number % 4:
            pool.client.release(lease_id)
            power.acknowledge(log, f"released {lease_id} -")


def test_acknowledged_commands_survive_a_power_cut(
    recorder: Path, isolated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = tmp_path / "power.log", user_state_dir()
    pool = PoolProcess(isolated, DEVICES)
    try:
        for life in range(2):  # the first stops normally, which removes the log of the journal
            with monkeypatch.context() as patch:
                for name, value in recorded(recorder, folder, log).items():
                    patch.setenv(name, value)
                pool.start()
            write_much(pool, log, 30, life)
            (pool.kill if life else pool.end)()
    finally:
        pool.end()
    (tmp_path / "cuts").mkdir()
    lost = [
        f"cut at {at}: {why}"
        for at, acknowledged, left in cuts(log, tmp_path / "cuts")
        if (why := find_loss(left, acknowledged))
    ]
    assert not lost, f"seed {SEED}: {len(lost)} of {CUTS}: {lost[:5]}"


def find_loss(folder: Path, acknowledged: list[str]) -> str | None:
    """Return what the next pool manager has lost of ``acknowledged``, or why it does not start; else ``None``."""
    try:
        journal, release_log = Journal(folder / "journal.db"), PreallocatedReleaseLog(folder / "releases.preallocated")
        pool, _ = recover(journal, DriverAtStartup(SimulatedDriver(DEVICES, {})), SystemClock(), release_log)
        answered = set(journal.answers.lease_ids().values())
        journal.close()
        release_log.close()
    except FastGPUError as error:
        return str(error)
    for what, lease_id, key in (one.split() for one in acknowledged):
        lease = pool.state.leases.get(lease_id)
        if lease is None:
            return f"{what} {lease_id}, and it is not there"
        if what == "granted" and lease_id not in answered:
            return f"asked for {lease_id} with {key}, which is not there"
        if what == "released" and lease.end_reason not in {EndReason.RELEASED, EndReason.CANCELLED}:
            return f"released, and it is {lease.state}"
    return None


NOTE = """
import sys
from pathlib import Path
from fastgpu_jupyter.core.model.entities import EndReason, Instant
from fastgpu_jupyter.pool.journal.release_log import PreallocatedReleaseLog, Release
from tests.crash import power
release_log = PreallocatedReleaseLog(Path(sys.argv[1]) / "releases.preallocated")
for number in range(20):
    release_log.note(Release(f"lease-{number}", EndReason.RELEASED, Instant(number, number)))
    power.acknowledge(Path(sys.argv[2]), f"lease-{number}")
"""


def test_noted_release_survives_a_power_cut(recorder: Path, tmp_path: Path) -> None:
    log, folder = tmp_path / "power.log", tmp_path / "state"
    folder.mkdir()
    environment = {**os.environ, **recorded(recorder, folder, log)}
    subprocess.run([sys.executable, "-c", NOTE, folder, log], env=environment, check=True, timeout=60)
    (tmp_path / "cuts").mkdir()
    for at, acknowledged, left in cuts(log, tmp_path / "cuts"):
        release_log = PreallocatedReleaseLog(left / "releases.preallocated")
        found = [release.lease_id for release in release_log.read()]
        release_log.close()
        assert found[: len(acknowledged)] == acknowledged, f"seed {SEED}, cut at {at}"


ARCHIVE = """
import sys
from pathlib import Path
from fastgpu_jupyter.core.model.entities import Instant
from fastgpu_jupyter.core.model.events import PoolStarted
from fastgpu_jupyter.pool.journal import archive, store
from fastgpu_jupyter.pool.journal.store import Entry, Journal
from tests.crash import power
store.PART_RECORDS, archive.FILE_BYTES_MAX = 4, 1000
journal = Journal(Path(sys.argv[1]) / "journal.db")
for number in range(1, 61):
    journal.append([Entry(Instant(number, number), [PoolStarted(f"boot-{number}", number)])])
    power.acknowledge(Path(sys.argv[2]), str(number))
    if number % 7 == 0:
        journal.snapshot(b"{}")
        while journal.archive_part():
            pass
"""


def test_archived_records_survive_a_power_cut(recorder: Path, tmp_path: Path) -> None:
    log, folder = tmp_path / "power.log", tmp_path / "state"
    folder.mkdir()
    environment = {**os.environ, **recorded(recorder, folder, log)}
    subprocess.run([sys.executable, "-c", ARCHIVE, folder, log], env=environment, check=True, timeout=60)
    (tmp_path / "cuts").mkdir()
    cut_with_archive = 0
    for at, acknowledged, left in cuts(log, tmp_path / "cuts"):
        journal = Journal(left / "journal.db")
        try:
            found = [event.clock_epoch_ms for record in journal.history() for event in record.events]  # type: ignore[union-attr]
        except FastGPUError as error:
            raise AssertionError(f"seed {SEED}, cut at {at}: {error}") from error
        finally:
            journal.close()
        assert found[: len(acknowledged)] == list(range(1, len(acknowledged) + 1)), f"seed {SEED}, cut at {at}"
        cut_with_archive += any(left.glob("journal.db-archive-*"))
    assert cut_with_archive > CUTS // 2
