"""A line of the log where a kernel waits for the GPU of a kernel from which it descends."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..core.model.lifecycle import LeaseState
from ..errors import FastGPUError
from ..messages import render
from ..wire.ancestors import held_by_ancestor
from ..wire.client import PoolClient
from ..wire.variables import ANCESTOR_LEASES
from .threads import in_thread

if TYPE_CHECKING:
    from ..wire.schemas import LeaseView


async def warn_of_ancestor(
    client: PoolClient, view: LeaseView, env: Mapping[str, str], log: logging.Logger | logging.LoggerAdapter[Any]
) -> None:
    """Log a warning if the kernel with this lease waits for the GPU of a kernel from which it descends.

    The program that runs the notebook shows it, in most cases in the cell that has started it.
    """
    ancestors = env.get(ANCESTOR_LEASES, "").split()
    if ancestors and view["state"] == LeaseState.WAITING:
        with contextlib.suppress(FastGPUError):  # the kernel starts without the warning
            held = await in_thread(held_by_ancestor, client, ancestors)
            if held is not None:
                log.warning("FastGPU: %s", render(held))
