"""Short ways to the fields of leases that tests look at most; they take JSON of any type and return ``Any``."""

from __future__ import annotations

from typing import Any

from fastgpu_jupyter.messages import sentence_of, sentences_of
from fastgpu_jupyter.wire import lease_view


def device_of(view: Any) -> Any:
    """Return the first device of the lease, None while it has none."""
    return lease_view.device_of(view)


def explanation_of(view: Any) -> Any:
    """Return why the lease waits, and what its notes say."""
    return sentences_of(lease_view.explanation_of(view))


def gpu_of(view: Any) -> Any:
    """Return the logical GPU of a lease that has one."""
    assert view["gpu"] is not None
    return view["gpu"]


def enforcement_of(view: Any) -> tuple[Any, Any, Any]:
    """Return the mechanism, who enforces the memory limit, and its scope."""
    return gpu_of(view)["mechanism"], view["enforcement"]["memory_limit"], view["enforcement"]["scope"]


def mechanisms_of(devices: Any) -> list[Any]:
    """Return the mechanisms of each device."""
    return [device["capabilities"]["mechanisms"] for device in devices]


def partitions_of(devices: Any) -> list[Any]:
    """Return the partitions of each device."""
    return [device["capabilities"]["partitions"] for device in devices]


def pending_reason_of(view: Any) -> Any:
    """Return why a lease waits, as the value of the enumeration; None unless it waits."""
    return lease_view.value_of(view["queue"]["reason"]) if view["queue"] else None


def position_of(view: Any) -> Any:
    """Return the position in the queue, None unless the lease waits."""
    return lease_view.position_of(view)


def scrub_of(view: Any) -> tuple[Any, Any, Any]:
    """Return the result of scrubbing, the bytes that were overwritten, and the text about it."""
    scrub = view["scrub"]
    return (None, None, None) if scrub is None else (scrub["result"], scrub["bytes"], text(scrub["message"]))


def text(message: Any) -> Any:
    """Return the text of a message, None without one."""
    return sentence_of(message)


def value_of(message: Any) -> Any:
    """Return the value of the enumeration that a message is made of."""
    return lease_view.value_of(message)
