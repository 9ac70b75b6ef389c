"""The Chinese sentences about calls of an executor; see :mod:`.en_calls`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "call.argument": (
        "参数 {name}（{type}）无法发送到其他进程：{reason}。未提交任何内容。请改为传递用于创建它的内容（如路径或数组），并在函数内部创建它。"
    ),
    "call.function": (
        "函数 {name} 使用了无法发送到其他进程的内容：{reason}。未提交任何内容。请在函数内部创建它，或将其作为参数传递。"
    ),
    "call.damaged": "调用文件 {path} 缺失，或在提交后被更改，因此未打开。请重新提交该调用。",
    "call.not_unpickled": (
        "作业进程无法读取该函数或其参数：{reason}。请在环境 {interpreter} 中安装缺少的内容，然后重新提交该调用。"
    ),
    "call.unreadable": "作业 {job} 已完成，其结果已保留。{reason}",
    "call.exception": "该调用引发了 {name}：{text}（该异常本身无法在进程之间发送）",
    "call.cancelled": "作业 {job} 在调用运行期间被取消。如需运行，请重新提交该调用。",
    "call.timeout": "作业 {job} 已达到时限 {limit_ms}，因此被终止。其日志已保留。请以更长的 timeout 重新提交，或减少工作量。",
    "call.died": ("作业 {job} 的进程在调用结束前终止。{why}其他调用继续运行；请重新提交该调用。"),
    "call.lost": (
        "作业 {job} 已丢失：它随运行它的进程一起终止。{why}其他调用继续运行。请重新提交该调用，或使用 retries=1 让此类调用自动重新运行。"
    ),
    "call.removed": "作业 {job} 在其结果被读取之前已被移除。请重新提交该调用。",
}
