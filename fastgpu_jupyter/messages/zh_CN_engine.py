"""The Chinese sentences about the engine of a cluster and kernels on its hosts; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "cluster.not_configured": (
        "此资源池租用的是本机的 GPU，分区、账户、QOS、约束和时间限制在这里没有意义。没有提出任何请求。请去掉这些选项，"
        "或设置 FastGPUPool.cluster。"
    ),
    "cluster.fake_silent": "按照设置，模拟集群没有响应。",
    "cluster.fake_refused": "模拟集群拒绝了请求：{reason}。",
    "cluster.fake_impossible": "模拟集群的任何主机都没有这样的 GPU，或没有这么多。没有提交任何作业。",
    "cluster.fake_full": "模拟集群中可用于此请求的 GPU 都在使用中。",
    "cluster.fake_held": "按照设置，模拟集群不启动任何作业。",
    "cluster.fake_ended": "模拟集群中的作业已结束：{state}。",
    "cluster.fake_forgotten": "模拟集群已不再知道此作业。",
    "cluster.no_kernel_here": "此租约使用本机的 GPU，其内核由 Jupyter 服务器自行启动。未做任何操作。",
    "cluster.not_granted_at_position": (
        "集群在 {seconds} 秒内没有启动此内核的作业：在其队列中排第 {position} 位。{reason}请求已取消，内核未启动。"
        "请在 JupyterLab 中申请 GPU（可一直等待），稍后重试，或设置 FastGPUProvisioner.cluster_wait_s。"
    ),
    "cluster.not_granted_in_time": (
        "集群在 {seconds} 秒内没有启动此内核的作业。{reason}请求已取消，内核未启动。请在 JupyterLab 中申请 GPU（可一直等待），"
        "稍后重试，或设置 FastGPUProvisioner.cluster_wait_s。"
    ),
    "cluster.lease_needs_restart": (
        "此内核曾在其租约的作业中运行，该租约已结束。没有提出任何请求。请重启内核以申请另一个 GPU；其变量将丢失。"
    ),
    "cluster.release_ends_kernel": (
        "此内核在集群上其租约的作业中运行，会随之结束。没有释放任何东西。要归还 GPU，请关闭内核。"
    ),
    "cluster.kernel_is_local": (
        "此资源池的 GPU 现在位于集群上，而此内核在本机运行。没有提出任何请求。请重启内核，使其在集群上运行；其变量将丢失。"
    ),
    "cluster.pool_is_local": (
        "此资源池的 GPU 现在是本机的，而此内核曾在集群上运行。内核未启动。请关闭它，并用新内核打开笔记本。"
    ),
}
