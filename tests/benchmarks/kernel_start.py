"""What FastGPU costs a kernel: launch to first reply, and the round trip of an empty cell, beside plain ipykernel.

Both kernels are measured in one run and in turns, so that what else the machine does meets both alike. The GPU is
granted at once, by a pool of simulated devices in a folder of its own.

    python tests/benchmarks/kernel_start.py [--starts N] [--cells N] [--json FILE] [--check]

``--check`` ends with status 1 where FastGPU's median is more than 1.10 times plain ipykernel's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
LIMIT = 1.10
NAMES = ("python3", "fastgpu")
DEADLINE_S = 30.0


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=15, help="starts of each kernel")
    parser.add_argument("--cells", type=int, default=300, help="empty cells on each kernel")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--check", action="store_true", help="fail where FastGPU is more than 1.10 times as slow")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fastgpu-bench-") as folder:
        isolate(Path(folder))
        pool = start_pool(Path(folder))
        try:
            figures = {
                "launch_to_first_reply_s": measure_starts(options.starts),
                "empty_cell_round_trip_s": measure_cells(options.cells),
            }
        finally:
            pool.terminate()
            pool.wait()
    report = {name: summary(samples) for name, samples in figures.items()}
    print(table(report))  # noqa: T201 (its purpose)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    slow = [name for name, row in report.items() if row["ratio"] > LIMIT]
    if options.check and slow:
        said = f"More than {LIMIT:.2f} times plain ipykernel: {', '.join(slow)}"
        print(said, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def isolate(folder: Path) -> None:
    """Let Jupyter and the pool use ``folder`` only."""
    for name in ("DATA", "RUNTIME", "CONFIG"):
        (folder / name).mkdir(mode=0o700)
        os.environ[f"JUPYTER_{name}_DIR"] = str(folder / name)
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    for name in [name for name in os.environ if name.startswith("FASTGPU_")]:
        del os.environ[name]
    shutil.copytree(ROOT / "kernels" / "fastgpu", folder / "DATA" / "kernels" / "fastgpu")


def start_pool(folder: Path) -> subprocess.Popen[bytes]:
    """A pool with four simulated devices, once it answers."""
    from fastgpu_jupyter.errors import PoolUnreachable
    from fastgpu_jupyter.wire.client import PoolClient
    from fastgpu_jupyter.wire.locate import user_socket

    with (folder / "pool.out").open("wb") as out:
        command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "--simulate", "4xA100-80GB"]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            PoolClient(user_socket()).health()
            return process
        except PoolUnreachable:
            if time.monotonic() > deadline or process.poll() is not None:
                raise
            time.sleep(0.02)


class Running:
    """A kernel and the time from its launch to its first reply."""

    def __init__(self, name: str) -> None:
        from jupyter_client.manager import KernelManager

        self.manager = KernelManager(kernel_name=name)
        began = time.perf_counter()
        self.manager.start_kernel(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.cell()
        self.start_s = time.perf_counter() - began

    def cell(self) -> float:
        """Seconds from sending a cell that does nothing to its reply; one without code would not pass the gate."""
        began = time.perf_counter()
        msg_id = self.client.execute("pass")
        while True:
            reply: dict[str, Any] = self.client.get_shell_msg(timeout=DEADLINE_S)
            if reply["parent_header"].get("msg_id") == msg_id:
                break
        took = time.perf_counter() - began
        assert reply["content"]["status"] == "ok", reply
        return took

    def drain(self) -> None:
        """Read the other output, so that no queue grows."""
        while self.client.iopub_channel.msg_ready():
            self.client.get_iopub_msg(timeout=1)

    def end(self) -> None:
        """Shut it down."""
        self.client.stop_channels()
        self.manager.shutdown_kernel()


def measure_starts(count: int) -> dict[str, list[float]]:
    """Launch to first reply; the first of each is a warm-up and does not count."""
    samples: dict[str, list[float]] = {name: [] for name in NAMES}
    for turn in range(count + 1):
        for name in NAMES if turn % 2 else reversed(NAMES):
            kernel = Running(name)
            kernel.end()
            if turn:
                samples[name].append(kernel.start_s)
    return samples


def measure_cells(count: int) -> dict[str, list[float]]:
    """Round trips of empty cells, one on each kernel in turn."""
    kernels = {name: Running(name) for name in NAMES}
    samples: dict[str, list[float]] = {name: [] for name in NAMES}
    for turn in range(count + 20):
        for name in NAMES if turn % 2 else reversed(NAMES):
            took = kernels[name].cell()
            kernels[name].drain()
            if turn >= 20:
                samples[name].append(took)
    for kernel in kernels.values():
        kernel.end()
    return samples


def summary(samples: dict[str, list[float]]) -> dict[str, Any]:
    """Medians, spread and the ratio that is limited."""
    row: dict[str, Any] = {}
    for name, values in samples.items():
        quartiles = statistics.quantiles(values, n=4)
        row[name] = {"median": statistics.median(values), "q1": quartiles[0], "q3": quartiles[2], "n": len(values)}
    row["ratio"] = row["fastgpu"]["median"] / row["python3"]["median"]
    return row


def table(report: dict[str, dict[str, Any]]) -> str:
    """The figures for people, in milliseconds."""
    lines = [f"{'milliseconds: median (quartiles)':<34}{'python3':>24}{'fastgpu':>24}{'ratio':>8}"]
    for name, row in report.items():
        cells = [f"{r['median'] * 1e3:.1f} ({r['q1'] * 1e3:.1f}-{r['q3'] * 1e3:.1f})" for r in map(row.get, NAMES) if r]
        lines.append(f"{name.removesuffix('_s').replace('_', ' '):<34}{cells[0]:>24}{cells[1]:>24}{row['ratio']:>8.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
