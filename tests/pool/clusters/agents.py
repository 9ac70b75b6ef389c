"""Agents for tests: real agent processes, which connect to a rendezvous in the process of the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fastgpu_jupyter.pool.clusters import agent
from fastgpu_jupyter.pool.clusters.agent_messages import AgentBeat, AgentHello, KernelStart, KernelStarted
from fastgpu_jupyter.pool.clusters.rendezvous import Rendezvous
from tests.waiting import async_wait_until

NAME = "fgpu-0123abcd-lease1-1"
KEY = "7e57" * 8
#: What a process of an agent gets beside what a test sets: nothing of the environment of the tests.
PATH = os.environ["PATH"]
#: A program that stands for a kernel; see it for the words that may follow.
SMALL_KERNEL = (
    sys.executable,
    "-I",
    "-S",
    str(Path(__file__).with_name("small_kernel.py")),
    "{connection_file}",
    "facts",
)
IPYKERNEL = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


class Recorder:
    """The events of a rendezvous, in the order in which they came."""

    def __init__(self) -> None:
        self.hellos: list[tuple[str, AgentHello]] = []
        self.beats: list[tuple[str, AgentBeat]] = []
        self.exits: list[tuple[str, int, str]] = []
        self.gone: list[str] = []
        self.byes: list[tuple[str, str]] = []

    def on_hello(self, name: str, hello: AgentHello) -> None:
        """Record a hello."""
        self.hellos.append((name, hello))

    def on_beat(self, name: str, beat: AgentBeat) -> None:
        """Record a beat."""
        self.beats.append((name, beat))

    def on_exit(self, name: str, code: int, output: str) -> None:
        """Record the end of a kernel."""
        self.exits.append((name, code, output))

    def on_gone(self, name: str) -> None:
        """Record that an agent is silent."""
        self.gone.append(name)

    def on_bye(self, name: str, reason: str) -> None:
        """Record that an agent ends."""
        self.byes.append((name, reason))


class Cluster:
    """A rendezvous with its folder, and the agents that were started for it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.events = Recorder()
        self._options = {"addresses": ["127.0.0.1"], "orphan_after_s": 60.0, **options}
        self._tasks: list[asyncio.Task[None]] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.rendezvous: Rendezvous

    async def open(self, **options: Any) -> Rendezvous:
        """Open a rendezvous, as a pool manager does at its start."""
        self._options.update(options)
        self.rendezvous = Rendezvous(self.folder / "agents", self.events, **self._options)
        await self.rendezvous.open()
        self._tasks = [asyncio.create_task(self._repeat(step)) for step in self.rendezvous.steps().values()]
        return self.rendezvous

    async def close(self) -> None:
        """Close the rendezvous, as the end of a pool manager does; the agents live on."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        self.rendezvous.close()
        assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended

    @staticmethod
    async def _repeat(step: Callable[[], Any]) -> None:
        while True:
            await step()

    def program(self) -> Path:
        """Return the file with the source of the agent."""
        program = self.folder / "agent.py"
        program.write_text(agent.source(), encoding="utf-8")
        return program

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a job."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {"PATH": PATH, "HOME": str(self.folder), "TMPDIR": str(temporary), **more}

    def run_agent(
        self, spec: bytes, environ: Mapping[str, str] | None = None, *, python: str = sys.executable, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Start the process of an agent as a job script does."""
        process = subprocess.Popen(
            [python, "-s", str(self.program())],
            stdin=subprocess.PIPE,
            env=self.environ(environ or {}),
            cwd=self.folder,
            **options,
        )
        assert process.stdin is not None
        process.stdin.write(spec)
        process.stdin.close()
        self.processes.append(process)
        return process

    async def agent(self, name: str = NAME, environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start an agent for a new job, and return when it has introduced itself."""
        process = self.run_agent(self.rendezvous.expect(name), environ)
        await self.heard(lambda: any(name == each for each, _ in self.events.hellos), f"the agent of {name} is there")
        return process

    def start(self, name: str = NAME, **values: Any) -> Awaitable[KernelStarted]:
        """Start a kernel of ipykernel, or what ``values`` say."""
        given: dict[str, Any] = {"argv": IPYKERNEL, "env": {}, "cwd": str(self.folder), "key": KEY, **values}
        return self.rendezvous.start(name, KernelStart(**given))

    async def heard(self, condition: Callable[[], Any], what: str) -> None:
        """Wait for a condition of the events."""
        await async_wait_until(condition, what)

    def end(self) -> None:
        """End every agent that is left."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextlib.asynccontextmanager
async def cluster_in(folder: Path, **options: Any) -> AsyncIterator[Cluster]:
    """Yield an open rendezvous in ``folder``; end it and its agents."""
    cluster = Cluster(folder, **options)
    await cluster.open()
    try:
        yield cluster
    finally:
        await cluster.close()
        cluster.end()


def facts_of(cluster: Cluster) -> dict[str, Any]:
    """Return what the small kernel wrote last."""
    found: dict[str, Any] = json.loads((cluster.folder / "facts").read_bytes())
    return found
