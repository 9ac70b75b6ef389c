"""Functions that read and update the JSON object of a lease; for every process that shows one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .schemas import LeaseView, MessageView


def value_of(message: MessageView | None) -> str | None:
    """Return the value of the enumeration that a message is made of: the last part of its code."""
    return message["code"].rpartition(".")[2] if message else None


def device_of(view: LeaseView) -> str | None:
    """Return the first device of the lease, ``None`` while it has none."""
    return view["gpu"]["device_ids"][0] if view["gpu"] else None


def is_simulated(view: LeaseView) -> bool:
    """Return whether the logical GPU of the lease is simulated; not known, and False, while there is none."""
    return view["gpu"] is not None and view["gpu"]["simulated"]


def position_of(view: LeaseView) -> int | None:
    """Return the position in the queue, ``None`` unless the lease waits and where a cluster does not say it."""
    cluster = view.get("cluster")
    if cluster is not None:
        return cluster["position"] if view["state"] == "waiting" else None
    return view["queue"]["position"] if view["queue"] else None


def time_left_ms(view: LeaseView, now_ms: int) -> int | None:
    """Return how long a cluster still leaves the lease to its kernel; ``None`` if it is not limited, or unknown."""
    cluster = view.get("cluster")
    if cluster is None or cluster["ends_at"] is None or view["state"] != "active":
        return None
    return max(0, cluster["ends_at"] - now_ms)


def explanation_of(view: LeaseView) -> list[MessageView]:
    """Return why the lease waits, and its notes, as messages; none if there is nothing to explain."""
    queue = view["queue"]
    reason = [] if queue is None else [queue["reason"], *([queue["holder"]["message"]] if queue["holder"] else [])]
    return [*reason, *view["notes"]]


def end_of(view: LeaseView) -> list[MessageView]:
    """Return why a lease ended, and its notes, as messages; none if the pool manager does not say it."""
    said = view["end_reason"]
    return [] if said is None else [said, *view["notes"]]


def with_position(view: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return the view of a waiting lease with the position, reason and estimate of its entry in the queue."""
    place = view["queue"]
    return view if place is None else {**view, "queue": {name: entry[name] for name in place}}


def with_reading(view: Mapping[str, Any], reading: Mapping[str, Any]) -> dict[str, Any]:
    """Return a lease or a device with the fields of a reading, which has some of its groups with some of their fields.

    Groups are replaced and never changed, so that another thread that reads one sees fields of the same instant.
    Fields that the view does not have are left out.
    """
    new = {**view}
    for name, fields in reading.items():
        group = view.get(name)
        if isinstance(group, Mapping):
            new[name] = {**group, **{field: value for field, value in fields.items() if field in group}}
    return new
