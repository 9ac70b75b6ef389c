"""Notes about the end and the parking of a kernel's lease; imported when one of them is needed.

Why a lease ended or was parked is a message of the pool; its sentence comes with the lease.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..messages import say


def ended(reason: str | None, detail: str | None = None) -> str:
    """Return the note on a lease that ended without a request from here.

    ``reason`` is the pool's sentence, ``None`` where the pool does not know the lease; ``detail`` is what else it says.
    """
    return say("note.lease_ended", reason=reason or say("note.lease_unknown"), detail=detail or "")


def parked_while_running(reason: str | None, parked_s: float) -> str:
    """Return the note on a lease that was parked while a cell ran, and resumed; ``reason`` is the pool's sentence."""
    if parked_s < 1:
        return say("note.parked_a_moment", reason=reason or "")
    return say("note.parked", parked_ms=int(parked_s * 1000), reason=reason or "")


def does_not_see_the_gpu(names: Sequence[str]) -> str:
    """Return the note on libraries that looked for devices before this kernel had its GPU."""
    return say("note.looked_early", libraries=tuple(names))


def limit_at_restart(names: Sequence[str]) -> str:
    """Return the note on libraries that follow another memory limit only in a new process."""
    return say("note.limit_at_restart", libraries=tuple(names))
