"""Sentences about the end and the parking of a kernel's lease; imported when one of them is needed."""

from __future__ import annotations

from ..units import format_duration

KEPT = "Its variables, and their GPU memory, are kept."
#: Why a lease is parked, as the end of a sentence.
PARKED_BECAUSE = {
    "asked": "you parked it",
    "idle": "it was idle and another request waited",
    "priority": "a request of higher priority waited",
    "guarantee": "a tenant with less than its guarantee waited",
    "fairness": "its turn was over and another request waited",
    "budget": "its budget was spent",
    "over_limit": "it used more GPU memory than its limit",
    "move": "it moved to another GPU so that another request fits",
    "health": "its GPU is unhealthy and it moves to another one",
    "restart": "its GPU is unhealthy, its kernel was restarted, and it moves to another one",
}
_ENDED = {
    "released": "was released",
    "cancelled": "was cancelled",
    "revoked": "was taken back by an administrator of the pool",
    "device_lost": "ended because it lost its GPU",
    "prepare_failed": "ended because its GPU could not be prepared",
    "resume_failed": "ended because its GPU memory could not be restored; restart the kernel",
    "expired": "ended because it waited as long as its request allows",
    "over_limit": "ended because it used more GPU memory than its limit",
    "holder_died": "ended because the pool found this kernel's process gone",
    "unknown": "is unknown to the pool manager",
}


def because(park_reason: str | None) -> str:
    """Return why a lease was parked, as the end of a sentence."""
    return PARKED_BECAUSE.get(park_reason or "", "another request waited")


def ended(reason: str | None, detail: str | None = None) -> str:
    """Return the note on a lease that ended without a request from here; ``detail`` is the pool's explanation."""
    return (
        f"FastGPU: the GPU lease of this kernel {_ENDED.get(reason or '', 'ended')}. {f'{detail} ' if detail else ''}"
        "Cells run without a GPU; `%fastgpu request` asks for one again."
    )


def parked_while_running(park_reason: str | None, parked_s: float) -> str:
    """Return the note on a lease that was parked while a cell ran, and resumed."""
    lasted = format_duration(int(parked_s * 1000)) if parked_s >= 1 else "a moment"
    return (
        f"FastGPU: this lease was parked for {lasted} while a cell ran because {because(park_reason)}; "
        "its GPU memory is restored."
    )
