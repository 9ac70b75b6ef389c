"""The Chinese sentences about the results of jobs, the cache and what keeps a job out of it; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    # -- the store of results ---------------------------------------------------------------------------------------
    "results.gone": "结果 {digest} 已不再保留：它已为腾出空间而被移除，或已被清理。如需该结果，请重新运行作业。",
    "results.damaged": "已存储的结果 {digest} 已损坏（{reason}），未被打开。其他结果不受影响；请重新运行作业。",
    "results.foreign": "{path} 未被打开：它是链接、属于其他用户，或其他用户可写入。只从您自己的文件读取结果。",
    "results.newer": "该结果由更新版本的 FastGPU 以格式 {version} 写入。它会被保留；请升级 FastGPU 后再打开。",
    "results.newer_store": "{path} 中的结果由更新版本的 FastGPU 以格式 {version} 写入。未做任何更改；请升级 FastGPU，或选择其他文件夹。",
    "results.not_written": "结果无法写入 {path}：{reason}。此前存储的内容均已保留；请在该处腾出空间，例如使用 `jupyter fastgpu job prune`，然后重新运行作业。",
    "results.not_picklable": "{type} 无法存储：{reason}。请改为返回普通数据（如数组），或将其保存到文件。",
    "results.not_regular": "{path} 未被保存：它不是普通文件。",
    "results.unreadable": "已存储的结果 {digest} 完好，但当前 Python 无法还原它：{reason}。请在运行该作业的环境中，用相同的库打开。",
    "results.too_many_parts": "该结果包含 {count} 个值和文件，超过单个结果的上限。请减少保存的文件，或保存为一个归档。",
    "results.no_digest": "{digest} 不是结果的名称。",
}
