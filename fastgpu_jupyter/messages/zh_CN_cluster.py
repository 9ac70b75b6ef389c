"""The Chinese sentences about leases that an engine such as Slurm serves; see :mod:`.en_cluster`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "cluster.not_a_word": "{field} 含有空格或集群不接受的其他字符，或超过 256 个字符。未提交任何内容。",
    "cluster.time_out_of_range": "时间必须大于零且不超过 {longest_ms}。未提交任何内容。",
    "cluster.budget_spent": "本月预算已用尽，因此不再申请集群的 GPU。请向管理员申请更多预算，或等到下个月。",
    "cluster.cannot_park": "集群上的租约无法挂起：在作业结束之前，GPU 一直归该作业使用。",
    "cluster.cannot_resize": "集群上的租约保持其规格。未作任何更改；如需其他规格，请选择后启动新的内核。",
    "cluster.cannot_migrate": "集群上的租约保持在其 GPU 上。未作任何更改；如需其他 GPU，请选择后启动新的内核。",
    "cluster.second_job": "集群为已有作业 {known} 的租约又接受了作业 {job}。租约保留作业 {known}；请取消作业 {job}。",
    "cluster.no_devices": "作业在 {host} 上启动但没有 GPU，因此已取消。请联系管理员。",
    "cluster.end_orphaned": "已有 {keep_ms} 没有 Jupyter 服务器持有它。",
    "end.cluster_refused": "集群不受理此申请。",
    "end.allocation_lost": "集群结束了它的作业。",
    "mechanism.cluster": "GPU 由集群分配，作业无法打开其他 GPU。",
    "mechanism.cluster_unenforced": "GPU 由集群分配，集群不限制作业的用量。",
}
