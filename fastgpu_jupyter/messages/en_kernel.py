"""The English sentences that only a kernel shows: what ``%fastgpu`` answers, waits and notes; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- %fastgpu: what its verbs answer -----------------------------------------------------------------------------
    "magic.no_lease": "This kernel has no GPU lease. `%fastgpu request` asks for one.",
    "magic.no_gate": (
        "This kernel was not started as a FastGPU kernel, so it has no GPU lease. Choose a kernel named FastGPU for "
        "the notebook, or put `%%fastgpu job` on top of a cell to run it on a GPU of its own; `%fastgpu status` shows "
        "the pool from here."
    ),
    "magic.upgraded": (
        "FastGPU was upgraded or removed in the environment of this kernel after the kernel had started. Its cells run "
        "and its lease is kept; restart the kernel to use %fastgpu."
    ),
    "magic.unknown_verb": "%fastgpu has no verb {name}. Use one of:",
    "magic.unknown_verb_near": "%fastgpu has no verb {name}; did you mean `%fastgpu {near}`? Use one of:",
    "magic.history_span": "The history can show from {least_ms} to {most_ms}: write it like 5m, 1h or 2d.",
    "magic.no_arguments": "`%fastgpu {name}` takes no arguments.",
    "magic.nothing_to_release": "This kernel has no GPU lease; there is nothing to release.",
    "magic.released_parked": (
        "Released. The GPU memory of this kernel is lost; restart the kernel before it uses a GPU again. Its other "
        "variables are kept."
    ),
    "magic.left_queue": "Left the queue. Cells run without a GPU; `%fastgpu request` asks for one again.",
    "magic.released": (
        "Released the GPU. Memory that this process already allocated on it stays allocated until the kernel restarts. "
        "Cells run without a GPU; `%fastgpu request` asks for one again."
    ),
    "magic.cpu": (
        "Cells run without a GPU from now on. `%fastgpu request` asks for one again, and so does a restart of the "
        "kernel."
    ),
    "magic.looked_early": (
        "If a library already looked for a GPU in this kernel, restart the kernel so that it sees this one."
    ),
    "magic.next_cell_waits": "The next cell waits for it.",
    "magic.for_successor": (
        "The GPUs are on a cluster, where a new kernel starts. This kernel goes on without a GPU; JupyterLab offers "
        "the move above the notebook when the GPU is granted. The request ends with this kernel."
    ),
    "magic.has_gpu": (
        "This kernel already has a GPU. `%fastgpu resize` changes its size. To get another one, run `%fastgpu release` "
        "first; memory that this process allocated is given back when the kernel restarts."
    ),
    "magic.cluster_request": (
        "This kernel runs where its GPU is, and can have no other one. Nothing was requested. To have another GPU, use "
        "“Choose size…” in the menu Kernel: this kernel goes on until that GPU is granted and you move to it."
    ),
    "magic.cluster_sizes": (
        "The lease of this kernel keeps its size; these are the sizes of other requests. “Choose size…” in the menu "
        "Kernel requests one, for a new kernel."
    ),
    "magic.cluster_release": (
        "This kernel runs in the job of its lease on the cluster, and would end with it. Nothing was released. Shut "
        "the kernel down to give the GPU back."
    ),
    "magic.options_fixed": (
        "This kernel already requested a GPU, and the options of a request cannot be changed. Run `%fastgpu release` "
        "first; that gives up the position in the queue."
    ),
    "magic.size_missing": "Give the new size, as in `%fastgpu resize half` or `%fastgpu resize 24GiB`.",
    "magic.waits_to_resume": "It waits to resume: {explanation}",
    "magic.migrates_at_restart": (
        "This lease migrates to another GPU when the kernel restarts. Save what you need first: the restart discards "
        "the kernel's GPU memory. Until then nothing changes."
    ),
    "magic.migrates": "It migrates to another GPU together with its GPU memory.",
    "magic.no_cell": "No cell has run yet.",
    "magic.parked": (
        "The GPU of this kernel is parked. Its variables, and their GPU memory, are kept; nothing is billed meanwhile. "
        "The next cell, or `%fastgpu resume`, asks for a GPU again."
    ),
    "magic.parking": (
        "The GPU of this kernel is being parked. Its variables, and their GPU memory, are kept; nothing is billed "
        "meanwhile. The next cell, or `%fastgpu resume`, asks for a GPU again."
    ),
    "magic.snoozed": "Nothing is done for the next {left_ms} because this kernel is idle.",
    "magic.advise_apply": (
        "`%fastgpu resize {size}` applies it, and `%fastgpu advise --silence` stops advice for this notebook."
    ),
    "magic.advise_stop": "`%fastgpu advise --silence` stops advice for this notebook.",
    "magic.advise_options": "`%fastgpu advise` takes --silence or --undo, or nothing.",
    "magic.pinned": (
        "Pinned: this kernel keeps its GPU while no cell runs, and is billed for it. `%fastgpu unpin` lets others have "
        "it meanwhile."
    ),
    "magic.unpinned": "Not pinned: while no cell runs and a request waits, the GPU may be parked.",
    "magic.options": "OPTIONS: {options}; --no-parkable, --no-hold",
    # -- %fastgpu: what the list of verbs says -----------------------------------------------------------------------
    "summary.show": "Show this kernel's lease: state, device, memory, utilization, time and cost.",
    "summary.widget": "Show the lease in a widget: a chart, the sizes to choose from, and buttons.",
    "summary.release": "Give the GPU, or the position in the queue, back.",
    "summary.cpu": "Work without a GPU: release the lease or leave the queue, and never wait.",
    "summary.request": ("Ask for a GPU; SIZE is like half, 24GiB, a100:1/2 or 2xh100, OPTIONS are listed below."),
    "summary.resize": "Change the size of this kernel's lease while it runs.",
    "summary.sizes": "List the sizes to choose from, their rates, and what choosing one does now.",
    "summary.history": "Show the use of this kernel's GPU in the last TIME, such as 5m, 1h or 7d, as a chart.",
    "summary.cell_cpu": "Run a cell without the GPU: it neither waits nor makes a parked lease resume.",
    "summary.cell_profile": "Show below a cell how long it used the GPU, its memory, its energy and its cost.",
    "summary.migrate": "Leave an unhealthy GPU; where its memory cannot move, at the next restart.",
    "summary.cost": "Show what the last cells of this kernel cost, and the lease so far.",
    "summary.park": "Free the GPU until the next cell; its memory and all variables are kept.",
    "summary.resume": "Ask for the parked GPU again without running a cell.",
    "summary.pin": "Keep the GPU while no cell runs: it is never parked for others and always billed.",
    "summary.unpin": "Let others have the GPU while no cell runs.",
    "summary.advise": "Name a smaller size in which everything measured of this notebook fits, and what it saves.",
    "summary.snooze": "Put off what is done because the kernel is idle; TIME is like 30m or 2h.",
    "summary.status": "Show the whole pool: devices, your leases and the queue.",
    "summary.help": "Show this list.",
    # -- tables of leases, devices and the queue: titles, rows and columns ---------------------------------------------
    "title.lease": "GPU lease",
    "title.lease_simulated": "GPU lease (simulated)",
    "title.pool": "FastGPU pool",
    "title.pool_simulated": "FastGPU pool (simulated)",
    "title.leases": "Your leases",
    "title.queue": "Queue",
    "title.sizes": "Sizes",
    "title.cells": "Cells",
    "label.active_for": "Active for",
    "label.cell": "Cell",
    "label.cost": "Cost",
    "label.device_files": "Device files",
    "label.ended": "Ended",
    "label.fault": "Fault",
    "label.gpu": "GPU",
    "label.health": "Health",
    "label.cluster": "Cluster",
    "label.cluster_job": "Job in the cluster",
    "label.host": "Host",
    "label.partition": "Partition",
    "label.time_left": "Time left",
    "label.lease": "Lease",
    "label.leased_memory": "Memory in leases",
    "label.limit_enforced": "Memory limit enforced",
    "label.mechanism": "Mechanism",
    "label.memory": "Memory",
    "label.memory_limit": "Memory limit",
    "label.model": "Model",
    "label.new_size": "New size",
    "label.notebook": "Notebook",
    "label.parked": "Parked",
    "label.position": "Position",
    "label.position_in_queue": "Position in the queue",
    "label.rate": "Rate per hour",
    "label.takes_effect": "Takes effect",
    "label.reason": "Reason",
    "label.size": "Size",
    "label.state": "State",
    "label.sum": "Sum",
    "label.time": "Time",
    "label.utilization": "Utilization",
    "label.when_idle": "When idle",
    "label.idle": "Idle",
    "label.why": "Why",
    "label.percent": "{name}: {percent} percent",
    # -- tables: values ----------------------------------------------------------------------------------------------
    "state.waiting": "waiting",
    "state.preparing": "preparing",
    "state.active": "active",
    "state.parking": "parking",
    "state.parked": "parked",
    "state.resuming": "resuming",
    "state.draining": "draining",
    "state.ended": "ended",
    "state.in_queue": "waiting in the queue",
    "state.active_pinned": "active, pinned",
    "state.active_idle": "active, idle",
    "state.to_resume": "waiting to resume",
    "device_state.healthy": "healthy",
    "device_state.suspect": "suspect",
    "device_state.faulty": "faulty",
    "device_state.missing": "missing",
    "value.health_because": "{health}: {reason}",
    "value.drained": "{health}, drained",
    "value.simulated": "{model} (simulated)",
    "value.unknown": "not known",
    "value.unknown_yet": "not known yet",
    "value.cell_runs": "a cell is running",
    "value.no_cell_for": "no cell has run for {idle_ms}",
    "value.pinned": "pinned: keeps its GPU",
    "value.keeps_because": "keeps its GPU: {reason}",
    "value.may_be_parked": "may be parked for others",
    "value.cannot_be_parked": "keeps its GPU: it cannot be parked",
    "value.whole_gpu": "the whole GPU",
    "value.memory_of": "{used_bytes} of {whole}",
    "value.cost_at": "{cost} at {rate} an hour",
    "value.another_user": "another user",
    "enforced.hardware": "by the hardware",
    "enforced.driver": "by the GPU driver",
    "enforced.userspace": "by the GPU's library, for each process",
    "enforced.cooperative": "by the frameworks, watched by the pool",
    "enforced.none": "not enforced",
    "enforced.for_each_process": "{enforced}, for each process",
    "enforced.mechanism": "{enforced} ({mechanism})",
    # -- what a cell cost --------------------------------------------------------------------------------------------
    "cell.cost_unknown": "what the lease costs is not known yet",
    "cell.later_rate": "at the rate that was known later",
    "cell.lease_changed": "the lease changed while it ran",
    "cell.rate_changed": "the rate changed",
    "cell.so_far": "The lease has cost {cost} and costs {rate} an hour now.",
    "cell.so_far_reserved": (
        "The lease has cost {cost} and costs {rate} an hour now; {covered_milli} GPU of it is reserved and paid for."
    ),
    # -- what a cell used, and the use of a lease over time ------------------------------------------------------------
    "title.profile": "What this cell used",
    "title.history": "Use of this kernel's GPU",
    "label.time_on_gpu": "Time on the GPU",
    "label.peak_of": "Highest memory of {framework}",
    "label.peak_in_process": "Highest memory of the kernel",
    "label.energy": "Energy",
    "profile.busy": "{busy}, {percent} % of the time; a sample each second",
    "profile.busy_partly": "{busy}, {percent} % of the time; only {known} of it were measured",
    "profile.too_short": "not known: no sample, which is taken each second, is from this cell",
    "profile.no_samples": "not known: there is no lease, or the pool manager does not answer",
    "profile.no_new_peak": "not known: no higher than before this cell",
    "profile.energy": "{joules} J, of the whole device",
    "profile.energy_shared": "not known: other leases can be on the device",
    "history.utilization": "In the last {span_ms} the GPU was used {mean} % of the time on average, at most {most} %.",
    "history.utilization_unknown": "How much of the time the GPU was used is not known.",
    "history.memory": "At most {most_bytes} of memory were in use.",
    "history.memory_of": "At most {most_bytes} of {limit_bytes} of memory were in use.",
    "history.memory_unknown": "How much memory was in use is not known.",
    "history.known": "It is known for {known_ms} of {span_ms}.",
    "history.nothing": "Nothing is known of the last {span_ms}: the lease had no GPU, or it was not measured.",
    "history.legend": "Solid: time in use. Dashed: memory; 100 % are {whole}.",
    "history.ago": "{span_ms} ago",
    "history.now": "now",
    # -- what a cell shows while it waits ----------------------------------------------------------------------------
    "wait.no_answer": "Waiting for a GPU. {error}",
    "wait.asking": "Waiting for a GPU: asking the pool manager.",
    "wait.restoring": "A GPU is available; the GPU memory of this notebook is being restored.",
    "wait.preparing": "Your GPU is granted and being prepared. {reason}",
    "wait.for_gpu": "Waiting for a GPU. {reason} {expected}",
    "wait.at_position": "Waiting for a GPU: position {position} in the queue. {reason} {expected}",
    "wait.to_return": "Waiting for the GPU to come back to this notebook. {reason} {expected} {why}",
    "wait.to_return_at_position": (
        "Waiting for the GPU to come back to this notebook: position {position} in the queue. {reason} {expected} {why}"
    ),
    "wait.was_parked": "It was parked: {reason} {kept}",
    "wait.expected": "Expected wait: about {estimate_ms} ({basis}).",
    "wait.waited": "Waited {waited_ms}.",
    "wait.hint": "Stop ends the wait and keeps your position; %fastgpu cpu runs without a GPU.",
    "wait.hint_parked": "Stop ends the wait and keeps your position.",
    "wait.stopped": (
        "Stopped waiting for a GPU; this notebook keeps its position in the queue. Run the cell again to go on "
        "waiting, `%fastgpu cpu` to work without a GPU, or `%fastgpu release` to leave the queue."
    ),
    "wait.stopped_at_position": (
        "Stopped waiting for a GPU; this notebook keeps its position in the queue (position {position}). Run the cell "
        "again to go on waiting, `%fastgpu cpu` to work without a GPU, or `%fastgpu release` to leave the queue."
    ),
    "wait.stopped_parked": (
        "Stopped waiting for the GPU to come back; this notebook keeps its position in the queue. {kept} Run the cell "
        "again to go on waiting."
    ),
    "wait.stopped_parked_at_position": (
        "Stopped waiting for the GPU to come back; this notebook keeps its position in the queue (position "
        "{position}). {kept} Run the cell again to go on waiting."
    ),
    # -- notes beside the output of a cell ---------------------------------------------------------------------------
    "note.of_fastgpu": "FastGPU: {text}",
    "note.kept": "Its variables, and their GPU memory, are kept.",
    "note.lease_ended": (
        "FastGPU: the GPU lease of this kernel ended. {reason} {detail} Cells run without a GPU; `%fastgpu request` "
        "asks for one again."
    ),
    "note.lease_unknown": "It is unknown to the pool manager.",
    "note.parked_a_moment": (
        "FastGPU: this lease was parked for a moment while a cell ran. {reason} Its GPU memory is restored."
    ),
    "note.parked": (
        "FastGPU: this lease was parked for {parked_ms} while a cell ran. {reason} Its GPU memory is restored."
    ),
    "note.cpu_cell_sees_gpu": (
        "FastGPU: a library in this kernel uses the GPU already, so that this cell can use it, too. The cell does not "
        "count as use: while it runs, the GPU may be parked for others."
    ),
    "note.cpu_cell_parked": (
        "FastGPU: a library in this kernel uses the GPU already, and its memory is parked. This cell runs; if it calls "
        "the GPU, it stops there until the lease resumes: by *Resume* in JupyterLab, or `jupyter fastgpu resume "
        "{lease}` in a terminal."
    ),
    "note.out_of_memory": (
        "FastGPU: this lease ({size}) has a limit of GPU memory; `%fastgpu resize SIZE` gives it a larger one."
    ),
    "note.out_of_memory_none_now": (
        "FastGPU: this lease ({size}) may use {limit_bytes} of GPU memory. No larger size can be had at the moment; "
        "`%fastgpu status` shows the pool."
    ),
    "note.out_of_memory_now": (
        "FastGPU: this lease ({size}) may use {limit_bytes} of GPU memory. Larger sizes that can be had now: {sizes}; "
        "for example `%fastgpu resize {first}`."
    ),
    "note.looked_early": (
        "FastGPU: {libraries} looked for GPUs before this kernel had one, and will not see it in this process. Restart "
        "the kernel to use the GPU; the lease is kept."
    ),
    "size_effect.now": "now",
    "size_effect.after_parking": "after parking others",
    "size_effect.needs_restart": "needs restart",
    "size_effect.queued": "in the queue",
    "size_effect.queued_at": "in the queue at position {position}",
    "size_effect.unavailable": "not available",
    "value.applied": "{size} (applied)",
    "magic.sizes_options": "Without options: parts of a GPU. `%fastgpu sizes memory` lists amounts of memory.",
    "note.on_cpu": (
        "FastGPU: this cell runs on the CPU. The request keeps its position; cells that begin after the grant have the "
        "GPU."
    ),
    "note.granted_meanwhile": "FastGPU: the GPU was granted; from this cell on, cells have it.",
    "note.a_library": "A library",
    "note.limit_at_restart": (
        "FastGPU: {libraries} cannot change the memory limit in this process; restart the kernel to apply it."
    ),
    "note.another_pool": (
        "Another pool than the one that leased this GPU serves {path} now, and does not know the lease. The lease is "
        "kept here; restart the pool that granted it, or restart the kernel to request a GPU from this one."
    ),
    # -- the widget ------------------------------------------------------------------------------------------------
    "widget.view": "Widget of this kernel's GPU lease; the table below shows the lease at a given time.",
    "widget.snapshot": "GPU lease at {time}",
    "widget.asking": "The pool manager has not answered yet.",
    "widget.no_kernel": (
        "GPUWidget shows the lease of a notebook's kernel, and this process is none. Use it in a notebook with a "
        "FastGPU kernel; `jupyter fastgpu status` shows the pool in a terminal."
    ),
    "widget.not_built": "The front end of the widget was not built. Run `make .make/frontend` in the source tree.",
    "widget.busy": "Too many requests of widgets wait. This one was not done; try again in a moment.",
    "widget.unknown_action": "The widget of this kernel has no action {action}. Run its cell again.",
    "widget.no_size": "Give a size, like half or 24GiB.",
    "widget.no_time": "Give a time in milliseconds.",
    "progress.active": "The GPU is active: {size}, {model}.",
    "progress.parking": "Parking: the GPU memory of this kernel is being moved to host memory.",
    "progress.parked": "Parked. {reason} Variables and GPU memory are kept; nothing is billed meanwhile.",
    "progress.resuming": "Resuming: the GPU memory of this kernel is being moved back to a GPU.",
    "progress.resuming_memory": "Resuming: {parked_bytes} of GPU memory are being moved back to a GPU.",
    "progress.over": "The lease has ended. {reason}",
}
