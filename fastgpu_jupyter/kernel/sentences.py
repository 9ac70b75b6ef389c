"""What becomes of a kernel's lease, in sentences for its user; imported when there is something to say."""

from __future__ import annotations

from ..units import format_duration

KEPT = "Its variables, and what they have on the GPU, are kept."
#: Why a lease is parked, as the end of a sentence.
PARKED_BECAUSE = {
    "asked": "you parked it",
    "idle": "it was idle and somebody waited",
    "priority": "somebody of a higher priority waited",
    "guarantee": "somebody waited who has less than is guaranteed",
    "fairness": "its turn was over and somebody waited",
    "budget": "the money for it was spent",
    "over_limit": "it used more GPU memory than it had",
    "move": "it went to another GPU so that somebody else fitted",
    "health": "its GPU is not well and it went to another one",
    "restart": "its GPU is not well, its kernel was restarted, and it goes to another one",
}
_ENDED = {
    "released": "was released",
    "cancelled": "was cancelled",
    "revoked": "was taken back by an administrator of the pool",
    "device_lost": "ended because it lost its GPU",
    "prepare_failed": "ended because its GPU could not be prepared",
    "resume_failed": "ended because what it had on its GPU could not be brought back; restart the kernel",
    "expired": "ended because it waited as long as its request allows",
    "over_limit": "ended because it used more GPU memory than it had",
    "holder_died": "ended because the pool took this kernel for dead",
    "unknown": "is unknown to the pool manager",
}


def because(park_reason: str | None) -> str:
    """Why a lease was parked."""
    return PARKED_BECAUSE.get(park_reason or "", "others waited")


def ended(reason: str | None, detail: str | None = None) -> str:
    """The lease ended, and the user did not ask for it here; ``detail`` is what the pool says of it."""
    return (
        f"FastGPU: the GPU lease of this kernel {_ENDED.get(reason or '', 'ended')}. {f'{detail} ' if detail else ''}"
        "Cells run without a GPU; `%fastgpu request` asks for one again."
    )


def lent(park_reason: str | None, away_s: float) -> str:
    """The lease was parked while a cell ran, and is back."""
    lasted = format_duration(int(away_s * 1000)) if away_s >= 1 else "a moment"
    return (
        f"FastGPU: while a cell ran, its GPU was given to others for {lasted} because {because(park_reason)}; "
        "it is back, with everything that was on it."
    )
