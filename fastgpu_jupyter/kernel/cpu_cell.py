"""A cell that runs without the GPU (``%%fastgpu cpu``): it does not wait, and does not make a parked lease resume.

The device is hidden from it as long as no library has looked for devices: later this process cannot hide it. What
happens instead is said.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..compat.torch import driver_is_loaded
from ..core.model.lifecycle import PARKED_OR_RETURNING
from ..messages import say
from .gate import Gate
from .late_devices import blind_libraries
from .sentences import does_not_see_the_gpu


@contextmanager
def without_gpu(gate: Gate, note: Callable[[str], None]) -> Iterator[None]:
    """Run the block with the device hidden, where that is possible; ``note`` tells the user what happens."""
    if driver_is_loaded():
        if gate.lease_id is not None and gate.had_gpu:
            note(_what_happens(gate))
        yield
        return
    environ, hidden = gate.environment.environ, gate.environment.hidden
    before = {name: environ.get(name) for name in hidden}
    blind = set(blind_libraries(sys.modules))
    environ.update(hidden)
    try:
        yield
    finally:
        for name, value in before.items():
            if environ.get(name) == hidden[name]:  # else the cell has set it
                environ.pop(name, None)
                environ.update({} if value is None else {name: value})
        names = [name for name in blind_libraries(sys.modules) if name not in blind]
        if names and any(value != hidden[name] for name, value in before.items()):
            note(does_not_see_the_gpu(names))


def _what_happens(gate: Gate) -> str:
    state = gate.view["state"] if gate.view is not None else "active"
    if state in PARKED_OR_RETURNING:
        return say("note.cpu_cell_parked", lease=gate.lease_id or "")
    return say("note.cpu_cell_sees_gpu")
