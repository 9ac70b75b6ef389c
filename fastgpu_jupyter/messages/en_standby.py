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
        "The pool manager does not answer, or knows no standby kernels. Until it does, this Jupyter server has one "
        "at most, and only with {percent} % of the memory or less."
    ),
}
