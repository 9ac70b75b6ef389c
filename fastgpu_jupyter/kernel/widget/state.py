"""What the kernel tells the module of a widget about the lease, where the module has no page to ask."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ...errors import FastGPUError
from ...messages import text_of

if TYPE_CHECKING:
    from .kernel_widgets import KernelWidgets

#: The time that the usage covers, in milliseconds.
HISTORY_MS = 300_000


def known_state(kernel_widgets: KernelWidgets) -> dict[str, Any]:
    """Return the lease as it is known, and why it may not be current, without asking."""
    view = kernel_widgets.gate.view
    return {
        # The environment is of use in the kernel only.
        "lease": view and {**view, "environment": {}, "hidden_environment": {}},
        "problem": kernel_widgets.gate.pool_error,
        "now": int(time.time() * 1000),
    }


def asked_state(kernel_widgets: KernelWidgets) -> dict[str, Any]:
    """Ask the pool manager; return the lease, the pool, the sizes to choose from, and the usage of the last minutes.

    Where it does not answer, the state says why, and what was not learned is None.
    """
    gate = kernel_widgets.gate
    learned: dict[str, Any] = {"pool": None, "sizes": None, "history": None}
    try:
        client, lease_id = gate.pool.quick(), gate.lease_id
        if lease_id is not None:
            gate.update_lease(client.lease(lease_id, token=gate.pool.token()))
            learned["history"] = client.lease_history(lease_id, "1s", int(time.time() * 1000) - HISTORY_MS)
        learned["pool"] = client.pool()
        learned["sizes"] = client.sizes(lease_id)
    except FastGPUError as error:
        gate.report_pool_error(text_of(error))
    except OSError as error:
        gate.report_pool_error(str(error))
    return {**known_state(kernel_widgets), **learned}
