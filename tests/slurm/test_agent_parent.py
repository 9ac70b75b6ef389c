"""An agent in a job of a real Slurm: what it is given there, and the death of Slurm's own process of the job."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from fastgpu_jupyter.core.model.entities import ClusterRequest
from fastgpu_jupyter.pool.clusters import agent
from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Ended, Want
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from tests.pool.clusters.agents import NAME, SMALL_KERNEL, cluster_in
from tests.slurm.cluster import SlurmCluster
from tests.waiting import async_wait_until

pytestmark = pytest.mark.slow


def test_agent_whose_slurmstepd_is_killed_gives_the_job_back(slurm: SlurmCluster, tmp_path: Path) -> None:
    """Slurm itself does not notice it for minutes, in which the kernel would go on computing."""
    engine = SlurmEngine()

    async def story() -> None:
        async with cluster_in(tmp_path) as cluster:
            spec = AgentSpec(agent.source(), cluster.rendezvous.expect(NAME))
            want = Want(1, ("a100",), options=ClusterRequest())
            job = await asyncio.to_thread(engine.submit, want, spec, NAME)
            await cluster.heard(lambda: cluster.events.hellos, "the agent is there")
            hello = cluster.events.hellos[0][1]
            assert (hello.job_id, hello.host) == (job, "n1")
            started = await cluster.start(argv=(*SMALL_KERNEL[:-1], str(tmp_path / "facts")), cwd="/")
            stepd = psutil.Process(hello.pid).parent()
            assert stepd is not None
            assert stepd.name() == "slurmstepd"
            stepd.kill()
            await cluster.heard(lambda: cluster.events.byes == [(NAME, "lost")], "the agent says why it ends")
            await async_wait_until(lambda: not psutil.pid_exists(started.pid), "the kernel has ended")
            await async_wait_until(lambda: not psutil.pid_exists(hello.pid), "the agent has ended")
            await asyncio.to_thread(engine.cancel, job)
            await async_wait_until(
                lambda: isinstance(engine.statuses([job])[job], Ended), "Slurm has ended what is left of the job"
            )

    asyncio.run(story())
