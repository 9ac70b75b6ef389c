"""The Chinese sentences about kernels that outlive their Jupyter server; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "kept.note": "从 {since} 到 {until} 没有运行 Jupyter 服务器。内核一直在继续运行；下面是它在此期间的输出。",
    "kept.gap": "此处省略了 {count} 条输出（{size_bytes}）：没有服务器运行时，输出超过了可保留的数量。",
    "kept.not": "启动此内核的进程已结束。内核也随之结束。",
    "kept.upgraded": "Jupyter 服务器已结束，而 FastGPU 在此期间已升级，因此无法保留此内核：它将结束。",
    "kept.expired": "没有 Jupyter 服务器及时接管此内核。内核结束，并释放其 GPU。",
    "kept.doctor": "服务器 {pid} 结束后继续运行的内核",
    "kept.doctor_ok": (
        "没有发现会使 {root} 的 Jupyter 服务器的内核随之结束的情况：FastGPU 的内核按 "
        "FastGPUExtension.keep_kernels 的设置继续运行。"
    ),
    "kept.ends_with_container": "容器随其 Jupyter 服务器一起结束，其中所有内核也随之结束：无法保留任何内核。",
    "kept.ends_with_service": (
        "systemd 在 Jupyter 服务器结束时会结束 {unit} 的所有进程（KillMode={mode}）：无法保留任何内核。"
    ),
    "kept.may_end_with_service": ("Jupyter 服务器属于 {unit}，systemd 会随它结束哪些进程尚不清楚：其内核也可能结束。"),
    "kept.remedy_service": "如果允许该服务的进程在服务结束后继续运行，请在服务中设置 KillMode=process。",
    "kept.not_found": "{kernel} 不是没有 Jupyter 服务器仍在运行的内核；`jupyter fastgpu kernels` 会列出它们。",
    "kept.several": "{kernel} 对应多个内核：{kernels}。未做任何操作；请给出更长的 id。",
    "kept.adopted": "某个 Jupyter 服务器已接管内核 {kernel}。它没有被结束；请在那里关闭它。",
    "kept.starts": "内核 {kernel} 正在启动，尚不知道其进程。请稍后重试。",
    "kept_state.starting": "正在启动",
    "kept_state.running": "正在运行单元格",
    "kept_state.waiting": "正在等待其 GPU",
    "kept_state.idle": "空闲",
    "kept_state.unknown": "未知",
    "cli.kernels_usage": "请单独使用 `jupyter fastgpu kernels`，或加上 `attach KERNEL` 或 `end KERNEL`；单独使用时会列出内核。",
    "cli.kernel_ended": "已结束内核 {kernel} 并释放其 GPU。",
    "cli.no_kept_kernels": "没有内核在没有 Jupyter 服务器的情况下运行。",
    "cli.no_console": "此处未安装 Jupyter 控制台。请用 `pip install jupyter-console` 安装，或将其他客户端连接到 {file}。",
    "cli.attached": "请用 Ctrl-D 或 `exit(keep_kernel=True)` 离开控制台；单独的 `exit` 会结束内核，其变量将丢失。",
    "kept.unknown_server": "将作为此内核服务器的进程没有在运行。",
    "kept.server_alive": "此内核的另一个 Jupyter 服务器正在运行。没有做任何更改。",
}
