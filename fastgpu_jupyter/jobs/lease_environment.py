"""The environment of a process on a leased GPU that has no right to the lease itself: it cannot release or park it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..compat.jax import MEMORY_FRACTIONS, set_memory_fraction
from ..core.model.lifecycle import LeaseState
from ..wire import variables
from ..wire.locate import SOCKET_VARIABLE

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView


def with_grant(view: LeaseView, own: Mapping[str, str], socket: str) -> dict[str, str]:
    """Return ``own`` with what the lease needs, which goes before that; ``socket`` is that of its pool manager."""
    granted = view["environment"] if view["state"] == LeaseState.ACTIVE else view["hidden_environment"]
    environment = {**own, **granted}
    fraction = next((granted[name] for name in MEMORY_FRACTIONS if name in granted), None)
    if fraction is not None:
        set_memory_fraction(environment, fraction)  # the user may have set the other name of the variable
    return environment | {
        SOCKET_VARIABLE: socket,
        variables.PYTHON: sys.executable,
        variables.REPLACED: variables.replaced(os.environ, {**granted, **view["hidden_environment"]}),
    }


def as_descendant(view: LeaseView, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the right to a lease; it says on whose devices the process computes."""
    kept = {name: value for name, value in environment.items() if name not in variables.KERNEL_ONLY}
    above = environment.get(variables.ANCESTOR_LEASES, "")
    return {**kept, variables.ANCESTOR_LEASES: variables.with_lease(above, view["id"])}
