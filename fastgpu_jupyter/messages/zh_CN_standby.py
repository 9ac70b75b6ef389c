"""The Chinese sentences about standby kernels; see :mod:`.en_standby`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "request.standby": "无法读取备用内核的报告：{reason}。",
    "request.standby_twice": "备用内核的报告中每个进程只能出现一次。",
    "standby.off": "资源池的管理员不允许备用内核（Standby.memory_percent 为 0）。",
    "standby.unknown_memory": "无法读取此主机的内存大小，因此没有备用内核。",
    "standby.pressure": "有进程在等待内存，因此在此期间没有备用内核。",
    "standby.low_memory": "可用内存不足，因此不启动备用内核。",
    "standby.budget": "此主机或此控制组的全部备用内核已用满允许的内存。",
    "standby.not_seen": "资源池管理器看不到此 Jupyter 服务器的这个子进程。",
    "standby.too_many_servers": "拥有备用内核的 Jupyter 服务器已达资源池管理器允许的上限。",
    "standby.server_idle": "此 Jupyter 服务器已有 {limit_ms} 未被使用；下次使用时会启动备用内核。",
    "standby.died": "备用内核已连续 {count} 次自行结束；{wait_ms} 后启动下一个。",
    "standby.cpu_busy": "有进程在等待处理器；计算机空闲时会启动备用内核。",
    "standby.launching": "有内核正在启动；之后会启动备用内核。",
    "standby.own_limit": "资源池管理器没有响应，或不支持备用内核。在此期间，此 Jupyter 服务器至多有一个备用内核，且其内存不超过总内存的 {percent} %。",
}
