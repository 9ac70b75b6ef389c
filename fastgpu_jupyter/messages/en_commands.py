"""The English sentences and columns that only the command line prints; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "column.active": "ACTIVE",
    "column.amount": "AMOUNT",
    "column.at_limit": "AT THE LIMIT",
    "column.budget": "BUDGET",
    "column.by_month": "BY THE MONTH",
    "column.by_year": "BY THE YEAR",
    "column.cluster_partition": "PARTITION",
    "column.cost": "COST",
    "column.device": "DEVICE",
    "column.devices": "DEVICES",
    "column.free": "FREE",
    "column.from": "FROM",
    "column.group": "GROUP",
    "column.guaranteed": "GUARANTEED",
    "column.health": "HEALTH",
    "column.holds": "HOLDS",
    "column.host_memory": "HOST MEMORY",
    "column.kernel": "KERNEL",
    "column.lease": "LEASE",
    "column.limit": "LIMIT",
    "column.model": "MODEL",
    "column.nodes": "NODES",
    "column.notebook": "NOTEBOOK OR JOB",
    "column.of": "OF",
    "column.parts": "PARTS",
    "column.passed": "PASSED",
    "column.per_hour": "PER HOUR",
    "column.per_node": "GPUS PER NODE",
    "column.plan": "PLAN",
    "column.position": "POSITION",
    "column.priority": "PRIORITY",
    "column.reason": "REASON",
    "column.reservation": "RESERVATION",
    "column.since": "SINCE",
    "column.size": "SIZE",
    "column.memory": "MEMORY",
    "column.rate_per_hour": "RATE/H",
    "column.takes_effect": "EFFECT",
    "column.spent": "SPENT",
    "column.state": "STATE",
    "column.tenant": "TENANT",
    "column.time_limit": "LONGEST TIME",
    "column.until": "UNTIL",
    "column.use": "USE",
    "column.wait": "WAIT",
    "column.weight": "WEIGHT",
    "cli.no_leases": "Leases: none.",
    "cli.no_devices": "Devices: none.",
    "cli.cluster_offers_unknown": "The cluster has not said yet which GPUs it has.",
    "cli.cluster_offers_nothing": "The cluster offers you no GPUs: ask your administrator.",
    "cli.no_requests": "No requests are waiting.",
    "cli.no_rates": "Models: none.",
    "cli.no_tenants": "Tenants: none.",
    "cli.no_reservations": "Reservations: none.",
    "cli.no_option": "There is no option --{option}, and nothing was done. --help lists the options.",
    "cli.name_lease": "Name a lease; `jupyter fastgpu status` lists them.",
    "cli.name_one_lease_or_none": "Name one lease, or none for a new request.",
    "cli.no_such_gpus": "This pool has no such GPUs.",
    "cli.name_lease_and_size": "Name a lease and its new size, like half or 24GiB.",
    "cli.name_lease_and_time": "Name a lease and a time, like 30m or 2h.",
    "cli.name_device": "Name a device; `jupyter fastgpu status` lists them.",
    "cli.devices_usage": "Use `jupyter fastgpu devices`, alone or with `forget DEVICE`, `release` or `use`.",
    "cli.name_device_and_mode": "Name a device, and on or off; `jupyter fastgpu status` lists devices.",
    "cli.name_tenant_and_amount": (
        "Name a tenant and an amount, like `jupyter fastgpu budget ann 250`, or `ann none`."
    ),
    "cli.name_lease_and_amount": "Name a lease and an amount, like `jupyter fastgpu budget --lease LEASE 5`.",
    "cli.name_tenant_and_size": "Name a tenant and a size, like `jupyter fastgpu reserve ann 2xa100 --plan=month`.",
    "cli.no_day": "{text} is not a day; write it like 2026-12-01.",
    "cli.state": "{lease} is {state}.",
    "cli.state_at_position": "{lease} is {state} at position {position}.",
    "cli.released": "Released {lease} ({state}) after {active_ms}, {cost}.",
    "cli.resized": "{lease} is {size} now.",
    "cli.resized_to": "{lease} is {size} now ({limit_bytes}).",
    "cli.resized_later": "{lease} is {state}, and {size} from then on.",
    "cli.migrates_at_restart": (
        "{lease} migrates to another GPU when its kernel restarts; the restart discards its GPU memory."
    ),
    "cli.migrates": "{lease} migrates to another GPU with its memory.",
    "cli.pinned": "{lease} is pinned: it keeps its GPU while no cell runs.",
    "cli.unpinned": "{lease} is not pinned: it may be parked while no cell runs.",
    "cli.snoozed": "{lease} is left alone until {time} UTC.",
    "cli.not_snoozed": "{lease} is not snoozed.",
    "cli.drained": "{device} gets no new leases; {count} still hold it.",
    "cli.in_service": "{device} is in service again.",
    "cli.may_cost": "{lease} may cost {budget}; so far it is {cost}.",
    "cli.may_cost_all": "{lease} may cost as much as it does; so far it is {cost}.",
    "cli.no_usage": "No usage in this month.",
    "cli.total": "Total",
    "cli.reserved": "(reserved {reservation})",
    "cli.group": "group {group}",
    "cli.reading_history": "The pool reads its whole history",
    "cli.pool": "FastGPU pool {version} ({scope})",
    "cli.pool_simulated": "FastGPU pool {version} ({scope}, simulated)",
    "cli.overwritten": "{overwritten_bytes} of its GPU's memory were overwritten.",
    "cli.unleased": "{device}: process {pid} of {user} has {memory} there and no lease.",
    "cli.unleased_here": "{device}: process {pid} of {user} has {memory} there and lease {lease} of another GPU.",
    "cli.unknown_amount": "an unknown amount",
    "cli.about": "about {wait_ms}",
    "cli.of_another_user": "(another user's)",
    "cli.drained_word": "drained",
    "cli.pinned_word": "pinned",
    "cli.silence_or_undo": "Give --silence or --undo, one of the two.",
    "cli.no_active_lease": "No lease is active.",
    "cli.cluster_job": "Job {job} of the cluster waits.",
    "cli.cluster_job_on": "Job {job} of the cluster, on {host}.",
    "cli.cluster_job_ends": "Job {job} of the cluster, on {host}; it ends in {left_ms}.",
    "cli.of_one": "{view}: {text}",
    # -- jupyter fastgpu run ----------------------------------------------------------------------------------------
    "run.usage": (
        "Run a command on a leased GPU: jupyter fastgpu run {options} -- COMMAND [ARGUMENT ...]. It waits in the "
        "queue, and ends with the exit status of the command: 128 and the number of a signal that ended it, 125 if "
        "there was no lease, 126 or 127 if there is no such program."
    ),
    "run.no_command": (
        "Name the command to run, like `jupyter fastgpu run --size half -- python train.py`. Nothing was requested."
    ),
    "run.no_such_option": "There is no option {option}, and nothing was requested. --help lists the options.",
    "run.not_found": "The command {command} was not found, and nothing was requested. Check its name and the PATH.",
    "run.not_executable": (
        "The file {command} may not be executed, and nothing was requested. `chmod +x` allows it; or name its "
        "interpreter, as in `-- python {command}`."
    ),
    "run.no_format": (
        "The file {command} is no program that the system can execute. The lease was released; name its interpreter, "
        "as in `-- bash {command}`."
    ),
    "run.not_started": "The command {command} could not be started: {reason}. The lease was released.",
    "run.wait_ended": "The wait was ended; the request is cancelled, and the command was not started.",
    "run.wait_ended_at_position": (
        "The wait was ended at position {position} in the queue; the request is cancelled, and the command was not "
        "started."
    ),
    "run.ended_before_start": "The command was not started, because its lease ended: {reason}",
    "run.end_unknown": "The pool manager does not know it any more.",
    "run.granted": "{model}, device {device}{memory}{cost}; lease {lease}.",
    "run.memory": ", {limit_bytes} of memory",
    "run.rate": ", {rate} per hour",
    "run.ended_with_lease": "The command ended with its lease: {reason} Its files are kept.",
    "run.lease_ended": (
        "The lease of the command ended: {reason} The command was asked to end, and is killed after {seconds} seconds. "
        "Its files are kept."
    ),
    "run.parked": "The GPU of the command was parked: {reason} The command waits for it; its memory is kept.",
    "run.parked_at_position": (
        "The GPU of the command was parked: {reason} The command waits for it at position {position} in the queue; its "
        "memory is kept. {why} {expected}"
    ),
    "run.parked_for_good": (
        "The GPU of the command was parked: {reason} The command waits until you run `jupyter fastgpu resume {lease}`; "
        "its memory is kept."
    ),
    "run.resumed": "The command has its GPU again.",
    "run.left": {
        "plural": "count",
        "one": "A process that the command had left running was ended, because the lease is released.",
        "other": "{count} processes that the command had left running were ended, because the lease is released.",
    },
    "run.guard_killed": (
        "The process that supervises the command was killed; the command and what it had started were ended with it. "
        "Its files are kept."
    ),
    "run.remain": {
        "plural": "count",
        "one": (
            "A process of the command cannot be ended: it waits for a device. The GPU is free for others once it has "
            "ended."
        ),
        "other": (
            "{count} processes of the command cannot be ended: they wait for a device. The GPU is free for others once "
            "they have ended."
        ),
    },
}
