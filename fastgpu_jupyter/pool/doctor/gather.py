"""Finds the facts about this machine. Reads only, starts nothing but this process, and never waits for long."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import threading
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import TypeVar

from ..devices.nvidia import doctor as nvml_facts
from ..devices.nvidia import scrub_worker as overwrite
from ..devices.registry import AllDeviceFiles
from ..host import lease_groups, machine
from .machine import DeviceNode, MachineFacts, NvmlFacts

T = TypeVar("T")
#: How long the driver may take; the slowest that is no fault wakes its GPUs first.
ANSWER_S = 15.0
NVIDIA = "0x10de"
#: PCI classes of displays and of 3D controllers.
GPU_CLASSES = ("0x0300", "0x0302")
#: Inode of the PID namespace of the whole machine, fixed in Linux.
FIRST_PID_NAMESPACE = "pid:[4026531836]"


def gather(root: Path = Path("/")) -> MachineFacts:
    """Everything about this machine; ``root`` is another one's folder in tests."""
    bindings, cuda_error = _cuda()
    return MachineFacts(
        system=platform.system(),
        kernel=platform.release(),
        root=os.geteuid() == 0,
        pci_gpus=_pci_gpus(root / "sys/bus/pci/devices"),
        module=_text(root / "sys/module/nvidia/version"),
        nvml=_within(nvml_facts.read, NvmlFacts(error=f"no answer within {ANSWER_S:g} seconds", hangs=True)),
        nodes=tuple(DeviceNode(str(path), os.access(path, os.R_OK | os.W_OK)) for path in _node_paths(root / "dev")),
        cgroup=_cgroup(root / "sys/fs/cgroup"),
        dmem=(root / "sys/fs/cgroup/dmem.capacity").exists(),
        mps=shutil.which("nvidia-cuda-mps-control"),
        cuda_bindings=bindings,
        cuda_error=cuda_error,
        pid_namespace=_in_pid_namespace(root / "proc/self/ns/pid"),
        host_memory_bytes=machine.spec().memory_bytes,
        libcuda=_loads(overwrite.LIBRARY),
        closes=lease_groups.unsupported_reason(AllDeviceFiles()),
    )


def _pci_gpus(devices: Path) -> int | None:
    try:
        slots = list(devices.iterdir())
    except OSError:
        return None
    found = (slot for slot in slots if _text(slot / "vendor") == NVIDIA)
    return sum((_text(slot / "class") or "").startswith(GPU_CLASSES) for slot in found)


def _node_paths(folder: Path) -> list[Path]:
    named = [path for path in sorted(folder.glob("nvidia*")) if path.name[6:].isdigit()]
    shared = [folder / "nvidiactl", folder / "nvidia-uvm"]
    return [path for path in [*named, *shared] if path.exists()]


def _cgroup(mounted: Path) -> int | None:
    if any((mounted / place / "cgroup.controllers").exists() for place in (".", "unified")):
        return 2
    return 1 if mounted.is_dir() and any(mounted.iterdir()) else None


def _cuda() -> tuple[str | None, str | None]:
    """The version of the package ``cuda-bindings``, and why it is of no use here."""
    try:
        version = metadata.version("cuda-bindings")
    except metadata.PackageNotFoundError:
        return None, None
    silent: str | None = f"no answer within {ANSWER_S:g} seconds"
    return version, _within(_cuda_error, silent)


def _cuda_error() -> str | None:
    try:
        [result] = import_module("cuda.bindings.driver").cuInit(0)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is what the user needs to read)
        return f"{type(error).__name__}: {error}"
    return None if int(result) == 0 else f"CUDA says {result.name}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _within(ask: Callable[[], T], otherwise: T) -> T:
    """What it answers, from a thread of its own: a driver may hang."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(ask()), daemon=True)
    thread.start()
    thread.join(ANSWER_S)
    return found[0] if found else otherwise


def _in_pid_namespace(link: Path) -> bool | None:
    try:
        return os.readlink(link) != FIRST_PID_NAMESPACE  # noqa: PTH115 (it points to no path)
    except OSError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
