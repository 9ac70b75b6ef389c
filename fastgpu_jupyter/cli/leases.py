"""The commands about leases and the queue."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..core.model.lifecycle import PARKED_OR_PARKING
from ..errors import InvalidRequest
from ..units import format_duration, format_memory, format_money
from ..wire.client import PoolClient
from ..wire.schemas import LeaseView, StatusView
from .command import ClientApp, LeaseApp, table

_QUEUE = ("PLACE", "LEASE", "PROFILE", "PRIORITY", "WAIT", "REASON")


class StatusApp(ClientApp):
    """Show devices, leases and the queue."""

    name = "jupyter-fastgpu-status"
    description = "Show the pool's devices, your leases and the queue."

    def run(self, client: PoolClient) -> None:
        """Print the status as a table or as one JSON object."""
        status = client.status()
        print(json.dumps(status, indent=2) if self.as_json else "\n".join(_tables(status)))


class ReleaseApp(ClientApp):
    """Give a lease back."""

    name = "jupyter-fastgpu-release"
    description = "Give back the lease with the given id; its kernel and its variables stay."

    def run(self, client: PoolClient) -> None:
        """Release each lease that is named."""
        if not self.extra_args:
            print("jupyter fastgpu release: name a lease; `jupyter fastgpu status` lists them.", file=sys.stderr)
            sys.exit(1)
        for lease_id in self.extra_args:
            lease = client.release(lease_id)
            cost = format_money(lease["cost_micro"], lease["currency"])
            print(
                json.dumps(lease)
                if self.as_json
                else f"Released {lease['id']} ({lease['state']}) after {format_duration(lease['active_ms'])}, {cost}."
            )


class QueueApp(ClientApp):
    """Show who waits."""

    name = "jupyter-fastgpu-queue"
    description = "Show the queue: places, reasons, and estimates where there are any."

    def run(self, client: PoolClient) -> None:
        """Print the queue as a table or as JSON."""
        queue = client.queue()
        print(
            json.dumps({"queue": queue}, indent=2) if self.as_json else "\n".join(table(_QUEUE, map(_queue_row, queue)))
        )


class ResizeApp(ClientApp):
    """Give a lease another size."""

    name = "jupyter-fastgpu-resize"
    description = "Give a lease another size while its kernel goes on: jupyter fastgpu resize LEASE half."

    def run(self, client: PoolClient) -> None:
        """Resize, or say why not."""
        if len(self.extra_args) != 2:
            raise InvalidRequest("Name a lease and its new size, like half or 24GiB.")
        lease = client.resize(*self.extra_args)
        has = f" ({format_memory(lease['memory_bytes'])})" if lease["memory_bytes"] else ""
        now = f"is {lease['profile']} now{has}"
        if lease["state"] != "active":
            now = f"is {lease['state']}, and {lease['profile']} from then on"
        said = [f"{lease['id']} {now}.", lease["size_message"] or ""]
        print(json.dumps(lease) if self.as_json else " ".join(said).rstrip())


class MoveApp(LeaseApp):
    """Take a lease off a device that is not well."""

    name = "jupyter-fastgpu-move"
    description = (
        "Take a lease off a GPU that is not well: with its memory, or without it once its kernel is restarted."
    )

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Move it."""
        return client.move(lease_id)

    def said(self, lease: LeaseView) -> str:
        """What its user has to do, and to lose."""
        if lease["move"] == "accepted":
            return "goes to another GPU when its kernel is restarted; what it has on its GPU is lost with that"
        return "goes to another GPU with its memory"


class ParkApp(LeaseApp):
    """Give the device of a lease to others for a while."""

    name = "jupyter-fastgpu-park"
    description = (
        "Move a lease's device memory to the host's and give its device to others; the next cell wants it back."
    )

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Park it."""
        return client.park(lease_id)


class ResumeApp(LeaseApp):
    """Want a parked lease back."""

    name = "jupyter-fastgpu-resume"
    description = "Let a parked lease wait for a device, without a cell that wants it."

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Resume it."""
        return client.resume(lease_id)

    def said(self, lease: LeaseView) -> str:
        """With its place, where it waits."""
        return super().said(lease) + (f" at place {lease['place']}" if lease["place"] else "")


class PinApp(LeaseApp):
    """Keep a lease's device although it is idle."""

    name = "jupyter-fastgpu-pin"
    description = "Never park a lease for others; it is billed all the time."
    pinned = True

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Pin it, or not."""
        return client.pin(lease_id, pinned=self.pinned)

    def said(self, lease: LeaseView) -> str:
        """What follows from it."""
        if lease["retention"] == "hold":
            return "is pinned: it keeps its GPU although no cell runs"
        return "is not pinned: it may be parked while no cell runs"


class UnpinApp(PinApp):
    """Let an idle lease be parked for others."""

    name = "jupyter-fastgpu-unpin"
    description = "Let a lease be parked for others while no cell runs; this is how leases begin."
    pinned = False


def _tables(status: StatusView) -> list[str]:
    pool = status["pool"]
    lines = [f"FastGPU pool {pool['version']} ({pool['scope']}{', simulated' if pool['simulated'] else ''})"]
    if pool["message"]:
        lines.append(pool["message"])
    lines += ["", *table(("DEVICE", "MODEL", "FREE", "OF", "USE", "HEALTH"), map(_device_row, status["devices"]))]
    lines += [_foreign(device, one) for device in status["devices"] for one in device.get("foreign", ())]
    lines += [f"{one['id']}: {one['health_reason']}" for one in status["devices"] if one["health_reason"]]
    lines += [f"{one['id']}: {one['fault_message']}" for one in status["leases"] if one["fault_message"]]
    lines += ["", *table(("LEASE", "STATE", "PROFILE", "DEVICE", "LIMIT", "NOTEBOOK", "ACTIVE", "COST"),
                          map(_lease_row, status["leases"]))]  # fmt: skip
    lines += [f"{one['id']}: {one['limit_message']}" for one in status["leases"] if one.get("limit_message")]
    lines += [f"{one['id']}: {said}" for one in status["leases"] for said in _of_memory_and_files(one)]
    lines += [f"{one['id']}: {one['size_message']}" for one in status["leases"] if one.get("size_message")]
    lines += ["", *table(_QUEUE, map(_queue_row, status["queue"]))]
    return lines


def _of_memory_and_files(lease: Any) -> list[str]:
    """What becomes of the device's memory once the lease is over, and whether other devices' files are closed to it."""
    scrub, detail = lease.get("scrub"), lease.get("scrub_detail")
    scrubbed = format_memory(lease["scrub_bytes"]) if scrub == "overwritten" else ""
    said = [
        lease["pending_detail"] if lease["state"] == "draining" else None,
        " ".join(filter(None, (f"{scrubbed} of its GPU's memory were overwritten." if scrubbed else None, detail))),
        lease.get("device_nodes_message") if lease["state"] == "active" else None,
    ]
    return [one for one in said if one]


def _foreign(device: Any, one: Any) -> str:
    memory = "an unknown amount" if one["memory_bytes"] is None else format_memory(one["memory_bytes"])
    whose = f"lease {one['lease_id']} of another GPU" if one["lease_id"] else "no lease"
    return f"{device['id']}: process {one['pid']} of {one['user']} has {memory} there and {whose}."


def _device_row(device: Any) -> tuple[str, ...]:
    name = device["model"] + (" (simulated)" if device["simulated"] else " (mig)" if device["partitions"] else "")
    use = "-" if device["utilization_percent"] is None else f"{device['utilization_percent']} %"
    free, total = format_memory(device["memory_free_bytes"]), format_memory(device["memory_bytes"])
    health = "drained" if device["drained"] and device["health"] == "healthy" else device["health"]
    return device["id"], name, free, total, use, health


def _lease_row(lease: Any) -> tuple[str, ...]:
    cost = format_money(lease["cost_micro"], lease["currency"])
    active = format_duration(lease["active_ms"])
    return (
        lease["id"],
        lease["state"] + _why_so(lease),
        lease["profile"] + _partition(lease),
        lease["device_id"] or "-",
        f"{lease['mechanism']}, {lease['enforcement']}" if lease["mechanism"] else "-",
        lease["notebook"] or "-",
        active,
        cost,
    )


def _partition(lease: Any) -> str:
    return f" ({lease['mechanism']} {lease['partition']})" if lease["partition"] else ""


def _why_so(lease: Any) -> str:
    """What there is to say of the lease's state, in parentheses."""
    reason = lease["end_reason"]
    if lease["state"] in PARKED_OR_PARKING:
        reason = lease["park_reason"]
    elif lease["state"] == "active" and lease["retention"] == "hold":
        reason = "pinned"
    return f" ({reason})" if reason else ""


def _queue_row(ticket: Any) -> tuple[str, ...]:
    wait = "-" if ticket["estimate_ms"] is None else f"about {format_duration(ticket['estimate_ms'])}"
    name = ticket["lease_id"] or "(somebody else's)"
    return str(ticket["place"]), name, ticket["profile"], ticket["priority"], wait, ticket["detail"]
