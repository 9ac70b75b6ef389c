"""A second machine for tests: a network namespace with a link to this one, a firewall, and a clock of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fastgpu_jupyter.pool.clusters.engine import AgentSpec, Want
from fastgpu_jupyter.pool.clusters.fake import FakeEngine

_NUMBERS = itertools.count(os.getpid() % 200)
#: Where Debian has the library that shows a program another time.
_FAKETIME = tuple(f"/usr/lib/{name}-linux-gnu/faketime/libfaketime.so.1" for name in ("x86_64", "aarch64"))
#: What an agent's process runs first: it moves to the other machine, and begins there with the other clock.
_MOVE = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).setns(os.open("/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC), {flag:#x}):
    raise OSError(ctypes.get_errno(), "setns")
os.execve(sys.executable, [sys.executable, "-P", "-c", {source!r}], {{**os.environ, **{environ!r}}})
"""
_CLONE_NEWNET = 0x40000000


class SecondMachine:
    """The machine at :attr:`address`; this one is at :attr:`here` for it."""

    def __init__(self) -> None:
        number = next(_NUMBERS) % 250
        self.name = f"fgpu-{os.getpid()}-{number}"
        self.here, self.address = f"10.231.{number}.1", f"10.231.{number}.2"
        self._link = f"fg{os.getpid() % 100000}x{number}"
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self._link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            ip("addr", "add", f"{self.here}/30", "dev", self._link)
            ip("link", "set", self._link, "up")
            self.ip("addr", "add", f"{self.address}/30", "dev", "eth0")
            self.ip("link", "set", "eth0", "up")
            self.ip("link", "set", "lo", "up")
        except BaseException:
            self.close()
            raise

    def ip(self, *arguments: str) -> None:
        """Run ``ip`` on that machine."""
        ip("-n", self.name, *arguments)

    def firewall(self, *rules: str) -> None:
        """Replace the rules of its firewall for what comes in and goes out; none: everything passes."""
        chains = "".join(
            f"chain {hook} {{ type filter hook {hook} priority 0; policy accept; {'; '.join(rules)} ; }}\n"
            for hook in ("input", "output")
        )
        text = f"flush ruleset\ntable inet fastgpu {{\n{chains if rules else ''}}}\n"
        command = ["ip", "netns", "exec", self.name, "nft", "-f", "-"]
        subprocess.run(command, input=text.encode(), check=True, timeout=30)

    def close(self) -> None:
        """Remove it with its link."""
        subprocess.run(["ip", "netns", "del", self.name], check=False, timeout=30)
        subprocess.run(["ip", "link", "del", self._link], check=False, timeout=30, capture_output=True)


#: The environment of a kernel on that machine: ipykernel hangs in its first cell with libfaketime.
WITHOUT_SKEW = {"LD_PRELOAD": ""}


class RemoteEngine(FakeEngine):
    """A simulated cluster whose agents are on the second machine, with clocks that are ``skew_s`` ahead."""

    def __init__(self, machine: SecondMachine, folder: Path, skew_s: int) -> None:
        super().__init__("2xA100-80GB", folder)
        self._machine, self._skew_s = machine, skew_s

    def submit(self, want: Want, agent: AgentSpec, name: str) -> str:
        """Submit a job whose agent moves to the second machine first."""
        environ = {
            "LD_PRELOAD": next(filter(os.path.exists, _FAKETIME)),
            "FAKETIME": f"{self._skew_s:+}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        moved = _MOVE.format(name=self._machine.name, flag=_CLONE_NEWNET, source=agent.source, environ=environ)
        return super().submit(want, agent._replace(source=moved), name)


def ip(*arguments: str) -> None:
    """Run ``ip`` on this machine. Raises :class:`subprocess.CalledProcessError`."""
    subprocess.run(["ip", *arguments], check=True, timeout=30, capture_output=True)


def remove_abandoned() -> None:
    """Remove the machines of tests that were killed."""
    for path in Path("/run/netns").glob("fgpu-*-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            subprocess.run(["ip", "netns", "del", path.name], check=False, timeout=30, capture_output=True)


def second_machine() -> SecondMachine:
    """Return a new one; skip the test with the reason where none can be made."""
    missing = [name for name in ("ip", "nft") if shutil.which(name) is None]
    if not any(map(os.path.exists, _FAKETIME)):
        missing.append("libfaketime")
    if missing:
        pytest.skip(f"a second machine needs {', '.join(missing)}; .ci/network installs them")
    remove_abandoned()
    try:
        return SecondMachine()
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {getattr(error, 'stderr', b'') or error!r}")
