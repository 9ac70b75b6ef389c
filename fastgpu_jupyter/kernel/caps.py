"""Tells the libraries in this kernel how much GPU memory they may take, where nobody stricter keeps the limit.

A grant of a part of a GPU says the cap in the environment (``FASTGPU_CAP_BYTES`` and ``FASTGPU_CAP_FRACTION`` of the
whole device). Libraries that read a variable when they start find theirs there, too. The others are told here: those
that are imported already at once, those that are not yet as soon as they are, by a hook of the import system that
imports nothing by itself. A cap that changes is told anew; a library that cannot take another one says so by
:data:`RESTART`, and the user is told.

This is agreement, not enforcement: a program can lift its cap. What the lease really uses the pool watches.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import Any, NamedTuple

from ..compat import jax as compat_jax
from ..compat import torch as compat_torch

BYTES, FRACTION = "FASTGPU_CAP_BYTES", "FASTGPU_CAP_FRACTION"
#: What a library answers that takes a cap, and one that would take it only in a new process.
TOLD, RESTART = True, False
#: From this version on PyTorch reads its cap from a variable, which processes that are started from here inherit.
TORCH_WITH_VARIABLE = (2, 10)
TORCH_VARIABLE, TORCH_KEY = "PYTORCH_ALLOC_CONF", "per_process_memory_fraction"


class Cap(NamedTuple):
    """How much the libraries of one process may take, of a device of that they see the whole."""

    memory_bytes: int
    fraction: float


def cap_of(environ: Mapping[str, str]) -> Cap | None:
    """What a grant says; ``None`` where there is no cap."""
    try:
        return Cap(int(environ[BYTES]), float(environ[FRACTION]))
    except (KeyError, ValueError):
        return None


#: No cap: a lease of a whole device.
FREE = Cap(2**63 - 1, 1.0)


def _torch(torch: Any, cap: Cap) -> bool:
    def tell() -> None:
        torch.cuda.set_per_process_memory_fraction(cap.fraction)

    if torch.cuda.is_initialized():
        tell()
    else:
        # To set it now would begin to use the device, which takes time and memory; so it is done when that begins.
        compat_torch.call_when_cuda_initializes(torch, tell)
    return TOLD


def _cupy(cupy: Any, cap: Cap) -> bool:
    cupy.get_default_memory_pool().set_limit(size=0 if cap == FREE else cap.memory_bytes)  # 0: none
    return TOLD


def _tensorflow(tensorflow: Any, cap: Cap) -> bool:
    config = tensorflow.config
    limits = None if cap == FREE else [config.LogicalDeviceConfiguration(memory_limit=cap.memory_bytes >> 20)]
    for gpu in config.list_physical_devices("GPU"):
        try:
            config.set_logical_device_configuration(gpu, limits)
        except RuntimeError:  # it has begun to use the device
            return RESTART
    return TOLD


def _jax(jax: Any, cap: Cap) -> bool:  # noqa: ARG001 (it reads its variable)
    return TOLD if compat_jax.backends_are_initialized(jax) is False else RESTART


def _rmm(rmm: Any, cap: Cap) -> bool:
    resources = rmm.mr
    known = resources.get_current_device_resource()
    if isinstance(known, resources.LimitingResourceAdaptor):
        return RESTART  # its limit is fixed, and what it has given out would not count for another
    if cap != FREE:
        limited = resources.LimitingResourceAdaptor(known, allocation_limit=cap.memory_bytes)
        resources.set_current_device_resource(limited)
    return TOLD


#: How each library is told; by the name under which it is imported.
LIBRARIES: dict[str, Callable[[Any, Cap], bool]] = {
    "torch": _torch,
    "cupy": _cupy,
    "tensorflow": _tensorflow,
    "jax": _jax,
    "rmm": _rmm,
}
#: As users know them.
NAMES = {"torch": "PyTorch", "cupy": "CuPy", "tensorflow": "TensorFlow", "jax": "JAX", "rmm": "RAPIDS (RMM)"}


class Caps:
    """The caps of this process. For the thread that runs cells."""

    def __init__(self) -> None:
        #: Libraries that keep an earlier cap until there is a new process, as users know them.
        self.stuck: tuple[str, ...] = ()
        self._cap: Cap | None = None
        #: The cap that each library keeps to.
        self._kept: dict[str, Cap] = {}
        self._hook: _Hook | None = None
        #: What PyTorch's variable was before, and what was made of it.
        self._variable: tuple[str | None, str] | None = None

    def settle(self, environ: MutableMapping[str, str]) -> str | None:
        """Tell all libraries what the environment says by now; what the user has to be told, if anything."""
        cap = cap_of(environ)
        # Without a lease nothing is lifted: what this process has of its device is not its own any more.
        if cap == self._cap or (cap is None and not environ.get("CUDA_VISIBLE_DEVICES")):
            return None
        self._cap = cap
        self._settle_variable(environ)
        if self._hook is None:
            self._hook = _Hook(self._imported)
            sys.meta_path.insert(0, self._hook)
        self.stuck = tuple(NAMES[name] for name in LIBRARIES if name in sys.modules and not self._tell(name))
        if not self.stuck:
            return None
        names = " and ".join(self.stuck)
        return f"FastGPU: {names} cannot be given a new memory limit in this process; restart the kernel for it."

    def _settle_variable(self, environ: MutableMapping[str, str]) -> None:
        """What processes that are started from here find, where their PyTorch understands it."""
        if self._variable is not None and environ.get(TORCH_VARIABLE) == self._variable[1]:
            before = self._variable[0]
            environ.pop(TORCH_VARIABLE)
            environ.update({} if before is None else {TORCH_VARIABLE: before})
        self._variable = None
        before = environ.get(TORCH_VARIABLE)
        if self._cap is None or TORCH_KEY in (before or "") or not _knows_variable():
            return
        said = ",".join(filter(None, [before, f"{TORCH_KEY}:{self._cap.fraction}"]))
        self._variable = before, said
        environ[TORCH_VARIABLE] = said

    def _imported(self, name: str) -> None:
        if self._cap is not None:
            self._tell(name)

    def _tell(self, name: str) -> bool:
        cap = self._cap or FREE
        # A library that changed must not keep a cell from running; the pool sees what it uses all the same.
        with suppress(Exception):
            if LIBRARIES[name](sys.modules[name], cap):
                self._kept[name] = cap
        return TOLD if self._kept.get(name) == cap else RESTART  # it may be back at the one that it keeps

    def close(self) -> None:
        """Tell nobody any more."""
        if self._hook in sys.meta_path:
            sys.meta_path.remove(self._hook)


def _knows_variable() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        parts = version("torch").split(".")
        return (int(parts[0]), int(parts[1])) >= TORCH_WITH_VARIABLE
    except (PackageNotFoundError, ValueError, IndexError):
        return False


class _Hook(importlib.abc.MetaPathFinder):
    """Finds nothing itself, and calls ``imported`` when one of the libraries was imported by whoever found it."""

    def __init__(self, imported: Callable[[str], None]) -> None:
        self._imported = imported

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec that the others find, with a word of ours after its loader's work."""
        if fullname not in LIBRARIES:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Told(spec.loader, self._imported)
        return spec


class _Told(importlib.abc.Loader):
    """A loader, and what is done once it has loaded."""

    def __init__(self, loader: Any, imported: Callable[[str], None]) -> None:
        self._loader = loader
        self._imported = imported

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """As the loader does it."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """As the loader does it; then the library is told."""
        # Nobody but the import system sees that we were here.
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._imported(module.__name__)
