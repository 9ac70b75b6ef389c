"""Commands for leases and the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core.model.lifecycle import PARKED_OR_PARKING
from ..errors import InvalidRequest
from ..messages import sentence_of, sentences_of
from ..text import shortened
from ..units import format_duration, format_memory, format_money, parse_duration
from ..wire.client import PoolClient
from ..wire.lease_view import device_of, explanation_of, position_of, value_of
from ..wire.schemas import DeviceView, LeaseView, MessageView, QueueEntryView, StatusView, UnleasedProcessView
from ..wire.version import difference_in_status
from .command import NOTEBOOK_WIDTH, ClientApp, LeaseApp, format_day_time, table

_QUEUE = ("POSITION", "LEASE", "SIZE", "PRIORITY", "WAIT", "REASON")


class StatusApp(ClientApp):
    """The command that shows devices, leases and the queue."""

    name = "jupyter-fastgpu-status"
    description = "Show the pool's devices, your leases and the queue."

    def run(self, client: PoolClient) -> None:
        """Print the status as a table or as one JSON object."""
        status = client.status()
        self.show(status, *_tables(status), indent=2)


class ReleaseApp(ClientApp):
    """The command that releases leases."""

    name = "jupyter-fastgpu-release"
    description = "Give back the lease with the given id; its kernel and variables are kept."

    def run(self, client: PoolClient) -> None:
        """Release each named lease and print its cost."""
        if not self.extra_args:
            raise InvalidRequest("Name a lease; `jupyter fastgpu status` lists them.")
        for lease_id in self.extra_args:
            lease = client.release(lease_id)
            active = format_duration(lease["usage"]["active_ms"])
            self.show(lease, f"Released {lease['id']} ({lease['state']}) after {active}, {_cost(lease)}.")


class QueueApp(ClientApp):
    """The command that shows the queue."""

    name = "jupyter-fastgpu-queue"
    description = "Show the queue: positions, reasons and estimates."

    def run(self, client: PoolClient) -> None:
        """Print the queue as a table or as JSON."""
        queue = client.queue()
        self.show({"queue": queue}, *table(_QUEUE, map(_queue_row, queue)), indent=2)


class ResizeApp(ClientApp):
    """The command that changes the size of a lease."""

    name = "jupyter-fastgpu-resize"
    description = "Change the size of a lease while its kernel runs: jupyter fastgpu resize LEASE half."

    def run(self, client: PoolClient) -> None:
        """Resize the lease and print the outcome."""
        if len(self.extra_args) != 2:
            raise InvalidRequest("Name a lease and its new size, like half or 24GiB.")
        lease = client.resize(*self.extra_args)
        size, limit_bytes = lease["request"]["size"], lease["memory"]["limit_bytes"]
        has = f" ({format_memory(limit_bytes)})" if limit_bytes else ""
        now = f"is {size} now{has}"
        if lease["state"] != "active":
            now = f"is {lease['state']}, and {size} from then on"
        texts = [f"{lease['id']} {now}.", sentence_of(lease["size"]["message"]) or ""]
        self.show(lease, " ".join(texts).rstrip())


class MigrateApp(LeaseApp):
    """The command that migrates a lease off an unhealthy device."""

    name = "jupyter-fastgpu-migrate"
    description = (
        "Migrate a lease off an unhealthy GPU: with its memory, or without it at the next restart of its kernel."
    )

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Migrate the lease off its device."""
        return client.migrate(lease_id)

    def outcome(self, lease: LeaseView) -> str:
        """Return what the user has to do and what is lost."""
        if lease["health"]["migration"] == "accepted":
            return "migrates to another GPU when its kernel restarts; the restart discards its GPU memory"
        return "migrates to another GPU with its memory"


class ParkApp(LeaseApp):
    """The command that parks leases."""

    name = "jupyter-fastgpu-park"
    description = "Move a lease's device memory to host memory and free its device; the next cell resumes the lease."

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Park the lease until its next cell."""
        return client.park(lease_id)


class ResumeApp(LeaseApp):
    """The command that resumes parked leases."""

    name = "jupyter-fastgpu-resume"
    description = "Request the device of a parked lease without running a cell."

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Request the device of the lease again."""
        return client.resume(lease_id)

    def outcome(self, lease: LeaseView) -> str:
        """Return the state, with the position where the lease waits."""
        return super().outcome(lease) + (f" at position {position}" if (position := position_of(lease)) else "")


class PinApp(LeaseApp):
    """The command that sets the retention of leases to ``hold``."""

    name = "jupyter-fastgpu-pin"
    description = "Never park a lease for others; it is billed all the time."
    pinned = True

    def change(self, client: PoolClient, lease_id: str) -> LeaseView:
        """Set the retention of the lease."""
        return client.pin(lease_id, pinned=self.pinned)

    def outcome(self, lease: LeaseView) -> str:
        """Return what the retention means."""
        if lease["parking"]["retention"] == "hold":
            return "is pinned: it keeps its GPU while no cell runs"
        return "is not pinned: it may be parked while no cell runs"


class UnpinApp(PinApp):
    """The command that sets the retention of leases to ``yield``."""

    name = "jupyter-fastgpu-unpin"
    description = "Allow a lease to be parked for others while no cell runs, which is the default."
    pinned = False


class SnoozeApp(ClientApp):
    """The command that puts off the steps of the idle policy."""

    name = "jupyter-fastgpu-snooze"
    description = "Put off what is done because a lease is idle: jupyter fastgpu snooze LEASE 2h."

    def run(self, client: PoolClient) -> None:
        """Put the steps off and print until when."""
        if len(self.extra_args) != 2:
            raise InvalidRequest("Name a lease and a time, like 30m or 2h.")
        lease_id, text = self.extra_args
        lease = client.snooze(lease_id, parse_duration(text))
        until = lease["idle"]["snoozed_until"]
        outcome = "is not snoozed" if until is None else f"is left alone until {format_day_time(until)} UTC"
        self.show(lease, f"{lease_id} {outcome}.")


def _tables(status: StatusView) -> list[str]:
    pool = status["pool"]
    lines = [f"FastGPU pool {pool['version']} ({pool['scope']}{', simulated' if pool['simulated'] else ''})"]
    if differs := difference_in_status(pool["version"]):
        lines.append(differs)
    lines += [message["text"] for message in (pool["message"], pool["carried_over"]) if message]
    lines += ["", *device_lines(status["devices"])]
    lines += _messages(status["leases"], lambda lease: [lease["health"]["message"]])
    lines += ["", *table(("LEASE", "STATE", "SIZE", "DEVICE", "LIMIT", "NOTEBOOK", "ACTIVE", "COST"),
                          map(_lease_row, status["leases"]))]  # fmt: skip
    lines += _messages(status["leases"], lambda lease: [lease["enforcement"]["message"]])
    lines += [f"{lease['id']}: {text}" for lease in status["leases"] for text in _scrub_and_access(lease)]
    lines += _messages(status["leases"], lambda lease: [lease["size"]["message"], lease["idle"]["message"]])
    lines += ["", *table(_QUEUE, map(_queue_row, status["queue"]))]
    return lines


def device_lines(devices: Sequence[DeviceView]) -> list[str]:
    """Return a table of devices, and below it what is to be said of some of them."""
    lines = table(("DEVICE", "MODEL", "FREE", "OF", "USE", "HEALTH"), map(_device_row, devices))
    lines += [_unleased(device, one) for device in devices for one in device["unleased_processes"]]
    return lines + _messages(devices, lambda device: [device["health"]["message"], device["processes_message"]])


def _messages(views: Sequence[Any], messages_of: Callable[[Any], list[MessageView | None]]) -> list[str]:
    return [f"{view['id']}: {sentence_of(message)}" for view in views for message in messages_of(view) if message]


def _scrub_and_access(lease: LeaseView) -> list[str]:
    """Return what is known of the lease's device memory once it is over, and of its access to other devices."""
    scrub = lease["scrub"]
    overwritten = scrub["bytes"] if scrub else None
    texts = [
        sentences_of(explanation_of(lease)) if lease["state"] == "draining" else None,
        f"{format_memory(overwritten)} of its GPU's memory were overwritten." if overwritten is not None else None,
        sentence_of(scrub["message"]) if scrub else None,
        sentence_of(lease["device_access"]["message"]) if lease["state"] == "active" else None,
    ]
    return [text for text in texts if text]


def _unleased(device: DeviceView, process: UnleasedProcessView) -> str:
    memory = "an unknown amount" if process["memory_bytes"] is None else format_memory(process["memory_bytes"])
    whose = f"lease {process['lease_id']} of another GPU" if process["lease_id"] else "no lease"
    return f"{device['id']}: process {process['pid']} of {process['user']} has {memory} there and {whose}."


def _device_row(device: DeviceView) -> tuple[str, ...]:
    divided = bool(device["capabilities"]["partitions"])
    name = device["model"] + (" (simulated)" if device["simulated"] else " (mig)" if divided else "")
    utilization = device["usage"]["utilization_percent"]
    use = "-" if utilization is None else f"{utilization} %"
    free, total = format_memory(device["memory"]["free_bytes"]), format_memory(device["memory"]["total_bytes"])
    state = device["health"]["state"]
    return device["id"], name, free, total, use, "drained" if device["drained"] and state == "healthy" else state


def _lease_row(lease: LeaseView) -> tuple[str, ...]:
    gpu = lease["gpu"]
    partition = f" ({gpu['mechanism']} {gpu['partition']})" if gpu and gpu["partition"] else ""
    return (
        lease["id"],
        lease["state"] + _why_so(lease),
        lease["request"]["size"] + partition,
        device_of(lease) or "-",
        f"{gpu['mechanism']}, {lease['enforcement']['memory_limit']}" if gpu else "-",
        shortened(lease["holder"]["notebook"] or "-", NOTEBOOK_WIDTH),
        format_duration(lease["usage"]["active_ms"]),
        _cost(lease),
    )


def _cost(lease: LeaseView) -> str:
    return format_money(lease["money"]["cost_micro"], lease["money"]["currency"])


def _why_so(lease: LeaseView) -> str:
    """Return the reason of the lease's state in parentheses, where there is one."""
    reason = value_of(lease["end_reason"])
    if lease["state"] in PARKED_OR_PARKING:
        reason = value_of(lease["parking"]["reason"])
    elif lease["state"] == "active" and lease["parking"]["retention"] == "hold":
        reason = "pinned"
    return f" ({reason})" if reason else ""


def _queue_row(entry: QueueEntryView) -> tuple[str, ...]:
    wait = "-" if entry["estimate_ms"] is None else f"about {format_duration(entry['estimate_ms'])}"
    name = entry["lease_id"] or "(another user's)"
    return str(entry["position"]), name, entry["size"], entry["priority"], wait, entry["reason"]["text"]
