"""The Chinese sentences that a kernel and the command line show of jobs; see :mod:`.zh_CN`."""

from __future__ import annotations

MESSAGES: dict[str, str] = {
    # -- the state of a job ------------------------------------------------------------------------------------------
    "job_state.queued": "排队中",
    "job_state.running": "运行中",
    "job_state.done": "已完成",
    "job_state.failed": "失败",
    "job_state.cancelled": "已取消",
    "job_state.lost": "丢失",
    # -- what is shown of a job --------------------------------------------------------------------------------------
    "job_view.id": "作业 {id}",
    "job_view.named": "作业 {id} · {name}",
    "job_view.label": "{title}：{state}",
    "job_view.cached_title": "{title} · 已缓存",
    "job_view.done_title": "{title} · {ran_ms}",
    "job_view.failed_title": "{title} · {ran_ms} 后",
    "job_view.lost_title": "{title} · 于 {time}",
    "job_view.cached": "已缓存",
    "job_view.from_cache": "已缓存。",
    "job_view.computed": "已缓存：{time} 计算。",
    "job_view.computed_on": "已缓存：{time} 在 {device} 上计算，节省 {saved}。",
    "job_view.cancelling": "正在取消",
    "job_view.being_cancelled": "正在取消此作业。",
    "job_view.nothing_billed": "不计费",
    "job_view.cost_unknown": "费用未知",
    "job_view.started": "{time} 开始",
    "job_view.progress": "进度",
    "job_view.of_total": "{done} / {total} {unit}",
    "job_view.position": "第 {position} 位。",
    "job_view.position_about": "第 {position} 位，约 {estimate_ms}。",
    "job_view.asks": "{size}，优先级 {priority}。",
    "job_view.parked": "已为优先的请求挂起；其显存内容保留，作业会自行继续。",
    "job_view.outputs": "{count} 个输出",
    "job_view.kept": "服务器重启后保留。",
    "job_view.can_close": "您可以关闭此笔记本。",
    "job_view.as_of": "截至 {time}。",
    "job_view.can_cancel": "`{job}.cancel()` 可取消作业。",
    "job_view.can_take": "`{job}.result()` 返回 {names}。",
    "job_view.can_show": "`{job}.show()` 显示其输出，`{job}.log()` 返回其日志。",
    "job_view.can_rerun": "`{job}.log()` 返回其日志，`{job}.rerun()` 再次运行。",
    "job_view.nothing_changed": "此内核未作任何更改。",
    "job_view.none": "没有作业。在单元格首行加上 %%fastgpu job，即可在独立的 GPU 上运行；此笔记本可继续使用。",
    "title.jobs": "作业",
    "label.job": "作业",
    "label.job_name": "名称",
    "label.job_detail": "详情",
    # -- the handle of a job -----------------------------------------------------------------------------------------
    "job.failed": "作业 {job} 失败：{name}：{text}",
    "job.lost": "作业 {job} 已丢失。{notes}",
    "job.not_over": "作业 {job} 尚未结束。`job.wait()` 可等待其结束。",
    "job.no_result": "作业 {job} 的结果未保留。`job.rerun()` 可重新计算。",
    "job.file_outside": "作业保存的 {path} 位于该文件夹之外，未复制。",
    # -- the words after %%fastgpu job ---------------------------------------------------------------------------------
    "job_words.no_name": "{text} 不是变量名。",
    "job_words.no_count": "{text} 不是 0 到 {most} 之间的整数。",
    "job_words.no_time": "{text} 不是作业可以运行的时间。",
    "job_words.no_path": "{text} 位于作业的工作文件夹之外。",
    "job_words.no_job": "{text} 不是作业编号。`%fastgpu jobs` 可列出作业。",
    "job_words.quote": "{text} 中有未闭合的引号。未提交任何作业。",
    "job_words.unknown": "作业没有选项 --{option}；可选：{choices}。未提交任何作业。",
    "job_words.unknown_near": "作业没有选项 --{option}；是否要用 --{near}？未提交任何作业。",
    "job_words.two_sizes": "给出了两个规格：{first} 和 {second}。未提交任何作业。",
    # -- why a cell cannot be a job ----------------------------------------------------------------------------------
    "job_cell.empty": "`%%fastgpu job` 下面的单元格为空。未提交任何作业。",
    "job_cell.syntax": "单元格第 {line} 行不是有效的 Python 代码：{reason}。未提交任何作业。",
    "job_cell.no_input": "--in 指定的变量 `{name}` 在此笔记本中不存在。未提交任何作业。",
    "job_cell.no_input_near": "--in 指定的变量 `{name}` 在此笔记本中不存在；是否要用 `{near}`？未提交任何作业。",
    "job_cell.not_named": (
        "单元格使用了此笔记本的 {names}，而作业不会自动获得这些变量。请指定：--in {every}。未提交任何作业。"
    ),
    "job_cell.unknown_name": "单元格使用了 `{name}`，但单元格和此笔记本都没有定义它。未提交任何作业。",
    "job_cell.unknown_name_near": (
        "单元格使用了 `{name}`，但单元格和此笔记本都没有定义它；是否要用 `{near}`？未提交任何作业。"
    ),
    "job_cell.no_output": "单元格没有定义 --out 指定的 `{name}`。未提交任何作业。",
    "job_cell.no_output_near": "单元格没有定义 --out 指定的 `{name}`；是否要用 `{near}`？未提交任何作业。",
    "job_cell.not_picklable": "无法将 `{name}` 发送给作业：{reason}。未提交任何作业。",
    "job_cell.no_notebook": "无法将 {path} 作为笔记本读取：{reason}。未提交任何作业。",
    "job_cell.not_a_notebook": "{path} 不是格式 4 的笔记本。未提交任何作业。",
    "job_cell.no_program": "没有名为 {name} 的程序。未提交任何作业。",
    "cache.gpu_model_unknown": "--numeric 会将 GPU 型号计入键，但目前不知道会是哪种型号；请在规格中指定，例如 a100:1/2",
    "job_cell.secret": (
        "{names} 的名称像是机密信息，而机密信息不会随作业保存。请让作业从只有您可读的文件中读取。未提交任何作业。"
    ),
    "job_cell.no_folder": "工作文件夹已不存在，作业无法在那里运行。未提交任何作业。",
    # -- jupyter fastgpu job -----------------------------------------------------------------------------------------
    "cli.name_job": "请给出作业编号；`jupyter fastgpu job list` 可列出作业。",
    "cli.no_jobs": "没有作业。`jupyter fastgpu job run notebook.ipynb` 可提交作业。",
    "cli.job_run_usage": (
        "jupyter fastgpu job run NOTEBOOK.ipynb [-p NAME VALUE] [-r NAME TEXT] [-k KERNEL] [-f] [--json] [OPTIONS]，或 "
        "jupyter fastgpu job run [-f] [--json] [OPTIONS] -- COMMAND"
    ),
    "cli.job_run_what": "请给出笔记本，或在 `--` 之后给出命令。未提交任何作业。",
    "cli.job_run_both": "请给出笔记本或命令，不能同时给出；-p、-r 和 -k 仅用于笔记本。未提交任何作业。",
    "cli.no_parameter": "{option} 需要名称和值，例如 {option} lr 0.1。未提交任何作业。",
    "cli.job_value": "{name}：变量；请在 Python 中读取。",
    "cli.job_copied": "已复制 {path}。",
    "cli.job_of_command": (
        "命令的结果是其退出状态 {status}、日志（`jupyter fastgpu job log {job}`）以及 --save 的文件；没有这样的文件。"
    ),
    "cli.nothing_known": "没有已知信息。",
    "cli.prune_what": "请给出 --older=30d、--to=10GiB，或两者。",
    "cli.pruned": "已删除 {jobs} 个作业和 {results} 个结果，共 {freed_bytes}。",
    "cli.du_jobs": "作业：{count} 个，{size}。",
    "cli.du_results": "结果：{count} 个，{size}。",
    # -- the verbs ---------------------------------------------------------------------------------------------------
    "magic.cell_verb_first": (
        "`%%fastgpu {name}` 应写在单元格首行，该行不能有其他内容，并且仅可用于名为 FastGPU 的内核。"
    ),
    "magic.cell_verbs": (
        "`%%fastgpu` 之后使用 job、compare、cpu 或 profile，并写在单元格首行；其他命令各占一行，例如 `%fastgpu status`。"
    ),
    "magic.unknown_cell_verb": "%%fastgpu 没有命令 {name}。请使用 cpu、profile、job 或 compare。",
    "magic.unknown_cell_verb_near": (
        "%%fastgpu 没有命令 {name}；是否要用 `%%fastgpu {near}`？请使用 cpu、profile、job 或 compare。"
    ),
    "summary.jobs": "列出您的作业，或显示该编号的作业。",
    "summary.cell_job": "将单元格作为作业在独立的 GPU 上运行；此笔记本可继续使用。",
    "summary.cell_compare": "将单元格作为两个不同规格的作业运行，比较时间和费用。",
    "magic.job_options": "作业的 OPTIONS：{options}",
    # -- %%fastgpu compare -------------------------------------------------------------------------------------------
    "compare.two_sizes": "请给出两个规格，例如 `%%fastgpu compare half full`。未提交任何作业。",
    "compare.no_option": "`%%fastgpu compare` 没有选项 --{option}。未提交任何作业。",
    "compare.twice": (
        "单元格会运行两次，先用 {first}，再用 {second}：它写入或发送的内容都会重复一次。“中断”会结束等待；作业继续运行，"
        "`{variable}` 可显示报告。"
    ),
    "compare.title": "{first} 与 {second} 的比较",
    "compare.speed_up": "{second} 的速度是 {first} 的 {measured} 倍。",
    "compare.cost_ratio": "费用是其 {ratio} 倍。",
    "compare.costs_unknown": "费用之比未知。",
    "compare.predicted": "模型 n·P 预测的加速比为 {predicted}，费用之比为 {ratio}。",
    "compare.no_prediction": "模型 n·P 在此无法预测：两个逻辑 GPU 的 n·P 并非都已知。",
    "compare.not_measured": "加速比：未测量。模拟设备不进行计算，因此上面的时间是处理器的时间。",
    "compare.start": "时间是整个作业的时间，包括其内核的启动。",
    "compare.waits": "作业 {first}：{first_state}；作业 {second}：{second_state}；两者结束后给出报告。",
    "compare.not_done": "作业 {job} 的结束状态为{state}，因此没有可比较的内容。",
}
