"""Finds the facts about NVIDIA's driver and GPUs. Reads only, and never waits for long."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import TypeVar

from .....errors import HostFault
from ....host.threads import call_with_timeout
from ..mps.daemon import PROGRAM
from ..scrub_worker import LIBRARY
from . import nvml_facts
from .facts import DeviceNode, NvidiaFacts, NvmlFacts

T = TypeVar("T")
#: How long the driver may take; the slowest that is no fault wakes its GPUs first.
ANSWER_S = 15.0
#: PCI number of the vendor, and PCI classes of displays and of 3D controllers.
_VENDOR = "0x10de"
_GPU_CLASSES = ("0x0300", "0x0302")


def gather_facts(root: Path) -> NvidiaFacts:
    """Return everything about this machine; ``root`` is another one's folder in tests."""
    no_answer = f"no answer within {ANSWER_S:g} seconds"
    bindings, cuda_error = _cuda(no_answer)
    return NvidiaFacts(
        pci_gpus=_pci_gpus(root / "sys/bus/pci/devices"),
        module=_text(root / "sys/module/nvidia/version"),
        nvml=_within(
            nvml_facts.read,
            lambda: NvmlFacts(error=no_answer, hangs=True),
            lambda error: NvmlFacts(error=f"its bindings failed: {type(error).__name__}: {error}"),
        ),
        nodes=tuple(DeviceNode(str(path), os.access(path, os.R_OK | os.W_OK)) for path in _node_paths(root / "dev")),
        mps=shutil.which(PROGRAM),
        cuda_bindings=bindings,
        cuda_error=cuda_error,
        libcuda=_loads(LIBRARY),
    )


def _pci_gpus(devices: Path) -> int | None:
    try:
        slots = list(devices.iterdir())
    except OSError:
        return None
    found = (slot for slot in slots if _text(slot / "vendor") == _VENDOR)
    return sum((_text(slot / "class") or "").startswith(_GPU_CLASSES) for slot in found)


def _node_paths(folder: Path) -> list[Path]:
    named = [path for path in sorted(folder.glob("nvidia*")) if path.name[6:].isdigit()]
    shared = [folder / "nvidiactl", folder / "nvidia-uvm"]
    return [path for path in [*named, *shared] if path.exists()]


def _cuda(no_answer: str) -> tuple[str | None, str | None]:
    """Return the version of the package ``cuda-bindings``, and why it cannot be used here."""
    try:
        version = metadata.version("cuda-bindings")
    except metadata.PackageNotFoundError:
        return None, None
    return version, _within(_cuda_error, lambda: no_answer, lambda error: f"{type(error).__name__}: {error}")


def _cuda_error() -> str | None:
    try:
        [result] = import_module("cuda.bindings.driver").cuInit(0)
    except Exception as error:  # noqa: BLE001 (whatever it is, the user needs to read it)
        return f"{type(error).__name__}: {error}"
    return None if int(result) == 0 else f"CUDA says {result.name}"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _within(call: Callable[[], T], no_answer: Callable[[], T], failed: Callable[[Exception], T]) -> T:
    """Return the answer of a call, or what it means that it takes too long or fails: a failure is not a hang."""
    try:
        return call_with_timeout(ANSWER_S, call, "")
    except HostFault:
        return no_answer()
    except Exception as error:  # noqa: BLE001 (bindings that do not fit the driver raise what they like)
        return failed(error)


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
