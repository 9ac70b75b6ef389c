"""A line below the traceback of an error that GPU memory is used up: which larger sizes the lease can have now.

The error stays as it is: the line is a note on it (:pep:`678`) only while its traceback is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import FastGPUError
from ..messages import say
from ..units import format_memory
from .gate import Gate

#: Module of an error's class, up to the first dot, and its name -> what its text must have in it.
ERRORS = {
    ("torch", "OutOfMemoryError"): "",
    ("cupy", "OutOfMemoryError"): "",
    ("cupy_backends", "CUDARuntimeError"): "cudaErrorMemoryAllocation",
    ("rmm", "MemoryError"): "",
    ("jaxlib", "XlaRuntimeError"): "RESOURCE_EXHAUSTED",
    ("jax", "JaxRuntimeError"): "RESOURCE_EXHAUSTED",
    ("tensorflow", "ResourceExhaustedError"): "",
    ("numba", "CudaAPIError"): "CUDA_ERROR_OUT_OF_MEMORY",
}
#: Sizes that the line names.
SIZES_MAX = 3


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether a framework raised ``error`` because GPU memory is used up."""
    for cls in type(error).__mro__:
        text = ERRORS.get((cls.__module__.partition(".")[0], cls.__name__))
        if text is not None and text in str(error):
            return True
    return False


def advice(gate: Gate) -> str | None:
    """Return the line for a lease with a memory limit; None for one of whole devices. Asks the pool manager."""
    view = gate.view
    if view is None or view["id"] != gate.lease_id or view["gpu"] is None:
        return None
    limit, size = view["memory"]["limit_bytes"], view["request"]["size"]
    try:
        options = gate.pool.quick().sizes(gate.lease_id)["options"]
    except (FastGPUError, OSError):
        return say("note.out_of_memory", size=size) if limit is not None else None
    larger = [option for option in options if limit is not None and option["memory_bytes"] > limit]
    if limit is None or (options and not larger):
        return None  # it has all that a device has
    now = [option for option in larger if option["effect"] in ("now", "after_parking")]
    if not now:
        return say("note.out_of_memory_none_now", size=size, limit_bytes=limit)
    names = tuple(f"{option['size']} ({format_memory(option['memory_bytes'])})" for option in now[:SIZES_MAX])
    return say("note.out_of_memory_now", size=size, limit_bytes=limit, sizes=names, first=now[0]["size"])


@contextmanager
def noted(error: BaseException | None, gate: Gate) -> Iterator[None]:
    """Have the line as a note on ``error`` in the block, if it is about memory; the error is as before afterwards."""
    text = advice(gate) if error is not None and is_out_of_memory(error) else None
    if error is None or not text:
        yield
        return
    before = list(getattr(error, "__notes__", ()))
    error.add_note(text)
    try:
        yield
    finally:
        if before:
            error.__notes__ = before
        else:
            del error.__notes__
