"""The Chinese sentences about the engine of a cluster and kernels on its hosts; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "cluster.not_configured": (
        "此资源池租用的是本机的 GPU，分区、账户、QOS、约束和时间限制在这里没有意义。没有提出任何请求。请去掉这些选项，"
        "或设置 FastGPUPool.cluster。"
    ),
    "cluster.no_option": "{name} 不是集群的选项。没有提出任何请求。可用选项：{choices}。",
    "cluster.unknown_engine": "FastGPUPool.cluster 为 {name}，这不是已知的集群。已知的有：{engines}。",
    "cluster.system_pool": (
        "FastGPUPool.cluster 只能用于用户自己的资源池，因为集群中的作业属于提交它的用户。请不带 --system 启动资源池，"
        "或去掉 FastGPUPool.cluster。"
    ),
    "cluster.leases_left": (
        "集群的租约尚未结束，而没有设置 FastGPUPool.cluster，它们的作业将在无人察觉的情况下继续运行。请照原样设置它，"
        "用 `jupyter fastgpu release` 释放这些租约，然后再在不设置它的情况下启动。"
    ),
    "cluster.no_address": (
        "本机没有可到达 {host} 的地址（{reason}），因此不会提交任何作业。请将 FastGPUPool.cluster_address 设置为集群主机可到达的地址。"
    ),
    "cluster.engine_hangs": "集群已有 {seconds} 秒没有响应。",
    "cluster_engine.slurm": "Slurm",
    "cluster_engine.fake": "模拟集群",
    "cluster.submitting": "正在提交。{engine}尚未确认。",
    "cluster.not_asked": "已提交，{engine}尚未说明等待原因。",
    "cluster.starting": "{engine}已在 {host} 上启动其作业，该主机尚未报告。",
    "cluster.engine_decides": "何时启动由{engine}决定。",
    "cluster.estimate": "{engine}的预计",
    "cluster.no_estimate": "{engine}没有给出",
    "cluster.engine_silent": "{engine}已有 {silent_ms} 没有响应。在它响应之前一切不变：运行中的内核继续运行，请求保持其位置。",
    "cluster.host_silent": "主机 {host} 已有数秒没有报告。其内核可能仍在运行；作业是否运行由{engine}说明。",
    "cluster.suspended": (
        "{engine}已挂起其作业：内核保留其变量和 GPU，在作业恢复之前不执行任何操作。请向管理员询问何时恢复。"
    ),
    "cluster.requeued": "集群收回了 GPU 并将作业重新放入队列，因此该作业已被取消。其变量已丢失；文件仍在。",
    "cluster.not_reached": (
        "其作业在 {host} 上运行，但该主机没有报告。该主机必须能连接到 {address}（TCP）：可能被防火墙阻止。"
        "请联系管理员，或设置 FastGPUPool.cluster_address 和 cluster_port。"
    ),
    "cluster.never_reached": (
        "其作业曾在 {host} 上运行，但该主机在五分钟内无法连接到 {address}（TCP），因此已被取消。"
        "请向管理员询问防火墙，或设置 FastGPUPool.cluster_address 和 cluster_port。"
    ),
    "cluster.ends_soon": "{engine}将在 {left_ms} 后因时间限制结束它。请保存需要的内容。",
    "cluster.not_active": "该租约未在集群主机上处于活动状态。未做任何操作；请等待它变为活动状态。",
    "cluster.files_too_large": "内核的文件超过 {characters_max} 个字符。没有启动内核。",
    "doctor.cluster": "集群",
    "doctor.cluster_not_used": "此处有 Slurm 的命令，而您的资源池只租用本机的 GPU。",
    "doctor.cluster_use": '要租用集群的 GPU，请在配置中设置 c.FastGPUPool.cluster = "slurm"。',
    "doctor.cluster_silent": "您的资源池租用 {engine} 的 GPU，目前无法提交任何作业。{reason}运行中的内核继续运行。",
    "doctor.cluster_unknown": "您的资源池租用 {engine} 的 GPU，它尚未说明提供哪些 GPU。",
    "doctor.cluster_empty": "您的资源池租用 {engine} 的 GPU，但它没有向您提供任何 GPU：请联系管理员。",
    "doctor.cluster_answers": "您的资源池租用 {engine} 的 GPU：{models}，位于分区 {partitions}。",
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
    "cluster.kernel_not_started": "内核未能在其租约的主机上启动，租约已释放。内核的输出：{output}",
    "cluster.lease_needs_restart": (
        "此内核曾在其租约的作业中运行，该租约已结束。没有提出任何请求。请重启内核以申请另一个 GPU；其变量将丢失。"
    ),
    "cluster.kernel_is_local": (
        "此资源池的 GPU 现在位于集群上，而此内核在本机运行。没有提出任何请求。请重启内核，使其在集群上运行；其变量将丢失。"
    ),
    "cluster.pool_is_local": (
        "此资源池的 GPU 现在是本机的，而此内核曾在集群上运行。内核未启动。请关闭它，并用新内核打开笔记本。"
    ),
}
