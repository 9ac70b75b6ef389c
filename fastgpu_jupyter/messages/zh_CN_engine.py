"""The Chinese sentences about the engine of a cluster and kernels on its hosts; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "cluster.not_configured": (
        "此资源池租用的是本机的 GPU，分区、账户、QOS、约束和时间限制在这里没有意义。没有提出任何请求。请去掉这些选项，"
        "或设置 FastGPUPool.cluster。"
    ),
    "cluster.no_kernel_here": "此租约使用本机的 GPU，其内核由 Jupyter 服务器自行启动。未做任何操作。",
}
