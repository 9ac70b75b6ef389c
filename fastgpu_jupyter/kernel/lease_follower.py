"""The thread that keeps a gate current from the pool's event stream.

It starts with a delay, so that the kernel's first reply does not wait for it, reconnects without end with growing
pauses, and starts the pool again where none serves; the running cell does not notice. Without a lease it does nothing.
"""

from __future__ import annotations

import threading

from ..errors import FastGPUError, NotFound
from ..messages import say, text_of
from .gate import Gate
from .lease_client import IMPORT_ERRORS

#: Delay of the first connection of a kernel that starts with a granted lease.
START_DELAY_S = 1.0
PAUSE_FIRST_S = 0.1
PAUSE_MOST_S = 5.0
#: How often a kernel without a lease looks whether its server has requested one; each cell looks, too.
REQUESTED_S = 2.0


class LeaseFollower(threading.Thread):
    """Feeds ``gate`` until its ``closed`` event is set."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(name="fastgpu-follower", daemon=True)
        self._gate = gate
        self._pause_s = PAUSE_FIRST_S

    def run(self) -> None:
        """Follow one lease after the other."""
        gate = self._gate
        if gate.open:
            gate.wake_follower.wait(START_DELAY_S)
        from .activity_reporter import ActivityReporter  # late: the first reply does not need it

        ActivityReporter(gate).start()
        while not gate.closed.is_set():
            gate.wake_follower.clear()
            lease_id = gate.lease_id
            if lease_id is None:
                gate.wake_follower.wait(REQUESTED_S if gate.pool.has_provisioner else None)
                gate.adopt_requested()
                continue
            try:
                self._follow(lease_id)
            except NotFound:
                self._lease_is_unknown(lease_id)
            except (FastGPUError, OSError) as error:
                gate.report_pool_error(text_of(error) if isinstance(error, FastGPUError) else str(error))
            except IMPORT_ERRORS:
                gate.report_pool_error(say("magic.upgraded"))
            if gate.lease_id == lease_id:
                gate.wake_follower.wait(self._pause_s)
                self._pause_s = min(self._pause_s * 2, PAUSE_MOST_S)

    def _lease_is_unknown(self, lease_id: str) -> None:
        """End the lease here, unless the pool that does not know it is another one than the one that granted it."""
        gate = self._gate
        if gate.pool_id is not None:
            try:
                client = gate.pool.connect()
                if client.pool()["id"] != gate.pool_id:
                    gate.report_pool_error(say("note.another_pool", path=str(client.path)))
                    return
            except (FastGPUError, OSError):
                return  # it is asked again
        if gate.lease_id == lease_id:
            gate.forget_lease()

    def _follow(self, lease_id: str) -> None:
        gate = self._gate
        client = gate.pool.connect()
        # Raises NotFound where the pool does not know the lease.
        gate.update_lease(client.lease(lease_id, token=gate.pool.token()))
        stream = client.events(lease_id, token=gate.pool.token())
        try:
            for message in stream:
                gate.handle_message(message)
                self._pause_s = PAUSE_FIRST_S
                if gate.lease_id != lease_id or gate.closed.is_set():
                    return
        finally:
            stream.close()
