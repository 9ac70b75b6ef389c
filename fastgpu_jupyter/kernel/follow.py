"""The thread that keeps a gate current from the pool's event stream.

It starts quietly, so that the kernel's first reply is not delayed, reconnects for ever with a growing pause, and
starts the pool again where nobody serves (the cell that runs meanwhile does not notice). It does no work while the
kernel has no lease.
"""

from __future__ import annotations

import threading

from ..errors import FastGPUError, NotFound
from .gate import Gate

#: A kernel that starts with a granted lease has better things to do in its first moments.
START_DELAY_S = 1.0
PAUSE_FIRST_S = 0.1
PAUSE_MOST_S = 5.0


class Follower(threading.Thread):
    """Feeds ``gate`` until its ``closed`` event is set."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(name="fastgpu-follower", daemon=True)
        self._gate = gate
        self._pause_s = PAUSE_FIRST_S

    def run(self) -> None:
        """Follow lease after lease."""
        gate = self._gate
        if gate.open:
            gate.wanted.wait(START_DELAY_S)
        from .activity import Reporter  # late, as all that the first reply can do without

        Reporter(gate).start()
        while not gate.closed.is_set():
            gate.wanted.clear()
            lease_id = gate.lease_id
            if lease_id is None:
                gate.wanted.wait()
                continue
            try:
                self._follow(lease_id)
            except NotFound:
                if gate.lease_id == lease_id:
                    gate.forget_lease()
            except (FastGPUError, OSError) as error:
                gate.take_trouble(str(error))
            if gate.lease_id == lease_id:
                gate.wanted.wait(self._pause_s)
                self._pause_s = min(self._pause_s * 2, PAUSE_MOST_S)

    def _follow(self, lease_id: str) -> None:
        gate = self._gate
        client = gate.client()
        gate.take_lease(client.lease(lease_id))  # raises NotFound where the pool lost it
        stream = client.events(lease_id)
        try:
            for message in stream:
                gate.take(message)
                self._pause_s = PAUSE_FIRST_S
                if gate.lease_id != lease_id or gate.closed.is_set():
                    return
        finally:
            stream.close()
