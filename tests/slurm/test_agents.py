"""Agents in jobs of a real Slurm: what they are given there, and what makes them give their job back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import psutil
import pytest
import zmq

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.pool.clusters import agent
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from tests.pool.clusters.agents import NAME, SMALL_KERNEL, cluster_in
from tests.slurm.cluster import SlurmCluster
from tests.waiting import async_wait_until

pytestmark = pytest.mark.slow
ORPHAN, REFUSED = f"{NAME[:-1]}2", f"{NAME[:-1]}3"
#: How long these agents wait for a pool manager: two beats.
ORPHAN_AFTER_S = 4.0


def test_agents_that_lose_slurmstepd_or_pool_manager_or_have_a_wrong_token_give_their_jobs_back(
    slurm: SlurmCluster, tmp_path: Path
) -> None:
    engine = SlurmEngine()

    async def submit(spec: bytes, name: str, model: str = "a100") -> str:
        want = Want(1, (model,), options=ClusterRequest())
        return await asyncio.to_thread(engine.submit, want, AgentSpec(agent.source(), spec), name)

    async def until_ended(job: str) -> None:
        await async_wait_until(lambda: isinstance(engine.statuses([job])[job], Ended), "Slurm has ended the job")

    async def story() -> None:
        async with cluster_in(tmp_path, orphan_after_s=ORPHAN_AFTER_S) as cluster:
            # The token of another pool manager.
            wrong = {**json.loads(cluster.rendezvous.expect(REFUSED)), "token": zmq.curve_keypair()[1].decode()}
            refused = await submit(json.dumps(wrong).encode(), REFUSED, "h100")
            jobs = {name: await submit(cluster.rendezvous.expect(name), name) for name in (NAME, ORPHAN)}
            await cluster.heard(lambda: len(cluster.events.hellos) == len(jobs), "both agents are there")
            hellos = dict(cluster.events.hellos)
            assert {name: hello.job_id for name, hello in hellos.items()} == jobs
            assert {hello.host for hello in hellos.values()} == {"n1"}
            started = {
                name: await cluster.start(name, argv=(*SMALL_KERNEL[:-1], str(tmp_path / name)), cwd="/")
                for name in jobs
            }

            # Slurm itself does not notice for minutes that its process is gone, and the kernel would go on computing.
            stepd = psutil.Process(hellos[NAME].pid).parent()
            assert stepd is not None
            assert stepd.name() == "slurmstepd"
            stepd.kill()
            await cluster.heard(lambda: cluster.events.byes == [(NAME, "lost")], "the agent says why it ends")
            await async_wait_until(lambda: not psutil.pid_exists(started[NAME].pid), "its kernel has ended")
            await async_wait_until(lambda: not psutil.pid_exists(hellos[NAME].pid), "it has ended")
            await asyncio.to_thread(engine.cancel, jobs[NAME])
            await until_ended(refused)
            assert cluster.rendezvous.dropped["unknown_token"] >= 1
            assert dict(cluster.events.hellos).keys() == jobs.keys()
            assert psutil.pid_exists(started[ORPHAN].pid)
        # Without a pool manager the allocation is given back, and the kernel ends.
        await until_ended(jobs[ORPHAN])
        assert not psutil.pid_exists(started[ORPHAN].pid)
        await until_ended(jobs[NAME])
        assert await asyncio.to_thread(slurm.run, "squeue", "-h") == ""

    asyncio.run(story())
