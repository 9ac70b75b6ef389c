"""Measure kernels in jobs of a real Slurm: how long one takes to start, and what it costs the Jupyter server.

    python tests/benchmarks/cluster_start.py [--starts N] [--leases N] [--json FILE] [--check]

It needs Slurm's programs (``.ci/slurm``) and an environment in which the project is installed, and starts a Slurm of
its own on this host. Three things alternate in one run, so that what else the machine does meets all alike:

* ``slurm``: from the launch of a kernel on a node, through a kernel manager, to its reply to the first cell;
* ``sbatch``: a bare ``sbatch`` of the same script and options, until the first line of its output, which its program
  writes before it does anything else;
* ``python3``: a cold start of the plain kernel on this host, from its launch to its first reply.

Slurm's controller starts jobs once in a second, so that a job waits for up to a second, whatever submits it. The
starts of ``slurm`` and ``sbatch`` are therefore spread evenly over a second of the clock, both over the same one:
begun at any moment, for example when the job before has left, one of them would meet a shorter wait than the other.

Then a Jupyter server starts kernels on nodes one by one, each with a session and an open websocket; its memory (PSS) is
compared after the first two, which load what all share, and after all.

``--check`` ends with status 1 where ``slurm`` takes more than 1.3 times as long as ``sbatch`` and ``python3`` together,
or the server grows by more than 1 MB per lease.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from fastgpu_jupyter.core.model.entities import ClusterRequest  # noqa: E402 (the path comes first)
from fastgpu_jupyter.pool.clusters.agent import source  # noqa: E402
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Want  # noqa: E402
from fastgpu_jupyter.pool.clusters.slurm import script  # noqa: E402
from fastgpu_jupyter.wire.host_memory import proportional_bytes  # noqa: E402
from tests.benchmarks.kernel_start import STOCK, Kernels, alternate, spread  # noqa: E402
from tests.conftest import isolate  # noqa: E402
from tests.helpers import PoolProcess, ServerProcess  # noqa: E402
from tests.server.kernel_socket import kernel_socket  # noqa: E402
from tests.slurm.cluster import NODES, SlurmCluster  # noqa: E402
from tests.waiting import DEADLINE_S, wait_until  # noqa: E402

SLURM, SBATCH = "slurm", "sbatch"
KERNEL, MODEL = "fastgpu-on-node", "a100"
RATIO_MAX, BYTES_PER_LEASE_MAX = 1.3, 1e6
#: Leases after which the server has loaded what all share.
FIRST_LEASES = 2


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=20, help="starts of each kind")
    parser.add_argument("--leases", type=int, default=10, help="kernels of the server")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    parser.add_argument("--check", action="store_true", help="fail where a figure is above its limit")
    options = parser.parse_args()
    with environment(options.leases) as (folder, cluster):
        samples = asyncio.run(starts(folder, cluster, options.starts))
        per_lease = growth(folder, options.leases)
    ratio = statistics.median(samples[SLURM]) / sum(statistics.median(samples[name]) for name in (SBATCH, STOCK))
    print(*(f"{name:8} {spread(taken)}" for name, taken in samples.items()), sep="\n")  # noqa: T201 (its purpose)
    print(f"{SLURM} / ({SBATCH} + {STOCK}): {ratio:.2f} (at most {RATIO_MAX})")  # noqa: T201
    print(f"server: {per_lease / 1e6:.2f} MB per lease (at most {BYTES_PER_LEASE_MAX / 1e6:.0f})")  # noqa: T201
    if options.json:
        figures = {"samples": samples, "ratio": ratio, "bytes_per_lease": per_lease}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(options.check and (ratio > RATIO_MAX or per_lease > BYTES_PER_LEASE_MAX))


@contextlib.contextmanager
def environment(leases: int) -> Iterator[tuple[Path, SlurmCluster]]:
    """A folder with an isolated Jupyter, and a Slurm with room for ``leases``, whose pool serves meanwhile."""
    node = {"n1": ({MODEL: leases}, 0)}
    with contextlib.ExitStack() as cleanup:
        cleanup.enter_context(mock.patch.dict(NODES, node))
        folder = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="fastgpu-bench-")))
        patch = cleanup.enter_context(pytest.MonkeyPatch.context())
        isolate(folder, patch)
        cluster = SlurmCluster()
        cleanup.callback(cluster.stop)
        cluster.start()
        for name, value in cluster.environment.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT))
        write_kernelspec(folder)
        pool = PoolProcess(folder, "")
        cleanup.callback(pool.end)
        pool.start("--FastGPUPool.cluster=slurm")
        yield folder, cluster


def write_kernelspec(folder: Path) -> None:
    """Install FastGPU's kernelspec for one GPU of a node, which runs this checkout."""
    kernels = folder / "data" / "kernels"
    spec = json.loads((kernels / "fastgpu" / "kernel.json").read_text())
    spec["env"] = {"PYTHONPATH": str(ROOT)}
    spec["metadata"]["fastgpu"]["profile"] = MODEL
    (kernels / KERNEL).mkdir()
    (kernels / KERNEL / "kernel.json").write_text(json.dumps(spec))


# -- starts ------------------------------------------------------------------------------------------------------------


async def starts(folder: Path, cluster: SlurmCluster, count: int) -> dict[str, Any]:
    """The seconds of each start, by kind."""
    kernels = Kernels(standby=False)
    moments = {name: itertools.cycle(number / count for number in range(count)) for name in (SLURM, SBATCH)}

    async def in_job() -> float:
        until_empty(cluster)
        await until_moment(next(moments[SLURM]))
        return await kernels.timed(KERNEL)

    async def bare() -> float:
        until_empty(cluster)
        await until_moment(next(moments[SBATCH]))
        return bare_job(folder)

    async def stock() -> float:
        until_empty(cluster)
        return await kernels.timed("python3")

    try:
        return await alternate(count, {SLURM: in_job, SBATCH: bare, STOCK: stock})
    finally:
        await kernels.end()


def until_empty(cluster: SlurmCluster) -> None:
    """Wait until no job is left: one that ends keeps the controller busy."""
    wait_until(lambda: not cluster.run("squeue", "-h"), "no job is left")


async def until_moment(fraction: float) -> None:
    """Wait until that fraction of a second of the clock is over."""
    await asyncio.sleep((fraction - time.time()) % 1.0)


def bare_job(folder: Path) -> float:
    """The seconds from ``sbatch`` to the first line that its job writes; the job then ends, as its spec is empty."""
    future, _, rest = source().partition("\n")
    agent = AgentSpec(f"{future}\nprint('begins', flush=True)\n{rest}", b"{}")
    text = script.job_script(agent, "bare", f"{sys.executable} -P")
    want = Want(1, (MODEL,), options=ClusterRequest())
    output = folder / f"bare-{time.monotonic_ns()}"
    options = [*script.job_options("bare"), *script.resource_options(want, f"gpu:{MODEL}:1"), f"--output={output}"]
    began = time.perf_counter()
    subprocess.run(["sbatch", *options], input=text, text=True, check=True, stdout=subprocess.DEVNULL)
    while not (output.exists() and output.read_text().startswith("begins")):
        time.sleep(0.001)
        assert time.perf_counter() - began < DEADLINE_S, "the job writes nothing"
    return time.perf_counter() - began


# -- memory ------------------------------------------------------------------------------------------------------------


def growth(folder: Path, leases: int) -> float:
    """The bytes by which a server grows for each kernel on a node beyond the first ones."""
    server = ServerProcess(folder)
    with contextlib.ExitStack() as sockets:
        try:
            server.start()
            memory = []
            for number in range(leases):
                session = server.start_session(f"{number}.ipynb", KERNEL)
                socket = sockets.enter_context(kernel_socket(server, session["kernel"]["id"], "browser"))
                socket.run("1")
                memory.append(memory_of(server))
            return (memory[-1] - memory[FIRST_LEASES - 1]) / (leases - FIRST_LEASES)
        finally:
            server.close_sessions()
            server.end()


def memory_of(server: ServerProcess) -> int:
    """The memory of the server's process alone."""
    found = proportional_bytes(server.pid)
    assert found is not None, "only its user may read it"
    return found


if __name__ == "__main__":
    sys.exit(main())
