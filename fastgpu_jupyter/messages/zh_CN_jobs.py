"""The Chinese sentences about jobs; see :mod:`.en_jobs`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    "jobs.waits_for_jobs": "将在作业 {numbers} 完成后启动。",
    "jobs.waits_for_result": "作业 {number} 正在计算相同的结果；此作业将使用该结果，或在其后自行计算。",
    "jobs.jobs_before": "前面还有您的 {jobs_before} 个作业。",
    "jobs.earlier_attempt_ends": "上一次尝试的进程仍在结束；结束后作业即启动。",
    "jobs.not_started_yet": "无法启动：{reason}。作业已保留并会再次尝试；请释放磁盘空间或内存。",
    "jobs.lease_ended": "作业开始前其 GPU 租约已结束。{reason}正在请求另一个租约。",
    "jobs.not_watched": "结果已保留但未缓存，因为不知道它打开了哪些文件。",
    "jobs.result_removed": "其结果已为腾出空间而删除，或已被清理。如需结果，请再次运行。",
    "jobs.computed_again": "按要求重新计算；缓存中的结果将被替换。",
    "jobs.waited_too_long": "在作业允许等待的时间内未能分配 GPU，因此未启动。请再次运行，可选择较小的规格或更长的等待时间。",
    "jobs.request_released": "其 GPU 请求已取消，作业也随之取消。如仍需要，请再次运行。",
    "jobs.lost": "作业运行期间其运行程序被终止。已输出的内容已保留；没有结果。请再次运行，或在提交时设置重试次数。",
    "jobs.lost_retry": "第 {attempt} 次尝试因运行程序被终止而丢失；作业已重新排队。",
    "jobs.lost_reboot": "作业运行期间计算机重启。已输出的内容已保留；没有结果。请再次运行，或在提交时设置重试次数。",
    "jobs.lost_reboot_retry": "第 {attempt} 次尝试因计算机重启而丢失；作业已重新排队。",
    "jobs.runner_ends": "用于运行作业的进程在作业开始前结束了 {starts} 次。未运行任何内容。原因见其日志；之后请再次运行该作业。",
    "jobs.predecessor_failed": "其前置作业 {number} 失败，因此未启动。请在该作业完成后再次运行。",
    "jobs.predecessor_cancelled": "其前置作业 {number} 已取消，因此未启动。如仍需要，请再次运行。",
    "jobs.predecessor_lost": "其前置作业 {number} 丢失，因此未启动。请在该作业完成后再次运行。",
    "state.queued": "排队中",
    "state.running": "运行中",
    "state.done": "已完成",
    "state.failed": "失败",
    "state.cancelled": "已取消",
    "state.lost": "丢失",
    "jobs.no_job": "没有作业 {number}；`jupyter fastgpu job list` 可列出作业。未作任何更改。",
    "jobs.no_outcome": "作业 {number} 没有运行结论：它尚未结束，或已丢失。",
    "jobs.body_invalid": "作业未被接受：{reason}。",
    "jobs.follows_not_done": "作业 {number} 的状态为“{state}”，因此没有作业能在其后运行。未提交任何内容。",
    "jobs.too_many_queued": "已有 {queued_max} 个作业在排队，不再接受更多作业。未提交任何内容；请等待或取消部分作业。",
    "jobs.draft_lacks": "作业的文件中缺少 {file}。未提交任何内容；请重新提交该作业。",
    "jobs.draft_too_large": "作业的文件共 {given_bytes}，最多接受 1000 个文件共 {limit_bytes}。未提交任何内容；请让作业从磁盘读取大数据，或调高 c.Jobs.payload_bytes_max。",
    "jobs.not_kept": "无法将作业写入磁盘：{reason}。作业未提交。请释放空间后重新提交。",
    "jobs.payload_gone": "无法读取作业 {number} 的文件：{reason}。未提交任何内容；请作为新作业提交。",
    "jobs.no_call": "作业调度程序没有调用 {name}；它可能是较旧的版本。",
    "jobs.wrong_arguments": "调用 {call} 被拒绝：{reason}。",
    "jobs.frame_too_long": "作业的文本有 {given_bytes}，最多接受 {limit_bytes}。未提交任何内容；请将大数据放入文件或输入。",
    "jobs.too_many_followers": "已有 {followers_max} 个程序在跟踪作业。请关闭一些后重试。",
    "jobs.too_many_connections": "已有 {connections_max} 个程序连接到作业调度程序。",
    "jobs.bug": "作业调度程序遇到自身的错误；请查看其日志。作业已保留。",
    "jobs.no_dispatcher": "{path} 处没有作业调度程序响应（{reason}）。",
    "jobs.dispatcher_silent": "作业调度程序已 {seconds} 秒没有响应：它已停止，或机器负载过高。正在运行的作业会继续，您请求的操作可能已经完成。",
    "jobs.dispatcher_ended": "作业调度程序在响应前结束。作业已保留；请重试。",
    "jobs.dispatcher_elsewhere": (
        "无法从集群的主机提交或查看作业。请使用 FastGPU 面板的“作业”部分，或在 JupyterLab 的终端中使用 `jupyter fastgpu job`。"
    ),
    "jobs.dispatcher_not_started": "无法启动作业调度程序：{reason}其日志为 {log}。",
    "jobs.socket_of_another_user": "套接字 {path} 属于另一用户（{uid}）的进程；未向其发送任何内容。请联系管理员。",
    "jobs.other_version": "作业调度程序的版本是 FastGPU {version}，此版本无法理解。未作任何更改。请使用该版本，或等待其作业结束。",
    "jobs.folder_of_another": "文件夹 {path} 是链接或属于其他用户；FastGPU 不会使用它。",
    "jobs.folder_unusable": "无法使用 {path}：{reason}。作业保持原样；请释放或修复磁盘。",
    "jobs.store_fault": "无法使用作业存储 {path}：{reason}。其内容已保留，正在运行的作业会继续。请释放或修复磁盘后重试。",
    "jobs.store_newer": "作业存储 {path} 由较新版本的 FastGPU 写入（格式 {theirs}；此版本支持 {ours}）。未作任何更改。请升级 fastgpu-jupyter 后使用。",
    "jobs.store_foreign": "{path} 不是 FastGPU 的作业存储。已保持原样；请将其移到其他文件夹。",
    "jobs.store_lacks_body": "作业存储 {path} 中没有作业 {number} 提交时的内容。",
    "jobs.settings_unreadable": "无法从 {place} 读取作业设置：{reason}。请更正后重试。",
    "jobs.setting_unknown": "没有设置 {setting}；设置参考中列出了所有设置。",
    # -- 运行器 -------------------------------------------------------------------------------------------------------
    "jobs.exit_status": "命令以退出状态 {status} 结束。它的输出已保留。",
    "jobs.killed": "它被 SIGKILL 结束，系统在内存不足时会这样做。它的输出已保留；请检查机器的内存，或询问管理员。",
    "jobs.ended_by_signal": "它被信号 {signal} 结束。它的输出已保留。",
    "jobs.work_ended": "它的进程在报告结果之前以退出状态 {status} 结束。它的输出已保留；日志中可能有原因。",
    "jobs.timeout": "它运行了 {timeout_ms}，达到时限，已被结束。它的输出已保留；请用更长的时限重新运行。",
    "jobs.ended_with_lease": (
        "它的租约在运行时结束，作业也随之结束：{reason}它的输出和写入的文件已保留；有空闲 GPU 时请重新运行。"
    ),
    "jobs.folder_full": "它没有启动，因为无法写入它的文件夹：{reason}。请释放一些空间后重新运行。",
    "jobs.not_on_host": (
        "它没有开始，因为文件夹 {folder} 在 {host} 上不存在。集群上的作业需要各主机共享的主目录，以及在那里存在的工作文件夹。"
    ),
    "jobs.no_launcher": (
        "它没有开始，因为资源池管理器没有说明如何在 {host} 上运行程序。请用现在安装的版本重新启动资源池管理器：jupyter fastgpu pool restart"
    ),
    "jobs.no_folder": "它没有启动，因为工作文件夹 {folder} 不存在。请在另一个文件夹中运行。",
    "jobs.not_found": "它没有启动，因为找不到命令 {command}。请检查名称和作业的 PATH。",
    "jobs.not_executable": "它没有启动，因为 {command} 不可执行。`chmod +x` 可允许执行。",
    "jobs.not_started": "它没有启动，因为无法执行 {command}：{reason}。",
    "jobs.parked_for_good": "它的 GPU 已挂起，直到您运行 `jupyter fastgpu resume {lease}`；作业的显存内容会保留。",
    "jobs.log_shortened": "…… 此处省略了 {left_out_bytes} 输出 ……",
    "jobs.log_incomplete": "它的日志不完整：{reason}。",
    "jobs.result_not_kept": "作业已运行完毕，但无法保留其结果：{reason}它的输出和写入的文件已保留。",
    "jobs.result_too_large": (
        "结果有 {given_bytes}，每个作业最多保留 {limit_bytes}。请少保存一些，或提高 c.Jobs.result_bytes_max。"
    ),
    "jobs.save_outside": "{pattern} 指向工作文件夹之外的文件，只有其中的文件会被保留。",
    "jobs.save_too_many": "{pattern} 匹配超过 {files_max} 个文件。请打包成一个归档文件再保留。",
    "jobs.save_unreadable": "无法读取 {path}：{reason}。",
    # -- 单元格和笔记本 ------------------------------------------------------------------------------------------------
    "jobs.inputs_damaged": "单元格的输入在提交后被更改。它没有运行；请重新提交。",
    "jobs.inputs_unreadable": "无法在内核中恢复单元格的输入：{reason}。它没有运行；请检查其解释器是否有相同的软件包。",
    "jobs.output_not_kept": "无法保留输出 {name}：{reason}单元格已运行，它的输出和日志已保留。",
    "jobs.outputs_undefined": "单元格已运行，但没有定义 --out 指定的 {names}。它的输出和日志已保留；请更正名称或单元格。",
    "jobs.output_cut": "…… 超过 {limit_bytes} 的输出只在日志中 ……",
    "jobs.no_kernel": "这里没有内核 {kernel}，因此没有运行。`jupyter kernelspec list` 列出所有内核。",
    "jobs.no_interpreter": "无法启动它的内核，因为没有 {interpreter}。没有运行任何内容。",
    "jobs.no_ipykernel": (
        "无法启动它的内核，因为 {interpreter} 没有 ipykernel。没有运行任何内容；"
        "`{interpreter} -m pip install ipykernel` 可安装它。"
    ),
    "jobs.no_package": (
        "输入和输出需要作业的解释器 {interpreter} 中有 fastgpu-jupyter。没有运行任何内容；"
        "`{interpreter} -m pip install fastgpu-jupyter` 可安装它。"
    ),
    "jobs.kernel_not_started": "无法启动它的内核：{reason}。没有运行任何内容；日志中可能有原因。",
    "jobs.kernel_died": "它的内核在运行第 {number} 个单元格时终止，例如内存不足时。此前的输出已保留。",
    "jobs.notebook_unreadable": "无法读取笔记本：{reason}。没有运行任何内容。",
    "jobs.parameters_language": "只能给 Python 笔记本传递参数，而这个笔记本使用 {language}。没有运行任何内容。",
    "jobs.parameter_name": "参数 {name} 不是变量名。没有运行任何内容。",
    "jobs.parameter_value": "参数 {name} 的值的类型为 {type}，JSON 中没有这种类型。没有运行任何内容。",
    "jobs.not_followed": "无法跟踪作业：{reason}。",
    "jobs.no_result": "作业 {number} 没有结果。",
    "jobs.no_file": "作业 {number} 的结果中没有文件 {path}。",
    "jobs.no_image": "作业 {number} 的该输出没有图像。",
    "jobs.image_unreadable": "无法读取作业 {number} 的图像：{reason}。请再次运行该作业。",
}
