"""Notes about the end and the parking of a kernel's lease; imported when one of them is needed.

Why a lease ended or was parked is a message of the pool; its sentence comes with the lease.
"""

from __future__ import annotations

from ..units import format_duration

KEPT = "Its variables, and their GPU memory, are kept."


def ended(reason: str | None, detail: str | None = None) -> str:
    """Return the note on a lease that ended without a request from here.

    ``reason`` is the pool's sentence, ``None`` where the pool does not know the lease; ``detail`` is what else it says.
    """
    words = ("FastGPU: the GPU lease of this kernel ended.", reason or "It is unknown to the pool manager.", detail)
    return f"{' '.join(filter(None, words))} Cells run without a GPU; `%fastgpu request` asks for one again."


def parked_while_running(reason: str | None, parked_s: float) -> str:
    """Return the note on a lease that was parked while a cell ran, and resumed; ``reason`` is the pool's sentence."""
    lasted = format_duration(int(parked_s * 1000)) if parked_s >= 1 else "a moment"
    words = (f"FastGPU: this lease was parked for {lasted} while a cell ran.", reason, "Its GPU memory is restored.")
    return " ".join(filter(None, words))


def does_not_see_the_gpu(names: list[str]) -> str:
    """Return the note on libraries that looked for devices before this kernel had its GPU."""
    them = " and ".join(names)
    return (
        f"FastGPU: {them} looked for GPUs before this kernel had one, and will not see it in this process. "
        "Restart the kernel to use the GPU; the lease is kept."
    )
