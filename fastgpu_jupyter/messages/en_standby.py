"""The English sentences about standby kernels; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "request.standby": "The report of standby kernels cannot be read: {reason}.",
    "request.standby_twice": "A report of standby kernels names each process once.",
    # -- why there is no standby kernel: the pool manager --------------------------------------------------------------
    "standby.off": "The administrator of the pool allows no standby kernels (Standby.memory_percent is 0).",
    "standby.unknown_memory": "How much memory this host has cannot be read, so that there are no standby kernels.",
    "standby.pressure": "Processes wait for memory, so that there are no standby kernels until that is over.",
    "standby.low_memory": "Little memory is available, so that no standby kernel is started.",
    "standby.budget": (
        "All standby kernels of this host, or of this control group, together have the memory that they may have."
    ),
    "standby.not_seen": "The pool manager sees no such child process of this Jupyter server.",
    "standby.too_many_servers": "More Jupyter servers have standby kernels than the pool manager allows.",
    # -- the Jupyter server --------------------------------------------------------------------------------------------
    "standby.server_idle": "This Jupyter server has not been used for {limit_ms}; the next use of it starts one.",
    "standby.died": "A standby kernel ended by itself {count} times in a row; the next one starts in {wait_ms}.",
    "standby.cpu_busy": "Processes wait for a processor; one is started when the machine is quiet.",
    "standby.launching": "A kernel is starting; a standby kernel is started after it.",
    "standby.own_limit": (
        "The pool manager does not answer, is older, or does not see this Jupyter server's processes. Until it does, "
        "the server has one standby kernel at most, and only with {percent} % of the memory or less."
    ),
    # -- why a module is not imported ahead ----------------------------------------------------------------------------
    "standby.preload": "{module} is not imported ahead for {kernelspec}: {reason} {detail}",
    "preload.not_found": "there is no such module.",
    "preload.raises": "its import fails.",
    "preload.exits": "its import ends the program.",
    "preload.prints": "its import writes output, which no notebook would show.",
    "preload.uses_devices": "its import initializes the GPU driver, before the kernel has a GPU.",
    "preload.reads_grant": "its import reads a variable that is set when a kernel gets its lease.",
    "preload.reads_folder": "its import asks for the working directory, which is not that of a notebook yet.",
    "preload.asks_shell": "its import uses IPython's shell, which does not exist yet.",
    "preload.starts_threads": "its import starts a thread.",
    "preload.starts_processes": "its import starts a process.",
    "preload.changes_process": "its import changes the process.",
    "preload.seeds": "its import seeds or uses a global generator of random numbers.",
    "preload.hangs": "its import does not end.",
    "preload.ends_process": "the process ended during its import.",
    # -- doctor -------------------------------------------------------------------------------------------------------
    "standby.doctor_kernels": "standby kernels",
    "standby.doctor_count": (
        "{count} of yours with {own_bytes} of memory; on this host {host_count} with {host_bytes}. {budget}"
    ),
    "standby.doctor_budget": "All together may have {limit_bytes}.",
    "standby.doctor_unbounded": (
        "{count} of yours; their memory is not known, because no pool manager answers that counts them. Until one "
        "does, each Jupyter server has one at most."
    ),
    "standby.doctor_pressure": "memory pressure",
    "standby.doctor_pressure_unknown": (
        "not known: this system has no /proc/pressure/memory. Standby kernels end when little memory is available."
    ),
    "standby.doctor_starts": "starts of server {pid}",
    "standby.doctor_used": "{hits} of {starts} used a standby kernel. Cold ones: {reasons}.",
    "standby.doctor_all_used": "All {starts} used a standby kernel.",
    "standby.doctor_reason": "{times} of {kernelspec}: {reason} {what}",
    "standby.doctor_preload": "preload of server {pid}",
    # -- why a start was cold ------------------------------------------------------------------------------------------
    "cold.off": "standby kernels are off",
    "cold.first_use": "the first one in use",
    "cold.none_ready": "none was ready",
    "cold.command": "another command",
    "cold.environment": "another environment",
    "cold.interpreter": "another interpreter",
    "cold.system": "libraries of the system have changed",
    "cold.distributions": "installed packages have changed",
    "cold.modules": "imported modules have changed",
    "cold.folder": "the folder of the notebook",
    "cold.process": "limits, groups or signals of the server have changed",
    "cold.preload": "other modules to import ahead",
    "cold.unknown": "not understood",
    "cold.not_answering": "it did not answer",
    "cold.died": "it had ended",
    "cold.budget": "none may be started",
    "cold.cpu_busy": "processes waited for a processor",
    "cold.launching": "another kernel was starting",
    "cold.low_memory": "little memory was available",
    "cold.not_seen": "the pool manager does not see this server's processes",
    "cold.own_limit": "no pool manager answered that counts them",
    "cold.pressure": "processes waited for memory",
    "cold.server_idle": "the server had not been used",
    "cold.too_many_servers": "too many servers have them",
    "cold.unknown_memory": "the memory of this host is not known",
}
