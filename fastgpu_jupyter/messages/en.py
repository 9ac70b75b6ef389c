"""The English sentences, by code. A dictionary instead of a text is a plural; see :mod:`fastgpu_jupyter.messages`.

A sentence says what happened, what was kept and what to do next. Codes that are continued by another sentence, or that
are a part of one, are phrases and have no full stop.
"""

from __future__ import annotations

from . import (
    en_agents,
    en_cache,
    en_calls,
    en_cluster,
    en_commands,
    en_drivers,
    en_engine,
    en_job_views,
    en_jobs,
    en_kept,
    en_kernel,
    en_operation,
    en_set_up,
    en_slurm,
    en_standby,
)

MESSAGES: dict[str, str | dict[str, str]] = {
    **en_agents.MESSAGES,
    **en_cache.MESSAGES,
    **en_calls.MESSAGES,
    **en_cluster.MESSAGES,
    **en_commands.MESSAGES,
    **en_drivers.MESSAGES,
    **en_engine.MESSAGES,
    **en_jobs.MESSAGES,
    **en_job_views.MESSAGES,
    **en_kernel.MESSAGES,
    **en_kept.MESSAGES,
    **en_operation.MESSAGES,
    **en_set_up.MESSAGES,
    **en_slurm.MESSAGES,
    **en_standby.MESSAGES,
    # -- what a device, a driver or the system said ----------------------------------------------------------------
    "host.detail": "{text}",
    "driver.no_answer": (
        "The GPU driver does not answer. Nothing is granted here until it does; leases keep their place and are not "
        "billed. See `jupyter fastgpu doctor`."
    ),
    "pool.carried_over": (
        "This pool manager was started in place of one that was killed, and has its settings while its leases live: "
        "{settings}. It ends with the last lease; the next one has its own settings again."
    ),
    "pool.bug": "The pool manager met a bug of its own; see its log.",
    "pool.silent": (
        "The pool manager has not answered for {seconds} seconds: it is stopped, or the machine is overloaded. Leases "
        "and running cells continue."
    ),
    "pool.outcome_unknown": (
        "The pool manager has not answered for {seconds} seconds. What you asked for may have been done: "
        "`jupyter fastgpu status` shows it once the pool manager answers."
    ),
    "pool.no_message": (
        "The pool manager has sent no message for some seconds: it is stopped, or the machine is overloaded. Leases "
        "and running cells continue."
    ),
    "pool.out_of_descriptors": (
        "The pool manager has no file descriptor left. Nothing was changed; try again in {seconds} seconds. Its "
        "administrator can raise the limit of open files."
    ),
    "process.unobservable": "It cannot be found out whether process {pid} lives: {reason}.",
    "kernel.restart_refused": (
        "The kernel was not restarted and keeps its variables and its GPU, which it could lose by a restart now. "
        "{reason} Try again later, or shut the kernel down."
    ),
    "pool.starting": "The pool manager is being started and does not answer yet. Try again in a few seconds.",
    "statements.busy": (
        "Too many statements are requested at a time; each reads the whole history. Try again in {seconds} seconds."
    ),
    "statements.ended": "The process that makes the statement ended without an answer. Nothing was changed; try again.",
    "statements.no_journal": "There is no journal to make a statement of.",
    "statements.not_started": "The process that makes the statement could not be started: {reason}. Try again.",
    "statements.timeout": (
        "The statement takes too long to make, and was given up. `jupyter fastgpu statement` can be tried again; "
        "leases and bills are not affected."
    ),
    "statements.too_large": "The statement needs more memory than one may use. Leases and bills are not affected.",
    "server.busy": "Too many requests wait for the pool manager; this one was not sent. Try again in a few seconds.",
    "pool.too_many_connections": (
        "This pool has as many connections as it keeps; close some, or try again in {seconds} seconds."
    ),
    "http.body_too_large": "The body may have at most {bytes_max} bytes.",
    "http.no_such_path": "There is no such path below fastgpu/api.",
    "http.error": "{reason}.",
    # -- limits of the interface ---------------------------------------------------------------------------------------
    "limits.leases_of_tenant": {
        "plural": "seconds",
        "one": "You have {count} leases, as many as one user may have; release one, or try again in {seconds} second.",
        "other": "You have {count} leases, as many as one user may have; release one, or try again in {seconds} "
        "seconds.",
    },
    "limits.leases": {
        "plural": "seconds",
        "one": "This pool has {count} leases, as many as it keeps; release one, or try again in {seconds} second.",
        "other": "This pool has {count} leases, as many as it keeps; release one, or try again in {seconds} seconds.",
    },
    "limits.waiting_of_tenant": {
        "plural": "seconds",
        "one": "You wait for {count} leases, as many as one user may; release one, or try again in {seconds} second.",
        "other": "You wait for {count} leases, as many as one user may; release one, or try again in {seconds} "
        "seconds.",
    },
    "limits.waiting": {
        "plural": "seconds",
        "one": "{count} requests wait in this pool, as many as it queues; release one, or try again in {seconds} "
        "second.",
        "other": "{count} requests wait in this pool, as many as it queues; release one, or try again in {seconds} "
        "seconds.",
    },
    "limits.changes_of_tenant": (
        "You have made {count} changes today, as many as one user may make in a day. Nothing was changed, and leases, "
        "releasing and parking go on as before; the count begins again at {resets_at}, in {seconds} seconds."
    ),
    "limits.requests": {
        "plural": "seconds",
        "one": "You make more than {per_second} requests a second; make fewer, or try again in {seconds} second.",
        "other": "You make more than {per_second} requests a second; make fewer, or try again in {seconds} seconds.",
    },
    "limits.connections_of_tenant": (
        "You have as many connections to this pool as one user may have; close some, or try again in {seconds} seconds."
    ),
    "limits.subscribers": (
        "As many readers follow this pool as it serves; close some, or try again in {seconds} seconds."
    ),
    "limits.subscribers_of_tenant": (
        "You have as many readers of events as one user may have; close some, or try again in {seconds} seconds."
    ),
    "forbidden.administrators_only": "Only root and the user that the pool manager runs as may do that.",
    "forbidden.lease_token": "This needs the token of the lease, which only its own kernel and server have.",
    "forbidden.another_user": (
        "Lease {lease} belongs to another user than the one that this process is seen as here (uid {uid}). The lease "
        "was not changed. Start the kernel as the user who requested the lease, outside other user namespaces."
    ),
    "forbidden.priority_system": "Only root may request with priority system.",
    "forbidden.priority_high": (
        "On this pool only users named by its administrator may request with priority high: it takes GPUs from "
        "other users while they compute. Request with priority normal, or ask the administrator."
    ),
    "forbidden.process_of_another_user": "Process {pid} belongs to another user.",
    "request.body_too_large": "The body may have {most} bytes; this one has more.",
    "request.body_media_type": "The body must be JSON, sent as application/json.",
    "request.body_syntax": "The body is not JSON: {reason}.",
    "request.body_not_object": "The body must be a JSON object.",
    "request.idempotency_key": "Idempotency-Key must be 1 to 128 visible ASCII characters.",
    "request.lease_id": "{text} cannot be the id of a lease; `jupyter fastgpu status` lists them.",
    "request.device_id": "{text} cannot be the id of a device; `jupyter fastgpu status` lists them.",
    "request.not_integer": "{field} must be a whole number.",
    "request.not_bounded_integer": "{field} must be a whole number, at most 2^53.",
    "request.not_boolean": "{field} must be true or false.",
    "request.not_text": "{field} must be a text of at most {characters_max} characters.",
    "request.lone_surrogate": "{field} has half of a character (a lone surrogate) in it.",
    "request.not_names": "{field} must be a list of at most {names_max} names.",
    "request.library": "{field} must be names of at most 64 letters, digits, blanks and _.()+-.",
    "request.choice": "There is no {field} {value}; choose one of {choices}.",
    "request.priority": "There is no priority {value}; choose low, normal or high.",
    "request.resolution": "resolution must be one of {choices}.",
    "request.tenant": "tenant must be a name or a key of at most 264 characters, without control characters.",
    "request.group": "group must be a name of at most 256 characters, without control characters.",
    "tenant.no_uid": (
        "{key} is no tenant: the number of a user is one from 0 to {uid_max}. Nothing was changed; a name that has "
        "only digits and is no user's can be written as account:NAME."
    ),
    "tenant.unknown_tag": (
        "{key} is no tenant: a name with a colon must be a key such as uid:1001 or account:physics. Nothing was "
        "changed."
    ),
    "tenant.ambiguous": (
        "{name} is no user of this system now, and was the name of several: {keys}. Nothing was changed; name one of "
        "them by its key, or write account:{name} for an account of that name."
    ),
    "version.mismatch": (
        "The caller is {caller} and the pool manager is {pool}: they do not understand each other. Restart the kernel, "
        "server or command, after an upgrade of fastgpu-jupyter in its environment; leases are kept."
    ),
    "users.silent": "The user database of this system does not answer.",
    "users.fault": "The user database of this system does not answer: {reason}.",
    "users.who": (
        "It cannot be found out now who {name} is. {reason} Nothing was changed; try again later, or name the tenant "
        "by its key, such as uid:1001."
    ),
    "request.day": "since must be the begin of a day that goes on, in milliseconds since 1970.",
    "request.month": "{text} is not a month; write it like 2026-11.",
    "request.token_digest": "token_sha256 must be the SHA-256 of the lease's token, in hexadecimal.",
    "request.no_notebook": "notebook must be the new name of the notebook.",
    "request.new_size": "size must be the new size, such as half or 24GiB.",
    "request.reserved_size": "Reserve a number of devices or a part of one, like 2xa100 or a100:1/2.",
    "request.budget_missing": "{field} is missing. Give the amount, or null for no budget.",
    "request.gone": "There is no {name} any more.",
    "option.invalid": "{option}: {reason}",
    # -- what a user chose for the next start of a kernel --------------------------------------------------------------
    "intent.kernel_id": "The id of a kernel must be a UUID in lower case.",
    "intent.parameters": "What was chosen for this kernel cannot be used: {reason}. Nothing was started.",
    "intent.no_parameter": "There is no parameter {name}; use {choices}. Nothing was started.",
    "intent.id_taken": "This id is that of another kernel. Nothing was changed; choose the size again.",
    "intent.too_many": (
        "Too many kernels are being started with a chosen size. Nothing was started; try again in {seconds} seconds."
    ),
    "intent.another_user": (
        "Another user chose the size of this kernel. The kernel was not started, and the choice is kept for that user. "
        "Start a kernel of your own."
    ),
    "intent.used": (
        "The size that was chosen for this kernel was used before. The kernel was not started; choose the size again."
    ),
    "intent.expired": (
        "The size that was chosen for this kernel was kept for {seconds} seconds, and the start came later. The kernel "
        "was not started; choose the size again."
    ),
    # -- a lease for a kernel that runs --------------------------------------------------------------------------------
    "requested.too_many": (
        "{count} kernels of this server already wait for a GPU. Nothing was requested; cancel one of those requests."
    ),
    "requested.no_lease": "The GPU that was requested for this kernel has been released. Request another one.",
    "requested.no_kernelspec": "There is no kernel named {name}. Nothing was requested.",
    "request.kernel_no_provisioner": (
        "This kernel is not a FastGPU kernel. Nothing was requested; choose a FastGPU kernel for the notebook."
    ),
    "request.kernel_no_gate": (
        "The cells of this kernel do not wait for a GPU, so that it can get one only when it starts. Nothing was "
        "requested; restart the kernel to request one, which discards its variables."
    ),
    "request.kernel_not_running": "This kernel does not run. Nothing was requested.",
    # -- overwriting memory between tenants --------------------------------------------------------------------------
    "scrub.before_use": "The memory of its device is overwritten first.",
    "scrub.in_progress": "The memory that it had on its device is being overwritten.",
    "scrub.retrying": (
        "The memory that it had on its device could not be overwritten yet: {detail} No other lease gets it before "
        "that; it is tried again."
    ),
    "scrub.pending": (
        "Memory that a lease left there could not be overwritten: {detail} It is tried again; `jupyter fastgpu drain "
        "DEVICE --undo` goes on without."
    ),
    "scrub.incomplete": "All but {left_bytes}, which was in use by the driver or could not be had.",
    "scrub.too_much_left": "{left_bytes} of its free memory could not be had.",
    "scrub.other_leases": (
        "It was not overwritten, because other leases are on the device: their allocations would fail meanwhile."
    ),
    "scrub.skipped": "It could not be overwritten, and an administrator went on without.",
    "scrub.partition_destroyed": "Its partition was destroyed; whether that clears its memory is not documented.",
    # -- quantities --------------------------------------------------------------------------------------------------
    "units.no_memory": "{text} is not an amount of memory; write it like 24GiB, 512MiB or 1.5GB.",
    "units.too_much_memory": "{text} is more memory than any device has.",
    "units.no_duration": "{text} is not a time; write it like 90s, 10m or 1.5h.",
    "units.no_money": "{text} is not an amount of money; write it in the pool's currency, like 2.50.",
    "units.no_cores": "{text} is not a number of processor cores; write it like 4 or 0.5.",
    # -- the grammar of sizes ----------------------------------------------------------------------------------------
    "size.too_long": "A size may have {characters_max} characters; this one has {characters}.",
    "size.syntax": "{text}: at character {position}, expected {expected}, found {found}.",
    "size.found": "{character}",
    "size.end": "the end",
    "size.expected_memory": "an amount of memory, like {example}",
    "size.expected_more_memory": "at least {least_bytes}",
    "size.expected_model": "a model like a100, a profile (full, half, quarter, eighth), or memory like 24GiB",
    "size.expected_fewer_models": "at most {models_max} models",
    "size.expected_count": "a number of devices from 1 to {devices_max}",
    "size.expected_part": "a part like 1/2, or an amount of memory like 24GiB",
    "size.expected_no_part": "no part: several devices are only leased whole",
    "size.expected_fraction": "a part of at most 1/1 and at least 1/{parts_max}",
    # -- requests that are malformed ---------------------------------------------------------------------------------
    "request.size_or_memory": "Ask for a size or for an amount of memory, one of the two.",
    "request.memory_out_of_range": (
        "A lease of {requested_bytes} is not possible; ask for {least_bytes} at least and no more than a device has."
    ),
    "request.wait_out_of_range": "The longest wait is from 0 to 30 days.",
    "request.negative": "{field} cannot be negative.",
    "request.budget_zero": "A request with a budget of 0 could never be granted; leave the budget out for none.",
    "request.idle_too_short": "A lease is idle after {least_ms} at least.",
    "request.hold_and_parkable": "A lease that is held is never parked: ask for one of the two.",
    "refused.above_quota": (
        "'{size}' is {requested_milli} GPUs, and {tenant} may hold at most {limit_milli} at once. Ask for less, or ask "
        "an administrator for a higher quota."
    ),
    # -- requests that no device of the pool can serve ---------------------------------------------------------------
    "refused.no_devices": (
        "This pool has no GPU, so the request could never be granted. Run `jupyter fastgpu status` to see why; without "
        "a GPU, start the pool with `--simulate 2xA100-80GB` to try FastGPU."
    ),
    "refused.no_such_model": (
        "No device of this pool is '{size}'; it has {models}. Name one of them, a profile ({sizes}) or an amount of "
        "memory."
    ),
    "refused.model": "{model} ({memory_bytes})",
    "refused.too_much_memory": (
        "{requested_bytes} is more than any device of this pool has; the largest has {largest_bytes}."
    ),
    "refused.too_many_devices": {
        "plural": "count",
        "one": "This pool has {count} such device, so '{size}' could never be granted.",
        "other": "This pool has {count} such devices, so '{size}' could never be granted.",
    },
    "refused.no_such_host": "No machine of this pool has {count} such devices, so '{size}' cannot be served.",
    "refused.leased_whole": (
        "The devices of this pool are leased whole, so '{size}' cannot be served. Ask for the profile 'full'."
    ),
    "refused.unfit": "'{size}' could never be granted as it was requested: {reason}",
    # -- why a device does not do (each continues a sentence) --------------------------------------------------------
    "unfit.leased_whole": "the {model} is leased whole; ask for the profile 'full'.",
    "unfit.isolation_cooperative": (
        "a part of a {model} is kept apart from others only by agreement; ask for a whole one."
    ),
    "unfit.isolation_software": "a part of a {model} is kept apart from others only by software; ask for a whole one.",
    "unfit.not_parkable": "the memory of a {model} cannot be parked on this machine.",
    "unfit.not_resizable": "the size of such a lease of a {model} does not change while its kernel runs.",
    "unfit.not_resizable_so": "a {model} cannot be resized so.",
    "unfit.mps_limit_fixed": "under MPS a program reads its limits when it starts to use the GPU.",
    "unfit.combination": (
        "no mechanism of a {model} offers all that is required at once ({required}); require less, or ask for a whole "
        "one."
    ),
    "unfit.too_expensive": "a {model} costs more than the {most_micro} per hour that it may.",
    "unfit.host_too_small": "no machine of this pool has so many processors and so much memory.",
    "unfit.not_partitioned": "the {model} is not divided by MIG, so it has no partition {partition}.",
    "unfit.partitioned": (
        "the {model} is divided by MIG, and a program sees one partition at most; this takes whole GPUs."
    ),
    "unfit.no_partition": "no partition of the {model} serves it; MIG can divide it into {partitions}.",
    # -- why a request waits -----------------------------------------------------------------------------------------
    "pending.capacity": "Every GPU that could serve this is in use; {place}.",
    "pending.behind": "Free capacity is reserved for earlier requests; {place}.",
    "pending.priority": "Requests of a higher priority go first; {place}.",
    "pending.quota": "Its tenant holds all that it may have at once; {place}.",
    "pending.health": "The GPUs that could serve this are out of service; {place}.",
    "pending.budget": "Its tenant has spent the money that it may spend this month; {place}.",
    "pending.reserved": (
        "Free capacity is reserved by others, and only leases that can be parked again may borrow it; {place}."
    ),
    "pending.no_such_device": "The devices that could serve this are no longer there; {place}.",
    "pending.drained": "The GPUs that could serve this are being emptied by an administrator; {place}.",
    "pending.missing": "The GPUs that could serve this are missing: they, or their driver, do not answer; {place}.",
    "pending.not_resumed": "Its memory could not be moved back to a GPU yet, and it is tried again; {place}.",
    "pending.not_prepared": "The granted GPU could not be prepared, and it is tried again; {place}.",
    "queue.next": "it is next",
    "holder.own": "“{notebook}”",
    "holder.own_without_notebook": "A kernel of yours",
    "holder.own_job": "“{job}”",
    "holder.of_another_user": "A notebook of another user",
    "holder.job_of_another_user": "A job of another user",
    "holder.being_freed": "{holder} is giving its GPU back.",
    "holder.idle": "{holder} has a GPU and is idle, so that it is parked for this request.",
    "holder.busy": "{holder} has a GPU, and a cell runs there.",
    "holder.computing": "{holder} has a GPU and computes.",
    "holder.starting": "{holder} has a GPU and is starting.",
    "holder.not_parkable": "{holder} has a GPU, is idle, and keeps it. {reason}",
    "holder.pinned": "{holder} has a GPU and is pinned.",
    "holder.yields_in": "It is parked in {wait_ms}.",
    "queue.requests_ahead": {
        "plural": "count",
        "one": "{count} request is before it",
        "other": "{count} requests are before it",
    },
    "estimate.unknown": "no estimate: too few leases ended in the last hour",
    "estimate.recent_leases": "the {leases} leases that ended in the last hour lasted {mean_ms} on average",
    # -- why a lease ended -------------------------------------------------------------------------------------------
    "end.released": "It was released.",
    "end.cancelled": "The request was cancelled while it waited.",
    "end.holder_died": "Its process ended.",
    "end.device_lost": "Its GPU was lost.",
    "end.prepare_failed": "Its GPU could not be prepared.",
    "end.resume_failed": "Its parked memory could not be restored on a GPU; restart the kernel.",
    "end.expired": "It waited as long as its request allowed.",
    "end.over_limit": "It used more GPU memory than its limit.",
    "end.idle": "Nothing had used it for as long as the idle policy allows.",
    "end.idle_released": "It was released because no cell had run and its GPU had not been used for {idle_ms}.",
    "end.idle_shut_down": (
        "Its kernel was shut down because no cell had run and its GPU had not been used for {idle_ms}."
    ),
    "end.memory_used": "It used {used_bytes} of its GPU, more than its limit of {limit_bytes}.",
    "end.machine_restarted": "The machine was restarted.",
    "end.device_missing": "The driver has answered without its GPU for {missing_ms}.",
    "end.device_forgotten": "An administrator said that its GPU, which was missing, is gone.",
    "end.mig_switched": "The MIG mode of its GPU was switched, which ends everything that was on it.",
    # -- why a lease is parked ---------------------------------------------------------------------------------------
    "park.requested": "You parked it.",
    "park.idle": "No cell ran, and another request needed the GPU.",
    "park.priority": "A request of a higher priority needed the GPU.",
    "park.guarantee": "A tenant below its guarantee needed the GPU.",
    "park.fairness": "Its turn was over, and a tenant that was served less needed the GPU.",
    "park.budget": "Its budget is spent.",
    "park.defragmentation": "It moves to another GPU, so that a waiting request fits.",
    "park.over_limit": "It was above its GPU memory limit.",
    "park.health": "It moves to another GPU, because its own is unhealthy or is being emptied.",
    "park.restart": "It moves to another GPU without its memory, because its kernel is restarted.",
    "park.idle_policy": "No cell had run and its GPU had not been used for as long as the idle policy allows.",
    "park.ahead": "No cell had run for a while, and parked notebooks need room to resume at once.",
    # -- the idle policy ---------------------------------------------------------------------------------------------
    "idle.notified": (
        "No cell has run and its GPU has not been used for {idle_ms}. It is billed all the same: park it or release it "
        "if you do not need it now."
    ),
    "idle.park_ahead": (
        "No cell has run and its GPU has not been used for {idle_ms}. It is parked in {left_ms} unless a cell runs; "
        "its variables and GPU memory are kept. `%fastgpu snooze` puts that off."
    ),
    "idle.release_ahead": (
        "No cell has run and its GPU has not been used for {idle_ms}. It is released in {left_ms} unless a cell runs: "
        "GPU memory is lost, other variables are kept. `%fastgpu snooze` puts that off."
    ),
    "idle.shut_down_ahead": (
        "No cell has run and its GPU has not been used for {idle_ms}. Its kernel is shut down in {left_ms} unless a "
        "cell runs: all variables are lost. `%fastgpu snooze` puts that off."
    ),
    "idle.snooze_too_short": "A step of the idle policy can be put off for {least_ms} at least.",
    "idle.snooze_used_up": (
        "The steps of the idle policy were put off for {most_ms} in all, which is as long as this pool allows. Run a "
        "cell if you need the GPU."
    ),
    "idle.in_use_again": "The lease is not idle any more. Nothing was changed.",
    # -- parking that is refused or failed ---------------------------------------------------------------------------
    "parking.refused": "{reason} Nothing was changed; to give its GPU back for good, release it.",
    "parking.wrong_state": "A lease that is {state} cannot be parked.",
    "parking.excluded_by_request": "This lease was requested as one that is never parked.",
    "parking.not_supported": "The memory of this device cannot be moved to the host and back.",
    "parking.device_missing": "Its GPU is missing, so that its memory cannot be moved.",
    "parking.failed_before": (
        "The last attempt to park this lease failed: {detail} The pool tries again after {pause_ms}; Park and "
        "`%fastgpu park` try at once."
    ),
    "parking.host_memory_full": "The host memory that parked leases may take (Parking.host_memory) is used up.",
    "parking.host_memory_short": (
        "Parking it takes about {needed_bytes} of host memory, and {left_bytes} are left of what parked leases may "
        "take (Parking.host_memory)."
    ),
    "parking.host_memory_available": (
        "Parking it takes about {needed_bytes} of host memory, and {left_bytes} are available on this machine."
    ),
    "parking.host_memory_cgroup": (
        "Parking it takes about {needed_bytes} of host memory, and the control group of this kernel leaves it "
        "{left_bytes}. Raise its memory.max to park it."
    ),
    "parking.broke_process": "{detail} Restart the kernel.",
    "resume.memory_in_use": (
        "Its parked memory needs {needed_bytes}, and {free_bytes} are free on the GPU: other processes use the rest."
    ),
    "resume.postponed": "{detail} It keeps its parked memory and its position in the queue, and is tried again.",
    "resume.budget_spent": (
        "Its budget is spent. Set a higher one, and it can be resumed; until then it stays parked."
    ),
    # -- leases ------------------------------------------------------------------------------------------------------
    "nested.held": (
        "The kernel that started this one holds a GPU. If its cell waits for this notebook, neither goes on: stop that "
        "cell, run `%fastgpu release` in its notebook, and run this notebook again."
    ),
    "nested.held_by_notebook": (
        "The kernel that started this one, of {notebook}, holds a GPU. If its cell waits for this notebook, neither "
        "goes on: stop that cell, run `%fastgpu release` in its notebook, and run this notebook again."
    ),
    "timeout.in_queue": (
        "The time ran out while the notebook waited for a GPU, at position {position} in the queue. {explanation} The "
        "time limit of a cell includes the wait: raise it, or run the notebook again when a GPU is free."
    ),
    "timeout.in_preparation": (
        "The time ran out while the notebook's GPU was being made ready. The time limit of a cell includes that: raise "
        "it, or run the notebook again."
    ),
    "lease.not_found": "There is no lease {lease}. `jupyter fastgpu status` lists yours.",
    "lease.over": "This lease is over; ask for a new one.",
    "transfer.wrong_state": "A lease that is {state} cannot be transferred.",
    "transfer.mps": (
        "A lease by MPS shares its fate with its user's other notebooks on that GPU, so it cannot be transferred. "
        "Nothing was changed; release it, and let the other user ask."
    ),
    # -- advice on the size ------------------------------------------------------------------------------------------
    "advice.basis": "Peak of {peak}. Size {size} would have cost {saving_percent} % less.",
    "advice.basis_new_job": (
        "Peak of {peak}. Size {size} would have cost {saving_percent} % less. This lease keeps its size; “Choose "
        "size…” requests another, for a new kernel in a new job."
    ),
    "advice.fits": "Peak of {peak}. No smaller size would do, or save much.",
    "advice.peak": "{cells} cells over {span}: {peak_bytes} of {of_bytes}, {use}",
    "advice.days": {"plural": "days", "one": "{days} day", "other": "{days} days"},
    "advice.time": "{span_ms}",
    "advice.utilization": "{used_percent} % utilization",
    "advice.utilization_unknown": "utilization unknown",
    "advice.no_history": "Nothing was measured of this notebook yet.",
    "advice.no_notebook": "There is advice for notebooks only, and this lease has none.",
    "advice.silenced": (
        "You wanted no advice for this notebook. `%fastgpu advise --undo` or `jupyter fastgpu advise LEASE --undo` "
        "gives it again."
    ),
    "advice.not_active": "There is advice while the lease is active; run a cell first.",
    "advice.several_devices": "There is no advice for a lease of several GPUs: whether fewer would do is not measured.",
    "advice.too_little": (
        "Too little was measured for advice: {cells} cells in {busy_ms}, and {cells_min} in {least_ms} are needed."
    ),
    "advice.sizes_unknown": (
        "There is no advice: which sizes of this GPU the cluster offers is not known. Ask your administrator if it "
        "stays so."
    ),
    "advice.memory_unknown": (
        "How much GPU memory this notebook uses is not known well enough for advice: the driver does not tell it here."
    ),
    # -- another size ------------------------------------------------------------------------------------------------
    "resize.pending": "The lease has its new size; libraries in the kernel follow before its next cell.",
    "resize.needs_restart": {
        "plural": "count",
        "one": "{libraries} keeps the earlier size until the kernel is restarted.",
        "other": "{libraries} keep the earlier size until the kernel is restarted.",
    },
    "resize.wrong_state": "A lease that is {state} cannot be resized.",
    "resize.try_again": "The lease is {state}. Nothing was changed; try again in a moment.",
    "resize.memory_in_use": (
        "Resize to {size} refused. {used_bytes} are in use and {size} has {limit_bytes}. Nothing was changed: {kept} "
        "stays. Free memory, or choose {kept} or more."
    ),
    "resize.changed_meanwhile": (
        "The size of this lease is {kept} by now, because it was changed elsewhere. Nothing was changed by this; look "
        "at it, and choose again."
    ),
    "resize.deferred": "It gets the size {size} as soon as the idle leases on its GPU are parked.",
    "resize.out_of_service": (
        "Its GPU is out of service for anything new, so this lease can get smaller there, and not larger. Nothing was "
        "changed; migrate the lease, or try again when the GPU is back."
    ),
    "resize.above_quota": (
        "With that, {tenant} would hold more than the {limit_milli} GPUs that it may have. Nothing was changed; "
        "release another lease, or ask an administrator for a higher quota."
    ),
    "resize.device_count": (
        "The number of GPUs changes only with a restart, because a running process does not see new ones. "
        "Nothing was changed; release the lease, ask for the other size and restart the kernel."
    ),
    "resize.other_model": "'{size}' is another device than the {model} of this lease. Nothing was changed.",
    "resize.fixed_while_running": (
        "The size of this lease does not change while its kernel runs: {reason} Nothing was changed; release the "
        "lease, ask for the other size and restart the kernel."
    ),
    "resize.device_missing": "Its GPU is missing. Nothing was changed; try again when it is back.",
    "resize.no_room": (
        "There is no room for '{size}' on this device: {free_bytes} could be had. Nothing was changed; release the "
        "lease and ask again to get another device."
    ),
    "resize.parked_on_other_model": (
        "'{size}' is another device than the {model} that the parked memory comes from, and only such a one takes it "
        "back. Nothing was changed."
    ),
    "resize.parked_device_count": (
        "The number of GPUs changes only with a restart, because a running process does not see new ones. Nothing "
        "was changed."
    ),
    "resize.parked_does_not_fit": (
        "Resize to {size} refused. {parked_bytes} are parked and {size} has {limit_bytes}. Nothing was changed: {kept} "
        "stays."
    ),
    # -- cells without a device while the lease waits -----------------------------------------------------------------
    "cpu_meanwhile.on": "Its cells run on the CPU until then.",
    "cpu_meanwhile.granted": "Cells run on the CPU only while their lease waits, and this one is {state}.",
    "cpu_meanwhile.parked": (
        "The memory of this lease is parked, and a cell that uses it must have the GPU. `%%fastgpu cpu` runs one cell "
        "without it."
    ),
    # -- processes that cannot be seen ---------------------------------------------------------------------------------
    "processes.other_namespace": (
        "This pool does not see the processes of the machine, by whose numbers the driver lists them. In a container, "
        "start it with the machine's processes (docker run --pid=host)."
    ),
    "lease.processes_unseen": (
        "Which processes use its GPU cannot be seen, so the use of a part of it is unknown, and after its end the GPU "
        "is granted again once its memory in use is what it was. {reason}"
    ),
    "parking.not_seen": "Whether all of its memory left the GPU cannot be seen: {reason}",
    "parking.memory_left": "Process {pid} of this lease still has memory on the device.",
    "parking.not_undone": "{parking} {undoing}",
    "parking.processes_unlisted": "A part of a GPU is parked only where its processes can be seen. {reason}",
    "processes.not_listed": "The driver does not list the processes on this GPU here.",
    "processes.hidden": "Some processes on this GPU cannot be seen by this pool.",
    "processes.unowned": "{in_use_bytes} of it is in use, and no process is listed that has it.",
    # -- memory without a visible owner ------------------------------------------------------------------------------
    "device.memory_unaccounted": (
        "{in_use_bytes} of it is in use by processes that this pool cannot see. Nothing new is granted there until "
        "that is free. If no lease can be the cause, `jupyter fastgpu drain DEVICE --undo` accepts it."
    ),
    "device.memory_of_ended_lease": (
        "A lease ended, and whether its GPU memory is free cannot be seen here. Nothing new is granted until "
        "the memory in use is back at what it was without leases."
    ),
    "device.memory_of_ended_lease_in_use": (
        "A lease ended, and {in_use_bytes} of it is in use by processes that this pool cannot see. Nothing new is "
        "granted there until that is free; `jupyter fastgpu drain DEVICE --undo` goes on without."
    ),
    # -- memory limits -----------------------------------------------------------------------------------------------
    "limit.not_enforced_by_driver": "The driver does not enforce the memory limit of this lease: {detail}",
    "limit.over": (
        "It uses {used_bytes} of its GPU, more than the {limit_bytes} that it has. Free memory, or give it a larger "
        "size."
    ),
    "limit.over_then_parked": (
        "It uses {used_bytes} of its GPU, more than the {limit_bytes} that it has. Free memory, or give it a larger "
        "size; otherwise it is parked after {grace_ms}."
    ),
    "limit.over_then_ended": (
        "It uses {used_bytes} of its GPU, more than the {limit_bytes} that it has. Free memory, or give it a larger "
        "size; otherwise it is ended after {grace_ms}."
    ),
    "limit.parked": (
        "It was parked because it used {used_bytes} of its GPU, more than its size ({size}). Its variables, and what "
        "they have on the GPU, are kept in the host's memory; a running cell stops at its next call to the GPU. "
        "{state} Give it a larger size by `%fastgpu resize SIZE`, or while a cell runs by `jupyter fastgpu resize "
        "{lease} SIZE` in a terminal: it comes back and goes on. Interrupt the kernel: it comes back as it was, and is "
        "{next_step} unless memory is freed within {grace_ms}. Restart the kernel: what it has on the GPU is given up."
    ),
    "limit.parked_returning": "It waits to resume.",
    "limit.parked_until_you_choose": "It stays parked until you choose.",
    "limit.then_ended": "ended",
    "limit.then_parked_again": "parked again",
    # -- preparation -------------------------------------------------------------------------------------------------
    "prepare.retrying": ("It was granted a GPU that could not be prepared (try {attempt} of {attempts_max}): {detail}"),
    "prepare.failed_for_good": "{detail} {reason}",
    "prepare.gave_up": "It was tried {attempts_max} times; ask again, or tell the administrator.",
    # -- health of devices -------------------------------------------------------------------------------------------
    "device.no_partition_mode": "This device cannot be divided by MIG. Nothing was changed.",
    "device.not_found": "There is no device {device} in this pool; `jupyter fastgpu status` lists them.",
    "device.not_listed": (
        "Its driver does not list this GPU any more. Its leases keep their place and are not billed; they end when the "
        "driver has answered without it for {missing_ms}, or an administrator says that it is gone "
        "(`jupyter fastgpu devices forget {device}`)."
    ),
    "device.no_answer": (
        "This GPU, or its driver, does not answer. Its leases keep their place and are not billed until it does, or an "
        "administrator says that it is gone (`jupyter fastgpu devices forget {device}`). See `jupyter fastgpu doctor`."
    ),
    "device.not_missing": (
        "{device} is there; only a device that is missing can be forgotten. Nothing was changed; to take it out of "
        "service, drain it."
    ),
    "missing.not_listed": (
        "Its GPU is missing: the driver does not list it any more. The lease keeps its place and is not billed; it "
        "ends if the GPU is not back within {missing_ms}. Save your work."
    ),
    "missing.no_answer": (
        "Its GPU is missing: it does not answer, or its driver does not. The lease keeps its place and is not billed "
        "until it does. Calls to the GPU may fail or hang meanwhile; save your work."
    ),
    "missing.ending": (
        "Its GPU is missing, so that nothing shows whether it still has memory there. It ends when the GPU is back, or "
        "is gone for good."
    ),
    "health.fault": "The GPU {fault} ({fault_code}).",
    "health.suspect": (
        "{reason} What runs on it may go wrong, and nothing new is granted there. Save your work. {advice}"
    ),
    "health.faulty": (
        "{reason} What runs on it is not to be trusted, and nothing new is granted there. Save your work. {advice}"
    ),
    "health.is_suspect": "Its GPU is suspect.",
    "health.is_faulty": "Its GPU is faulty.",
    "fault.certain": (
        "Your code {fault}: {fault_code}. What this kernel has on the GPU is lost; restart the kernel. {advice}"
    ),
    "fault.possible": (
        "A process on this GPU (possibly yours) {fault}: {fault_code}. If calls to the GPU fail here, restart the "
        "kernel."
    ),
    # -- migration ---------------------------------------------------------------------------------------------------
    "migration.at_restart": (
        "The lease goes to another GPU when the kernel is restarted; what it has on this one is lost with that."
    ),
    "migration.live_possible": (
        "If another GPU has room, `%fastgpu migrate` or `jupyter fastgpu migrate {lease}` moves it there."
    ),
    "migration.restart_possible": (
        "`%fastgpu migrate` or `jupyter fastgpu migrate {lease}` moves the lease to another GPU that has room: the "
        "kernel must then be restarted, and what it has on this one is lost. Nothing is moved unless you ask for it."
    ),
    "migration.wrong_state": "A lease that is {state} cannot be moved. Nothing was changed.",
    "migration.not_needed": (
        "Its GPU is healthy and in service, so there is no reason to move it. Nothing was changed."
    ),
    "migration.no_room": ("No other GPU that could serve it has room now. Nothing was changed: it keeps what it has."),
    # -- money -------------------------------------------------------------------------------------------------------
    "budget.negative": "A budget cannot be negative.",
    "budget.below_cost": "A budget must be more than the lease has cost already. Nothing was changed.",
    "budget.stays_parked": (
        "It stays parked: its budget is spent. `jupyter fastgpu budget --lease {lease} AMOUNT` sets a higher one."
    ),
    "budget.lease_spent_parking": "Its budget is spent, and it is parked in a moment.",
    "budget.lease_spent_continues": "Its budget is spent, and it goes on: {reason}",
    "budget.lease_percent": "It has cost {spent_percent} % of its budget.",
    "budget.tenant_percent": "{tenant} has spent {spent_percent} % of this month's budget.",
    "budget.tenant_spent_warn": "{tenant} has spent {spent_percent} % of this month's budget. Leases go on.",
    "budget.tenant_spent_continues": (
        "{tenant} has spent {spent_percent} % of this month's budget. Nothing more is granted; this lease goes on: "
        "{reason}"
    ),
    "budget.tenant_spent_stop": (
        "{tenant} has spent {spent_percent} % of this month's budget. Nothing more is granted until the month ends or "
        "an administrator sets a higher one."
    ),
    "reservation.not_found": "There is no reservation {reservation}; `jupyter fastgpu reserve` lists them.",
    "reservation.start_out_of_range": (
        "A reservation begins now or later, within {months_max} months. Nothing was reserved."
    ),
    "reservation.id_taken": "There is another reservation with this id already. Nothing was changed.",
    "reservation.too_small": "A reservation is of at least a thousandth of a device.",
    "reservation.discount_out_of_range": "A discount is from 0 to 100 percent.",
    "reservation.model_only": "A reservation names a kind of device, like a100; how many is its own number.",
    "reservation.too_many": "There are {reservations_max} reservations; end one before another is made.",
    "reservation.no_capacity": (
        "{requested_milli} {model} cannot be reserved for {tenant}: the pool has {matching} such GPUs, and "
        "{reserved_milli} of all its GPUs are reserved in that time already. Nothing was reserved; ask for less or for "
        "later."
    ),
    "reservation.capacity_borrowed": (
        "Others have reserved that capacity: only leases that can be parked again may borrow it. Nothing was changed."
    ),
    # -- what tenants may have ---------------------------------------------------------------------------------------
    "tenant.weight_out_of_range": "A weight is a whole number from 1 to {weight_max}.",
    "tenant.quota_negative": "Neither a limit nor a guarantee can be negative.",
    "tenant.guarantee_above_limit": "A guarantee cannot be more than the limit allows.",
    # -- why a lease has its mechanism -------------------------------------------------------------------------------
    "mechanism.exclusive": "A whole GPU was requested, so no other lease is on it.",
    "mechanism.mig": (
        "The GPU is divided by MIG, so the lease has a partition of it, which the hardware keeps apart from others."
    ),
    "mechanism.mps": (
        "A part of a GPU was requested, and this pool serves parts by MPS: your notebooks on this GPU compute at the "
        "same time, and an error in one of them ends the others there."
    ),
    "mechanism.shared_by_driver": "A part of a GPU was requested, and the driver of this one enforces memory limits.",
    "mechanism.shared_cooperative": (
        "A part of a GPU was requested, and nothing stricter is available here: libraries follow the limit, and the "
        "pool watches it."
    ),
    "mechanism.simulated": "The GPUs of this pool are simulated.",
    # -- kernels that could not be started ---------------------------------------------------------------------------
    "launch.lease_ended": (
        "The GPU lease of this notebook ended. {reason} Restart the kernel to request another GPU; the variables of "
        "the old kernel are lost."
    ),
    "launch.server_stopping": "The server is stopping; the kernel was not started.",
    "launch.ended_before_start": "The GPU lease ended before the kernel could start. {reason} Start it again.",
    "launch.not_granted_in_time": (
        "No GPU was free within {seconds} s: position {position} in the queue. {explanation} The kernel was not "
        "started and its position was given up; try again later, or choose a FastGPU kernel, which starts at once and "
        "waits in its cells."
    ),
    "launch.not_prepared_in_time": (
        "No GPU was ready within {seconds} s: the GPU is being prepared. {explanation} The kernel was not started and "
        "its position was given up; try again later, or choose a FastGPU kernel, which starts at once and waits in its "
        "cells."
    ),
}
