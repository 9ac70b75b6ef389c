"""Libraries that looked for devices before this kernel had one: they do not look again until it restarts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..compat import jax as compat_jax
from ..compat import torch as compat_torch
from ..messages import say
from .memory_caps import DISPLAY_NAMES

#: Libraries that use the driver of the process, by the name of their module.
_USE_DRIVER = {**DISPLAY_NAMES, "numba": "Numba"}


def blind_libraries(modules: Mapping[str, Any]) -> list[str]:
    """Return the display names of the imported libraries that do not see a device that becomes visible now.

    The driver reads once in a process which devices are visible. If it is loaded and no known library is imported, the
    name is that of some library.
    """
    if compat_torch.driver_is_loaded():
        return [name for module, name in _USE_DRIVER.items() if module in modules] or [say("note.a_library")]
    jax = modules.get("jax")
    return ["JAX"] if jax is not None and compat_jax.backends_are_initialized(jax) else []
