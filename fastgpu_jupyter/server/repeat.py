"""Repeat a call to a pool manager that does not answer, in the background, until it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..errors import PoolUnreachable

PAUSE_FIRST_S = 1.0
PAUSE_MOST_S = 30.0


def repeat_until_answered(call: Callable[[], object]) -> threading.Event:
    """Make ``call`` in a thread, with growing pauses, until it does not raise :class:`PoolUnreachable`.

    Returns an event that ends the repetition when it is set.
    """
    # A thread, not a task: a blocking kernel manager runs each method of a provisioner in a loop of its own.
    stop = threading.Event()

    def run() -> None:
        pause_s = PAUSE_FIRST_S
        while not stop.wait(pause_s):
            try:
                call()
            except PoolUnreachable:
                pause_s = min(pause_s * 2, PAUSE_MOST_S)
            else:
                return

    threading.Thread(target=run, name="fastgpu-repeat", daemon=True).start()
    return stop
