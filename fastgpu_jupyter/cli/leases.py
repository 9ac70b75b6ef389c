"""Commands for leases and the queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from ..core.model.lifecycle import PARKED_OR_PARKING
from ..errors import InvalidRequest, Message
from ..messages import joined, render, say, sentence_of, sentences_of, word
from ..units import format_duration, format_memory, format_money, parse_duration
from ..wire.client import PoolClient
from ..wire.lease_view import device_of, explanation_of, position_of, time_left_ms, value_of
from ..wire.schemas import (
    ClusterKindView,
    DeviceView,
    LeaseView,
    MessageView,
    PoolClusterView,
    QueueEntryView,
    StatusView,
    UnleasedProcessView,
)
from ..wire.version import difference_in_status
from .command import ClientApp, LeaseApp, format_day_time, purpose, table


class StatusApp(ClientApp):
    """The command that shows devices, leases and the queue."""

    name = "jupyter-fastgpu-status"
    description = "Show the pool's devices, your leases and the queue."

    def run(self, client: PoolClient) -> None:
        """Print the status as a table or as one JSON object."""
        status = client.status()
        self.show(status, *status_lines(status), indent=2)


class ReleaseApp(ClientApp):
    """The command that releases leases."""

    name = "jupyter-fastgpu-release"
    description = "Give back the lease with the given id; its kernel and variables are kept."

    def run(self, client: PoolClient) -> None:
        """Release each named lease and print its cost."""
        if not self.extra_args:
            raise InvalidRequest(Message.of("cli.name_lease"))
        for lease_id in self.extra_args:
            lease = client.release(lease_id)
            active_ms, state = lease["usage"]["active_ms"], lease["state"]
            text = say("cli.released", lease=lease["id"], state=state, active_ms=active_ms, cost=_cost(lease))
            self.show(lease, text)


class QueueApp(ClientApp):
    """The command that shows the queue."""

    name = "jupyter-fastgpu-queue"
    description = "Show the queue: positions, reasons and estimates."

    def run(self, client: PoolClient) -> None:
        """Print the queue as a table or as JSON."""
        queue = client.queue()
        self.show({"queue": queue}, *_queue_table(queue), indent=2)


class ResizeApp(ClientApp):
    """The command that changes the size of a lease."""

    name = "jupyter-fastgpu-resize"
    description = "Change the size of a lease while its kernel runs: jupyter fastgpu resize LEASE half."

    def run(self, client: PoolClient) -> None:
        """Resize the lease and print the outcome."""
        if len(self.extra_args) != 2:
            raise InvalidRequest(Message.of("cli.name_lease_and_size"))
        lease = client.resize(*self.extra_args)
        size, limit_bytes, lease_id = lease["request"]["size"], lease["memory"]["limit_bytes"], lease["id"]
        if lease["state"] != "active":
            text = say("cli.resized_later", lease=lease_id, state=lease["state"], size=size)
        elif limit_bytes:
            text = say("cli.resized_to", lease=lease_id, size=size, limit_bytes=limit_bytes)
        else:
            text = say("cli.resized", lease=lease_id, size=size)
        self.show(lease, joined((text, sentence_of(lease["size"]["message"]))))


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
            return say("cli.migrates_at_restart", lease=lease["id"])
        return say("cli.migrates", lease=lease["id"])


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
        position = position_of(lease)
        if position is None:
            return super().outcome(lease)
        return say("cli.state_at_position", lease=lease["id"], state=lease["state"], position=position)


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
            return say("cli.pinned", lease=lease["id"])
        return say("cli.unpinned", lease=lease["id"])


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
            raise InvalidRequest(Message.of("cli.name_lease_and_time"))
        lease_id, text = self.extra_args
        lease = client.snooze(lease_id, parse_duration(text))
        until = lease["idle"]["snoozed_until"]
        if until is None:
            self.show(lease, say("cli.not_snoozed", lease=lease_id))
        else:
            self.show(lease, say("cli.snoozed", lease=lease_id, time=format_day_time(until)))


def status_lines(status: StatusView) -> list[str]:
    """Return what the command prints for people."""
    pool = status["pool"]
    version, scope = pool["version"], pool["scope"]
    lines = [
        say("cli.pool_simulated", version=version, scope=scope)
        if pool["simulated"]
        else say("cli.pool", version=version, scope=scope)
    ]
    if differs := difference_in_status(pool["version"]):
        lines.append(render(differs))
    cluster = pool.get("cluster")
    said = (pool["message"], pool["carried_over"], None if cluster is None else cluster["message"])
    lines += [text for message in said if (text := sentence_of(message))]
    lines += ["", *(device_lines(status["devices"]) if cluster is None else _kind_lines(cluster))]
    lines += _messages(status["leases"], lambda lease: [lease["health"]["message"]])
    head = (
        say("column.lease"), say("column.state"), say("column.size"), say("column.device"), say("column.limit"),
        say("column.notebook"), say("column.active"), say("column.cost"),
    )  # fmt: skip
    lines += ["", *table(head, map(_lease_row, status["leases"]), say("cli.no_leases"))]
    lines += _messages(status["leases"], lambda lease: [lease["enforcement"]["message"]])
    lines += [
        say("cli.of_one", view=lease["id"], text=text)
        for lease in status["leases"]
        for text in (*_cluster(lease), *_scrub_and_access(lease))
    ]
    lines += _messages(status["leases"], lambda lease: [lease["size"]["message"], lease["idle"]["message"]])
    return [*lines, "", *_queue_table(status["queue"])]


def _queue_table(queue: Sequence[QueueEntryView]) -> list[str]:
    head = (
        say("column.position"), say("column.lease"), say("column.size"), say("column.priority"), say("column.wait"),
        say("column.reason"),
    )  # fmt: skip
    return table(head, map(_queue_row, queue), say("cli.no_requests"))


def device_lines(devices: Sequence[DeviceView]) -> list[str]:
    """Return a table of devices, and below it what is to be said of some of them."""
    head = (
        say("column.device"), say("column.model"), say("column.free"), say("column.of"), say("column.use"),
        say("column.health"),
    )  # fmt: skip
    lines = table(head, map(_device_row, devices), say("cli.no_devices"))
    lines += [_unleased(device, one) for device in devices for one in device["unleased_processes"]]
    return lines + _messages(devices, lambda device: [device["health"]["message"], device["processes_message"]])


def _kind_lines(cluster: PoolClusterView) -> list[str]:
    """Return a table of what a cluster offered when it was last asked, or that it has not answered yet."""
    if cluster["kinds"] is None:
        return [say("cli.cluster_offers_unknown")]
    head = (
        say("column.model"), say("column.cluster_partition"), say("column.nodes"), say("column.per_node"),
        say("column.parts"), say("column.time_limit"),
    )  # fmt: skip
    return table(head, map(_kind_row, cluster["kinds"]), say("cli.cluster_offers_nothing"))


def _kind_row(kind: ClusterKindView) -> tuple[str, ...]:
    shards, longest_ms = kind["shards_per_gpu"], kind["time_limit_max_ms"]
    parts = [*([f"1/{shards}"] if shards else []), *kind["mig"]]
    longest = "-" if longest_ms is None else format_duration(longest_ms)
    return (
        kind["model"] or "-",
        kind["partition"],
        str(kind["nodes"]),
        str(kind["per_node_max"]),
        ", ".join(parts) or "-",
        longest,
    )


def _messages(views: Sequence[Any], messages_of: Callable[[Any], list[MessageView | None]]) -> list[str]:
    found = ((view["id"], sentence_of(message)) for view in views for message in messages_of(view))
    return [say("cli.of_one", view=name, text=text) for name, text in found if text]


def _cluster(lease: LeaseView) -> list[str]:
    """Return the job, the host and the time left of a lease of a cluster, and what is to be known of it now."""
    cluster = lease.get("cluster")
    if cluster is None or lease["state"] == "ended":
        return []
    job, host = cluster["job_id"] or say("value.unknown"), cluster["host"]
    left_ms = time_left_ms(lease, int(time.time() * 1000))
    if host is None:
        texts = [say("cli.cluster_job", job=job), sentence_of(cluster["reason"])]
    elif left_ms is None:
        texts = [say("cli.cluster_job_on", job=job, host=host)]
    else:
        texts = [say("cli.cluster_job_ends", job=job, host=host, left_ms=left_ms)]
    return [text for text in (*texts, sentence_of(cluster["message"])) if text]


def _scrub_and_access(lease: LeaseView) -> list[str]:
    """Return what is known of the lease's device memory once it is over, and of its access to other devices."""
    scrub = lease["scrub"]
    overwritten = scrub["bytes"] if scrub else None
    texts = [
        sentences_of(explanation_of(lease)) if lease["state"] == "draining" else None,
        say("cli.overwritten", overwritten_bytes=overwritten) if overwritten is not None else None,
        sentence_of(scrub["message"]) if scrub else None,
        sentence_of(lease["device_access"]["message"]) if lease["state"] == "active" else None,
    ]
    return [text for text in texts if text]


def _unleased(device: DeviceView, process: UnleasedProcessView) -> str:
    memory_bytes, lease = process["memory_bytes"], process["lease_id"]
    memory = say("cli.unknown_amount") if memory_bytes is None else format_memory(memory_bytes)
    name, pid, user = device["id"], process["pid"], process["user"]
    if lease:
        return say("cli.unleased_here", device=name, pid=pid, user=user, memory=memory, lease=lease)
    return say("cli.unleased", device=name, pid=pid, user=user, memory=memory)


def _device_row(device: DeviceView) -> tuple[str, ...]:
    divided = bool(device["capabilities"]["partitions"])
    model = device["model"] + (" (mig)" if divided and not device["simulated"] else "")
    name = say("value.simulated", model=model) if device["simulated"] else model
    utilization = device["usage"]["utilization_percent"]
    use = "-" if utilization is None else f"{utilization} %"
    free, total = format_memory(device["memory"]["free_bytes"]), format_memory(device["memory"]["total_bytes"])
    state = device["health"]["state"]
    drained = device["drained"] and state == "healthy"
    return device["id"], name, free, total, use, say("cli.drained_word") if drained else word("device_state", state)


def _lease_row(lease: LeaseView) -> tuple[str, ...]:
    gpu = lease["gpu"]
    partition = f" ({gpu['mechanism']} {gpu['partition']})" if gpu and gpu["partition"] else ""
    return (
        lease["id"],
        word("state", lease["state"]) + _why_so(lease),
        lease["request"]["size"] + partition,
        device_of(lease) or "-",
        f"{gpu['mechanism']}, {lease['enforcement']['memory_limit']}" if gpu else "-",
        purpose(lease["holder"]["job"], lease["holder"]["notebook"]),
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
        reason = say("cli.pinned_word")
    return f" ({reason})" if reason else ""


def _queue_row(entry: QueueEntryView) -> tuple[str, ...]:
    wait = "-" if entry["estimate_ms"] is None else say("cli.about", wait_ms=entry["estimate_ms"])
    name = entry["lease_id"] or say("cli.of_another_user")
    position = str(entry["position"] or "-")  # a cluster may not say it
    return position, name, entry["size"], entry["priority"], wait, sentence_of(entry["reason"]) or ""
