"""The English sentences about kernels that outlive their Jupyter server; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "kept.note": (
        "No Jupyter server was running from {since} to {until}. The kernel went on meanwhile; what it wrote in that "
        "time follows."
    ),
    "kept.gap": {
        "plural": "count",
        "one": "{count} output ({size_bytes}) was dropped here: more was written than is kept while no server runs.",
        "other": (
            "{count} outputs ({size_bytes}) were dropped here: more was written than is kept while no server runs."
        ),
    },
    "kept.not": "The process that started this kernel has ended. The kernel ends, too.",
    "kept.upgraded": (
        "The Jupyter server has ended, and FastGPU was upgraded meanwhile, so that this kernel cannot be kept: it ends."
    ),
    "kept.expired": "No Jupyter server has adopted this kernel in time. It ends, and releases its GPU.",
    "kept.doctor": "Kernels that outlive server {pid}",
    "kept.doctor_ok": (
        "Nothing is known to end the kernels of the Jupyter server of {root} with it: those of FastGPU outlive it as "
        "FastGPUExtension.keep_kernels says."
    ),
    "kept.ends_with_container": (
        "The container ends with its Jupyter server, and all its kernels with it: none can be kept."
    ),
    "kept.ends_with_service": (
        "systemd ends all processes of {unit} with its Jupyter server (KillMode={mode}): no kernel can be kept."
    ),
    "kept.may_end_with_service": (
        "The Jupyter server belongs to {unit}, and what systemd ends with it is not known: its kernels may end, too."
    ),
    "kept.remedy_service": "Set KillMode=process in the service, if its processes may go on without it.",
    "kept.not_found": "{kernel} is no kernel without a Jupyter server; `jupyter fastgpu kernels` lists those.",
    "kept.several": "{kernel} names several kernels: {kernels}. Nothing was done; give more of the id.",
    "kept.adopted": "A Jupyter server has adopted the kernel {kernel} meanwhile. It was not ended; shut it down there.",
    "kept.starts": "The kernel {kernel} is starting, and its process is not known yet. Try again in a moment.",
    "kept_state.starting": "starting",
    "kept_state.running": "runs a cell",
    "kept_state.waiting": "waits for its GPU",
    "kept_state.idle": "idle",
    "kept_state.unknown": "unknown",
    "cli.kernels_usage": (
        "Use `jupyter fastgpu kernels`, alone or with `attach KERNEL` or `end KERNEL`; alone, it lists the kernels."
    ),
    "cli.kernel_ended": "Ended the kernel {kernel} and released its GPU.",
    "cli.no_kept_kernels": "No kernels run without a Jupyter server.",
    "cli.no_console": (
        "Jupyter's console is not installed here. Install it with `pip install jupyter-console`, or connect another "
        "client to {file}."
    ),
    "cli.attached": (
        "Leave the console with Ctrl-D or `exit(keep_kernel=True)`; `exit` alone ends the kernel, and its variables "
        "are lost."
    ),
    "kept.unknown_server": "The process that is to be the kernel's server is not running.",
    "kept.server_alive": "The kernel has another Jupyter server, which is running. Nothing was changed.",
}
