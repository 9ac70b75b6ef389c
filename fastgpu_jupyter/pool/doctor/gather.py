"""Finds the facts about this machine. Reads only, starts nothing but this process, and never waits for long."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import Message
from ...wire.server_end import end_with_server, running_servers
from ..devices.diagnosis import HostFacts
from ..devices.registry import DRIVERS, AllDeviceFiles
from ..host import lease_groups, machine, pid_namespace
from . import cluster, standby


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """A running Jupyter server, and what ends its kernels with it, None where nothing is known to."""

    pid: int
    root: str
    ends_kernels: Message | None


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """Everything that the rules look at."""

    host: HostFacts
    drivers: Mapping[str, Any]  #: each driver's own facts, by its name
    servers: Sequence[ServerFacts] = ()  #: this user's Jupyter servers
    standby: standby.StandbyFacts | None = None  #: ``None``: not looked for
    cluster: cluster.ClusterFacts | None = None  #: ``None``: not looked for


def gather(root: Path = Path("/")) -> MachineFacts:
    """Return everything about this machine; ``root`` is another one's folder in tests."""
    host = HostFacts(
        system=platform.system(),
        kernel=platform.release(),
        root=os.geteuid() == 0,
        cgroup=_cgroup_version(root / "sys/fs/cgroup"),
        dmem=(root / "sys/fs/cgroup/dmem.capacity").exists(),
        pid_namespace=_in_pid_namespace(root / "proc/self/ns/pid"),
        memory_bytes=machine.spec().memory_bytes,
        device_access_refusal=lease_groups.unsupported_reason(AllDeviceFiles()),
    )
    servers = tuple(ServerFacts(pid, folder, end_with_server(pid)) for pid, folder in running_servers())
    drivers = {driver.name: driver.doctor.gather(root) for driver in DRIVERS}
    return MachineFacts(host, drivers, servers, standby.gather(), cluster.gather())


def _cgroup_version(mounted: Path) -> int | None:
    if any((mounted / place / "cgroup.controllers").exists() for place in (".", "unified")):
        return 2
    return 1 if mounted.is_dir() and any(mounted.iterdir()) else None


def _in_pid_namespace(link: Path) -> bool | None:
    is_first = pid_namespace.is_first(link)
    return None if is_first is None else not is_first
