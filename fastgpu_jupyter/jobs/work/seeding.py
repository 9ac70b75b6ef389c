"""Random numbers of a job that was submitted with a seed: the global generators of Python, NumPy, PyTorch, TensorFlow.

A library is seeded as soon as it is imported. Generators that the job makes itself, such as those of
``numpy.random.default_rng()``, have their own seeds.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from ...compat.import_hook import ImportHook

#: The variable of a job's environment that has its seed.
SEED_VARIABLE = "FASTGPU_SEED"


def _seed_numpy(_module: Any, seed: int) -> None:
    import_module("numpy.random").seed(seed)


#: Library -> how its global generator is seeded; a seed has at most 32 bits.
_SEEDERS: Mapping[str, Callable[[Any, int], Any]] = {
    "numpy": _seed_numpy,
    "torch": lambda module, seed: module.manual_seed(seed),
    "tensorflow": lambda module, seed: module.random.set_seed(seed),
}


def seed_generators(environ: Mapping[str, str] = os.environ) -> ImportHook | None:
    """Seed the generators now, or when their library is imported; return the hook for that, None without a seed."""
    text = environ.get(SEED_VARIABLE, "")
    if not text.isdecimal():
        return None
    seed = int(text)
    random.seed(seed)

    def seed_library(name: str) -> None:
        _SEEDERS[name](sys.modules[name], seed)

    for name in _SEEDERS.keys() & sys.modules.keys():
        seed_library(name)
    hook = ImportHook(_SEEDERS.keys() - sys.modules.keys(), seed_library)
    hook.install()
    return hook
