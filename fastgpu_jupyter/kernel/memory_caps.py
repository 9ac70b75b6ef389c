"""Memory limits for the frameworks in this kernel, where neither the hardware nor the driver enforces the limit.

A grant of a part of a GPU carries the limit in the environment (``FASTGPU_CAP_BYTES`` and ``FASTGPU_CAP_FRACTION`` of
the whole device). A framework that reads a variable when it starts finds its own there, too. The other frameworks get
the limit here: imported ones at once, others as soon as they are imported (:mod:`..compat.import_hook`). When the limit
changes, each framework gets the new one, or reports :data:`NEEDS_RESTART`, which the user sees.

This enforcement is cooperative: a program can raise its limit. The pool watches what the lease really uses.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, NamedTuple

from ..compat import jax as compat_jax
from ..compat import torch as compat_torch
from ..compat.import_hook import ImportHook

CAP_BYTES, CAP_FRACTION = "FASTGPU_CAP_BYTES", "FASTGPU_CAP_FRACTION"
#: What the function of a framework returns: it follows the limit, or would only in a new process.
APPLIED, NEEDS_RESTART = True, False
#: From this version on PyTorch reads its limit from a variable, which child processes inherit.
TORCH_WITH_VARIABLE = (2, 10)
TORCH_VARIABLE, TORCH_KEY = "PYTORCH_ALLOC_CONF", "per_process_memory_fraction"
#: Older names of that variable, one for each vendor, which PyTorch reads only where the newer is not set.
TORCH_OLDER_NAME = re.compile("PYTORCH_[A-Z]+_ALLOC_CONF")


class Cap(NamedTuple):
    """How much device memory the frameworks of one process may take."""

    memory_bytes: int
    fraction: float  #: of the whole device


def cap_of(environ: Mapping[str, str]) -> Cap | None:
    """Return the limit that an environment carries; None where there is none."""
    try:
        return Cap(int(environ[CAP_BYTES]), float(environ[CAP_FRACTION]))
    except (KeyError, ValueError):
        return None


#: No limit: a lease of a whole device.
UNLIMITED = Cap(2**63 - 1, 1.0)


def _torch(torch: Any, cap: Cap) -> bool:
    def set_fraction() -> None:
        torch.cuda.set_per_process_memory_fraction(cap.fraction)

    if torch.cuda.is_initialized():
        set_fraction()
    else:
        # A call now would initialize CUDA, which takes time and memory.
        compat_torch.call_when_cuda_initializes(torch, set_fraction)
    return APPLIED


def _cupy(cupy: Any, cap: Cap) -> bool:
    cupy.get_default_memory_pool().set_limit(size=0 if cap == UNLIMITED else cap.memory_bytes)  # 0: no limit
    return APPLIED


def _tensorflow(tensorflow: Any, cap: Cap) -> bool:
    config = tensorflow.config
    limits = None if cap == UNLIMITED else [config.LogicalDeviceConfiguration(memory_limit=cap.memory_bytes >> 20)]
    for gpu in config.list_physical_devices("GPU"):
        try:
            config.set_logical_device_configuration(gpu, limits)
        except RuntimeError:  # it has initialized the device
            return NEEDS_RESTART
    return APPLIED


def _jax(jax: Any, cap: Cap) -> bool:  # noqa: ARG001 (JAX reads its variable)
    return APPLIED if compat_jax.backends_are_initialized(jax) is False else NEEDS_RESTART


def _rmm(rmm: Any, cap: Cap) -> bool:
    resources = rmm.mr
    known = resources.get_current_device_resource()
    if isinstance(known, resources.LimitingResourceAdaptor):
        return NEEDS_RESTART  # its limit is fixed, and another adaptor would not count what it has allocated
    if cap != UNLIMITED:
        limited = resources.LimitingResourceAdaptor(known, allocation_limit=cap.memory_bytes)
        resources.set_current_device_resource(limited)
    return APPLIED


#: The function that sets the limit of each framework, by the name of its module.
FRAMEWORKS: dict[str, Callable[[Any, Cap], bool]] = {
    "torch": _torch,
    "cupy": _cupy,
    "tensorflow": _tensorflow,
    "jax": _jax,
    "rmm": _rmm,
}
DISPLAY_NAMES = {"torch": "PyTorch", "cupy": "CuPy", "tensorflow": "TensorFlow", "jax": "JAX", "rmm": "RAPIDS (RMM)"}


class MemoryCaps:
    """The memory limits of the frameworks in this process. For the thread that runs cells."""

    def __init__(self) -> None:
        #: Display names of the frameworks that keep an earlier limit until the kernel restarts.
        self.needs_restart: tuple[str, ...] = ()
        self._cap: Cap | None = None
        #: The limit that each framework follows.
        self._applied: dict[str, Cap] = {}
        self._hook: ImportHook | None = None
        #: Variables that were changed here, with the value of each before and after; ``None``: it was not set.
        self._changed: dict[str, tuple[str | None, str | None]] = {}
        self._environ: MutableMapping[str, str] = {}

    def apply(self, environ: MutableMapping[str, str], *, has_lease: bool = True) -> str | None:
        """Set the limit of ``environ`` in all frameworks; return a sentence for the user where one needs a restart."""
        cap = cap_of(environ)
        # Without a lease no limit is lifted: the memory that this process has is no longer its own.
        if cap == self._cap or (cap is None and not has_lease):
            return None
        self._cap, self._environ = cap, environ
        self._set_variables()
        if self._hook is None:
            # What a cell set itself, as before it imports PyTorch, is not to be lost.
            self._hook = ImportHook(FRAMEWORKS, self._imported, lambda _: self._set_variables())
            self._hook.install()
        imported = [name for name in FRAMEWORKS if name in sys.modules]
        self.needs_restart = tuple(DISPLAY_NAMES[name] for name in imported if not self._set_limit(name))
        if not self.needs_restart:
            return None
        from .sentences import limit_at_restart  # late, like everything that a start does not need

        return limit_at_restart(self.needs_restart)

    def _set_variables(self) -> None:
        """Set the variables that frameworks read when they start, here or in a child process, with the user's own."""
        environ, names = self._environ, (TORCH_VARIABLE, *compat_jax.MEMORY_FRACTIONS)
        for name, (before, after) in self._changed.items():
            if environ.get(name) == after:
                environ.pop(name, None)
                environ.update({} if before is None else {name: before})
        # What the pool gave is not the user's own, and is not to come back.
        earlier = {name: value for name in names if (value := environ.get(name)) != environ.get(CAP_FRACTION)}
        if self._cap is not None:
            self._set_torch_variable(environ, self._cap)
            compat_jax.set_memory_fraction(environ, str(self._cap.fraction), _version_of("jaxlib"))
        now = {name: environ.get(name) for name in names}
        self._changed = {name: (earlier.get(name), now[name]) for name in names if earlier.get(name) != now[name]}

    def _set_torch_variable(self, environ: MutableMapping[str, str], cap: Cap) -> None:
        """Add the limit to what the user set by either name, where the installed version knows it."""
        older = (environ[name] for name in sorted(environ) if TORCH_OLDER_NAME.fullmatch(name))
        own = environ.get(TORCH_VARIABLE) or next(filter(None, older), "")
        if TORCH_KEY not in own and _torch_knows_variable():
            environ[TORCH_VARIABLE] = ",".join(filter(None, [own, f"{TORCH_KEY}:{cap.fraction}"]))

    def _imported(self, name: str) -> None:
        if self._cap is not None:
            self._set_limit(name)

    def _set_limit(self, name: str) -> bool:
        cap = self._cap or UNLIMITED
        # A framework whose interface changed must not keep a cell from running; the pool sees what it uses.
        with suppress(Exception):
            if FRAMEWORKS[name](sys.modules[name], cap):
                self._applied[name] = cap
        return APPLIED if self._applied.get(name) == cap else NEEDS_RESTART  # the cap may be the one that it follows

    def close(self) -> None:
        """Stop setting limits in frameworks that are imported later."""
        if self._hook is not None:
            self._hook.remove()


def _torch_knows_variable() -> bool:
    parts = (_version_of("torch") or "").split(".")
    try:
        return (int(parts[0]), int(parts[1])) >= TORCH_WITH_VARIABLE
    except (ValueError, IndexError):
        return False


def _version_of(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None
