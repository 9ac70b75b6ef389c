"""The English sentences of the commands that look after a pool manager, its journal and its devices; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- pool stop, restart, logs and path ---------------------------------------------------------------------------
    "pool_process.none": "No pool manager serves {path}.",
    "pool_process.none_to_restart": "No pool manager serves {path}. `jupyter fastgpu pool` starts one.",
    "pool_process.stopped": "Stopped. No lease lives.",
    "pool_process.stopped_with": "Stopped. {consequence}",
    "pool_process.leases_go_on": (
        "Kernels keep running with their GPUs, and leases live on, billed as before. Nothing is granted until a pool "
        "manager serves again; a kernel or server that needs your own one starts it."
    ),
    "pool_process.simulated_are_missing": (
        "Kernels keep running. Their GPUs are simulated by this pool manager: unless the next one simulates them as "
        "well, they are missing there, and their leases keep their place and are not billed. Nothing is granted until "
        "a pool manager serves again."
    ),
    "pool_process.not_asked": "Nothing was done. --yes stops it without a question.",
    "pool_process.not_stopped": "Nothing was done.",
    "pool_process.stop_it": "Stop it? [y/N]",
    "pool_process.yes": "y yes",
    "pool_process.leases": "Leases that live: {count}: {leases}.",
    "pool_process.more_leases": "Leases that live: {count}: {leases}, ...",
    "pool_process.lease": "{lease} ({state})",
    "pool_process.leases_unknown": "It is not known whether leases live: the pool manager does not say.",
    "pool_process.others_start": "Another pool manager was started at {path} each time. Leases live on; try again.",
    "pool_process.serves": "FastGPU {version} serves {path}; leases that live on: {count}.",
    "pool_process.in_background": ("It runs in the background now; `jupyter fastgpu pool logs` shows what it logs."),
    "pool_process.no_log_of_unit": (
        "The pool manager at {path}, process {pid}, has no file for its log: `journalctl --unit={unit}` shows it."
    ),
    "pool_process.no_log": (
        "The pool manager at {path}, process {pid}, has no file for its log: it logs to the terminal it runs in."
    ),
    "pool_process.socket": "socket",
    "pool_process.journal": "journal",
    "pool_process.log": "log",
    "pool_process.process": "process",
    "pool_process.is_service": (
        "The pool manager at {path} is the service {unit}. Nothing was done; use `systemctl {verb} {unit}`."
    ),
    "pool_process.stop_of_another_user": (
        "The pool manager at {path} belongs to another user (uid {uid}). Nothing was done; that user can stop it."
    ),
    "pool_process.restart_of_another_user": (
        "The pool manager at {path} belongs to another user (uid {uid}). Nothing was done; that user can restart it."
    ),
    "pool_process.other_program": "Process {pid} is not a pool manager that `jupyter fastgpu pool` started.",
    "pool_process.does_not_end": (
        "The pool manager, process {pid}, does not end. `kill -9 {pid}` ends it; leases are kept by that, too."
    ),
    "pool_process.forbidden": "The socket {path} belongs to another user, and you may not use it.",
    "pool_process.in_container": (
        "The pool manager at {path} runs in another container: its process cannot be seen here."
    ),
    # -- the start of a pool manager ---------------------------------------------------------------------------------
    "pool_start.no_command": "There is no command {text}. `jupyter fastgpu pool --help` lists all.",
    "pool_start.running_here": "A pool manager is already running here ({owner}).",
    "pool_start.running_at": (
        "A pool manager is already running at the socket {path} ({owner}). Stop it, or serve at another socket with "
        "--socket."
    ),
    "pool_start.other_program": (
        "Another program serves at the socket {path}. It was left as it is; name another path for the socket of the "
        "pool."
    ),
    "pool_start.no_socket": (
        "There is something at {path} that is not a socket. It was left as it is; name another path for the socket of "
        "the pool."
    ),
    "pool_start.socket_not_made": "The socket {path} cannot be made: {reason}.",
    "pool_start.lock_not_opened": "The lock {path} cannot be opened: {reason}.",
    "pool_start.foreign_file": (
        "The file {path} was not made by FastGPU, which needs that name. It was left as it is; name another folder."
    ),
    "pool_start.folder_not_made": "The folder {path} cannot be made: {reason}.",
    "pool_start.folder_of_another_user": (
        "FastGPU does not use the folder {path}: it is a link or belongs to another user."
    ),
    "pool_start.folder_of_all": (
        "Every user may replace files in the folder {path}, so FastGPU does not use it. Its mode was not changed: name "
        "another folder, or run `chmod o-w {path}`."
    ),
    "pool_start.no_journal": (
        "There is no journal at {journal}, and processes hold leases of a pool at {path}: {processes}. No pool was "
        "started, so that no GPU is leased twice. Put the journal back, or end these processes first."
    ),
    "pool_start.ends_processes": ("Only a pool of the whole system (--system) ends processes that have no lease."),
    "pool_start.ended": "The pool manager ended before it answered.",
    "pool_start.simulate_count": "--simulate takes 1 to {count} devices, like 2xA100-80GB.",
    "pool_start.simulate_term": (
        "{text} in --simulate is not a number and a model, like 2xA100-80GB. There are {models}."
    ),
    # -- fsck --------------------------------------------------------------------------------------------------------
    "fsck.progress": "{percent} % of {count} records",
    "fsck.found": "{path}: {sound} of {count} records are sound, {leases} leases.",
    "fsck.sound": "The journal is sound.",
    "fsck.cut": "The records after them were cut off; the original file is kept as {backup}.",
    "fsck.violations": "They violate invariants: {violations}.",
    "fsck.restore_or_discard": (
        "Restore a backup, or discard the {count} records from the damaged one on: stop the pool and run `jupyter "
        "fastgpu fsck --cut`."
    ),
    "fsck.restore_or_go_on": (
        "Restore a backup, or go on without those at its end: stop the pool and run `jupyter fastgpu fsck --cut`."
    ),
    "fsck.report": "Restore a backup, and report this as a bug.",
    "fsck.no_journal": "There is no journal at {path}; a pool manager that never ran has none.",
    "fsck.not_cut": "The journal {path} was not cut: {reason}.",
    "fsck.not_copied": "The journal {path} cannot be copied ({reason}), so it was not examined.",
    # -- MIG mode ----------------------------------------------------------------------------------------------------
    "mig_mode.incapable": "{device} does not support MIG.",
    "mig_mode.is": "MIG mode of {device} is {mode}.",
    "mig_mode.becomes": "It becomes {mode} when the GPU is reset: {command}.",
    "mig_mode.to_switch": "To switch it {mode}:",
    "mig_mode.on": "on",
    "mig_mode.off": "off",
    "mig_mode.none": "none",
    "mig_mode.leases": "leases that must be released first: {leases}",
    "mig_mode.processes": "processes that must end first: {processes}",
    "mig_mode.processes_unknown": "processes that must end first: not known, because they cannot be listed here",
    "mig_mode.needs_reset": "the GPU must be reset after",
    "mig_mode.no_reset": "no reset is needed",
    "mig_mode.survives": "it survives a restart",
    "mig_mode.does_not_survive": "it does not survive a restart of the machine or driver",
    "mig_mode.unchanged": "Nothing was changed; repeat the command with --yes to switch.",
    # -- doctor ------------------------------------------------------------------------------------------------------
    "doctor.what": "WHAT",
    "doctor.state": "STATE",
    "doctor.why": "WHY, AND WHAT TO DO",
    "doctor_state.ok": "ok",
    "doctor_state.off": "off",
    "doctor_state.broken": "broken",
    "doctor.system": "system",
    "doctor.device_files": "device files",
    "doctor.no_linux": "{system}: FastGPU runs on Linux.",
    "doctor.system_as_root": "{system}, {memory_bytes} of memory, root",
    "doctor.system_not_root": "{system}, {memory_bytes} of memory, not root",
    "doctor.files_closable": (
        "those of other GPUs can be closed to kernels, where Access.restrict_device_files says so"
    ),
    "doctor.files_open": "leases say theirs, and none is closed: {reason}",
    "doctor.files_not_closable": "leases say theirs, and none can be closed: {reason}",
    "doctor.processes_in_container": (
        "this process sees only its container's processes, the driver numbers those of the machine: whether the "
        "memory of a lease is free is judged by what is in use, and parts of a GPU are neither measured nor parked"
    ),
    "doctor.run_with_processes": "run the pool with the machine's processes (docker run --pid=host)",
    "doctor.processes_seen": "use of a GPU can be told to its notebook",
    "device_access.root_only": "only root can do that.",
    "device_access.no_cgroups": "this machine has no control groups of version 2.",
    # -- help of commands --------------------------------------------------------------------------------------------
    "help.subcommands": "Subcommands",
    "help.of_subcommand": "`{command} SUBCOMMAND --help` tells more about one.",
    "help.options": "Options",
    "help.class_options": "Settings",
    "help.in_files": (
        "They are given on the command line, like `--Class.setting=value`, or in a configuration file, like "
        "`c.Class.setting = value`."
    ),
    "help.examples": "Examples",
    "help.equivalent": "Equivalent to: {option}",
    "help.choices": "Choices: {choices}",
    "help.default": "Default: {value}",
    "help.all": "`--help-all` also lists all settings.",
}
