"""The Chinese sentences about the agents of an engine's jobs and the kernels that they start; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "cluster.address_unknown": (
        "集群作业用来连接本机的地址 {host} 在这里无法识别（{reason}）。请将 FastGPUPool.cluster_address 设置为本机的名称或地址。"
    ),
    "cluster.address_not_ours": (
        "池管理器无法在 {host} 的端口 {port} 上监听：{reason}。请将 FastGPUPool.cluster_address 设置为本机上集群节点可以访问的地址。"
    ),
    "cluster.port_taken": (
        "{host} 的端口 {port} 正被其他程序使用（{reason}）。请结束该程序，或将 FastGPUPool.cluster_port 设置为其他端口。"
    ),
    "cluster.no_agent": "该租约在集群中已没有作业。请另行申请 GPU。",
    "cluster.agent_silent": "该租约所在的节点暂时没有响应。那里的内核保持原样；请重试，或在集群中查看该作业。",
    "cluster.agent_gone": "该租约的作业在响应之前已结束。请另行申请 GPU。",
    "cluster.agent_busy": "该租约所在的节点尚未执行完之前的命令。请稍后重试。",
    "cluster.agent_unclear": "该租约所在的节点给出了无法读取的响应：{reason}。",
    "forbidden.relayed": "集群节点上的内核只能使用自己的租约，不能执行此操作。未做任何更改；请在运行 JupyterLab 的机器上执行。",
    "cluster.start_too_large": "内核未启动：其命令和环境变量超过了可以发送到节点的大小。请从内核规格的环境中删除较大的变量。",
    "cluster.kernel_runs": "该租约中正在运行另一个内核。请先将其关闭，或重启它。",
    "cluster.no_kernel": "该租约中没有正在运行的内核。",
    "cluster.kernel_failed": "内核未能在节点上启动。租约已保留；节点的输出：\n{output}",
    "cluster.kernel_silent": "内核已在节点上启动，但未及时给出其端口，因此已被结束。租约已保留；内核的输出：\n{output}",
    "cluster.kernel_not_encrypting": (
        "内核未启动：配置要求加密通道，而节点上没有 ipykernel 7.3 或更高版本。请在该节点上更新 ipykernel。"
    ),
}
