"""How much the journal grows: by leases that are requested and released, and by one user who toggles ``pin``.

``python -m tests.benchmarks.storage`` prints the figures; ``--check`` fails beyond the targets. The pool manager is a
process of its own with simulated devices, in a folder that is removed.

Measured for 10,000 leases: 14.6 MiB; 0.8 MiB of it is the archive, which alone grows on. The rest is bounded: records
since the last snapshots, the answers of a day, and leases that ended within the hour. Before the archive it was
27.9 MiB, without a bound. Toggling ``pin`` is refused after 50,000 changes, which is 12 MB a day; it was 10 to 27 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

MIB = 2**20
#: What 10,000 leases may add to the state folder.
CYCLES_MIB_MAX = 16.0
#: What one user may add to it in a day.
TOGGLES_GB_MAX = 0.1


def folder_mib(folder: Path) -> dict[str, float]:
    """Return the size of the journal, its log and its archive in the state folder, in MiB."""
    sizes: dict[str, float] = {}
    for file in folder.iterdir():
        if file.name.startswith("journal.db") and not file.name.endswith("-shm"):
            kind = next((kind for kind in ("wal", "archive") if f"-{kind}" in file.name), "journal")
            sizes[kind] = sizes.get(kind, 0.0) + file.stat().st_size / MIB
    return {kind: round(mib, 2) for kind, mib in sizes.items()}


def in_threads(count: int, job: Callable[[int], None]) -> float:
    """Run ``job`` with each number below ``count`` in a thread of its own; return the seconds that it took."""
    began_s = time.monotonic()
    threads = [threading.Thread(target=job, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began_s


def measure(cycles: int, toggles: int) -> dict[str, object]:
    """Return the figures of a pool manager with so many leases, and of one with so many toggles."""
    from fastgpu_jupyter.errors import FastGPUError, LimitReached
    from fastgpu_jupyter.wire.client import PoolClient, new_token
    from fastgpu_jupyter.wire.locate import user_socket, user_state_dir

    def start() -> subprocess.Popen[bytes]:
        limits = ["--Limits.requests_per_s_per_tenant=100000"]
        command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "--simulate=8xA100-80GB", *limits]
        pool = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        client = PoolClient(user_socket())
        while True:
            try:
                client.health()
                return pool
            except FastGPUError:
                if pool.poll() is not None:
                    raise
                time.sleep(0.05)

    def cycle(_: int) -> None:
        client = PoolClient(user_socket(), timeout_s=60)
        for _ in range(cycles // 4):
            client.release(client.request("eighth", token=new_token())["id"])

    figures: dict[str, object] = {}
    pool = start()
    try:
        seconds = in_threads(4, cycle)
        figures["cycles"] = {"leases": cycles, "seconds": round(seconds), "mib": folder_mib(user_state_dir())}
    finally:
        pool.terminate()
        pool.wait()
    figures["cycles, after a stop"] = {"mib": folder_mib(user_state_dir())}
    before = sum(folder_mib(user_state_dir()).values())
    pool = start()
    refused: list[int] = []
    try:
        lease_id = PoolClient(user_socket(), timeout_s=60).request("eighth", token=new_token())["id"]

        def toggle(thread: int) -> None:
            client = PoolClient(user_socket(), timeout_s=60)
            for number in range(toggles // 4):
                try:
                    client.pin(lease_id, pinned=(number + thread) % 2 == 0)
                except LimitReached:
                    refused.append(number)
                    return

        seconds = in_threads(4, toggle)
        grown = sum(folder_mib(user_state_dir()).values()) - before
        gib_a_day = grown / 1024 * (1 if refused else 86_400 / seconds)
        figures["toggles"] = {
            "made": toggles, "refused": bool(refused), "seconds": round(seconds),
            "mib": folder_mib(user_state_dir()), "gb_a_day": round(gib_a_day * 1.0737, 3),
        }  # fmt: skip
    finally:
        pool.terminate()
        pool.wait()
    return figures


def main() -> int:
    """Print the figures as JSON; with ``--check`` return 1 beyond the targets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--toggles", type=int, default=60_000)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            os.environ[name] = f"{folder}/{name}"
        figures = measure(options.cycles, options.toggles)
    print(json.dumps(figures, indent=1))  # noqa: T201 (the result)
    if not options.check:
        return 0
    cycles, toggles = figures["cycles"], figures["toggles"]
    assert isinstance(cycles, dict)
    assert isinstance(toggles, dict)
    return int(sum(cycles["mib"].values()) > CYCLES_MIB_MAX or toggles["gb_a_day"] > TOGGLES_GB_MAX)


if __name__ == "__main__":
    sys.exit(main())
