"""The English sentences that a kernel and the command line show of jobs; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- the state of a job ------------------------------------------------------------------------------------------
    "job_state.queued": "Queued",
    "job_state.running": "Running",
    "job_state.done": "Done",
    "job_state.failed": "Failed",
    "job_state.cancelled": "Cancelled",
    "job_state.lost": "Lost",
    # -- what is shown of a job --------------------------------------------------------------------------------------
    "job_view.id": "Job {id}",
    "job_view.named": "Job {id} · {name}",
    "job_view.label": "{title}: {state}",
    "job_view.cached_title": "{title} · cached",
    "job_view.done_title": "{title} · {ran_ms}",
    "job_view.failed_title": "{title} · after {ran_ms}",
    "job_view.lost_title": "{title} · at {time}",
    "job_view.cached": "cached",
    "job_view.from_cache": "Cached.",
    "job_view.computed": "Cached: computed {time}.",
    "job_view.computed_on": "Cached: computed {time} on {device}, saved {saved}.",
    "job_view.cancelling": "Cancelling",
    "job_view.being_cancelled": "It is being cancelled.",
    "job_view.nothing_billed": "nothing is billed",
    "job_view.cost_unknown": "cost not known",
    "job_view.started": "started {time}",
    "job_view.progress": "Progress",
    "job_view.of_total": "{done} of {total} {unit}",
    "job_view.position": "Position {position}.",
    "job_view.position_about": "Position {position}, about {estimate_ms}.",
    "job_view.asks": "{size}, {priority} priority.",
    "job_view.parked": "Parked for a request that goes first; its memory is kept, and the job goes on by itself.",
    "job_view.outputs": {"plural": "count", "one": "{count} output", "other": "{count} outputs"},
    "job_view.kept": "Kept when the server restarts.",
    "job_view.can_close": "You can close the notebook.",
    "job_view.as_of": "As of {time}.",
    "job_view.can_cancel": "`{job}.cancel()` cancels it.",
    "job_view.can_take": "`{job}.result()` gives {names}.",
    "job_view.can_show": "`{job}.show()` shows its output, `{job}.log()` its log.",
    "job_view.can_rerun": "`{job}.log()` shows its log, `{job}.rerun()` runs it again.",
    "job_view.nothing_changed": "Nothing of this kernel was changed.",
    "job_view.none": (
        "No jobs. Put `%%fastgpu job` on top of a cell to run it on a GPU of its own; this notebook stays free."
    ),
    "title.jobs": "Jobs",
    "label.job": "Job",
    "label.job_name": "Name",
    "label.job_detail": "Details",
    # -- the handle of a job -----------------------------------------------------------------------------------------
    "job.failed": "Job {job} failed: {name}: {text}",
    "job.lost": "Job {job} is lost. {notes}",
    "job.not_over": "Job {job} is not over. `job.wait()` waits for its end.",
    "job.no_result": "The result of job {job} is not kept. `job.rerun()` computes it again.",
    "job.file_outside": "The job saved {path}, which is outside of the folder; it was not copied.",
    # -- the words after %%fastgpu job ---------------------------------------------------------------------------------
    "job_words.no_name": "{text} is not the name of a variable.",
    "job_words.no_count": "{text} is not a whole number from 0 to {most}.",
    "job_words.no_time": "{text} is no time that a job could run.",
    "job_words.no_path": "{text} is outside of the working folder of the job.",
    "job_words.no_job": "{text} is not the number of a job. `%fastgpu jobs` lists them.",
    "job_words.quote": "A quote is not closed in {text}. Nothing was submitted.",
    "job_words.unknown": "A job has no option --{option}; choose from {choices}. Nothing was submitted.",
    "job_words.unknown_near": "A job has no option --{option}; did you mean --{near}? Nothing was submitted.",
    "job_words.two_sizes": "Two sizes were given: {first} and {second}. Nothing was submitted.",
    # -- why a cell cannot be a job ----------------------------------------------------------------------------------
    "job_cell.empty": "The cell below `%%fastgpu job` is empty. Nothing was submitted.",
    "job_cell.syntax": "Line {line} of the cell is not valid Python: {reason}. Nothing was submitted.",
    "job_cell.no_input": "There is no variable `{name}` in this notebook for --in. Nothing was submitted.",
    "job_cell.no_input_near": (
        "There is no variable `{name}` in this notebook for --in; did you mean `{near}`? Nothing was submitted."
    ),
    "job_cell.not_named": (
        "The cell uses {names} of this notebook, which a job does not see by itself. Name them: --in {every}. Nothing "
        "was submitted."
    ),
    "job_cell.unknown_name": (
        "The cell uses `{name}`, which neither it nor this notebook defines. Nothing was submitted."
    ),
    "job_cell.unknown_name_near": (
        "The cell uses `{name}`, which neither it nor this notebook defines; did you mean `{near}`? Nothing was "
        "submitted."
    ),
    "job_cell.no_output": "The cell does not define `{name}`, which --out names. Nothing was submitted.",
    "job_cell.no_output_near": (
        "The cell does not define `{name}`, which --out names; did you mean `{near}`? Nothing was submitted."
    ),
    "job_cell.not_picklable": "`{name}` cannot be sent to a job: {reason}. Nothing was submitted.",
    "job_cell.no_notebook": "{path} cannot be read as a notebook: {reason}. Nothing was submitted.",
    "job_cell.not_a_notebook": "{path} is not a notebook of format 4. Nothing was submitted.",
    "job_cell.no_program": "There is no program {name}. Nothing was submitted.",
    "cache.gpu_model_unknown": (
        "--numeric puts the model of the GPU into the key, and which one it will be is not known; name it in the size, "
        "like a100:1/2"
    ),
    "job_cell.secret": (
        "{names} looks like a secret by its name, and a secret is never a part of a job. Let the job read it from a "
        "file that only you can read. Nothing was submitted."
    ),
    "job_cell.no_folder": "The working folder is gone, so that a job cannot run there. Nothing was submitted.",
    # -- jupyter fastgpu job -----------------------------------------------------------------------------------------
    "cli.name_job": "Name a job by its number; `jupyter fastgpu job list` lists them.",
    "cli.no_jobs": "Jobs: none. `jupyter fastgpu job run notebook.ipynb` submits one.",
    "cli.job_run_usage": (
        "jupyter fastgpu job run NOTEBOOK.ipynb [-p NAME VALUE] [-r NAME TEXT] [-k KERNEL] [-f] [--json] [OPTIONS], or "
        "jupyter fastgpu job run [-f] [--json] [OPTIONS] -- COMMAND"
    ),
    "cli.job_run_what": "Name a notebook, or a command after `--`. Nothing was submitted.",
    "cli.job_run_both": (
        "Name a notebook or a command, not both; -p, -r and -k are of a notebook. Nothing was submitted."
    ),
    "cli.no_parameter": "{option} needs a name and a value, like {option} lr 0.1. Nothing was submitted.",
    "cli.job_value": "{name}: a variable; read it in Python.",
    "cli.job_copied": "{path} was copied.",
    "cli.job_of_command": (
        "The result of a command is its exit status, {status}, with its log (`jupyter fastgpu job log {job}`) and the "
        "files of --save, of which there are none."
    ),
    "cli.nothing_known": "Nothing is known.",
    "cli.prune_what": "Give --older=30d, --to=10GiB, or both.",
    "cli.pruned": "Removed {jobs} jobs and {results} results, {freed_bytes} in all.",
    "cli.du_jobs": "Jobs: {count}, {size}.",
    "cli.du_results": "Results: {count}, {size}.",
    # -- the verbs ---------------------------------------------------------------------------------------------------
    "magic.cell_verb_first": (
        "`%%fastgpu {name}` stands in the first line of a cell with nothing else in that line, and only in a kernel "
        "named FastGPU."
    ),
    "magic.cell_verbs": (
        "`%%fastgpu` takes job, compare, cpu or profile, in the first line of a cell; every other verb is a line of "
        "its own, like `%fastgpu status`."
    ),
    "magic.unknown_cell_verb": "%%fastgpu has no verb {name}. Use cpu, profile, job or compare.",
    "magic.unknown_cell_verb_near": (
        "%%fastgpu has no verb {name}; did you mean `%%fastgpu {near}`? Use cpu, profile, job or compare."
    ),
    "summary.jobs": "List your jobs, or show the one with that number.",
    "summary.cell_job": "Run the cell as a job on a GPU of its own; the notebook stays free.",
    "summary.cell_compare": "Run the cell as two jobs, one of each size, and compare times and costs.",
    "magic.job_options": "OPTIONS of a job: {options}",
    # -- %%fastgpu compare -------------------------------------------------------------------------------------------
    "compare.two_sizes": "Name two sizes, as in `%%fastgpu compare half full`. Nothing was submitted.",
    "compare.no_option": "`%%fastgpu compare` has no option --{option}. Nothing was submitted.",
    "compare.twice": (
        "The cell runs twice, first with {first} and then with {second}: what it writes or sends, it does twice. Stop "
        "ends the wait; the jobs go on, and `{variable}` shows the report."
    ),
    "compare.title": "{first} and {second} compared",
    "compare.speed_up": "{second} is {measured} times as fast as {first}.",
    "compare.cost_ratio": "It costs {ratio} times as much.",
    "compare.costs_unknown": "The ratio of the costs is not known.",
    "compare.predicted": "The model n·P predicts a speed-up of {predicted} and a cost ratio of {ratio}.",
    "compare.no_prediction": "The model n·P predicts nothing here: n·P is not known of both logical GPUs.",
    "compare.not_measured": (
        "Speed-up: not measured. Simulated devices compute nothing, so the times above are those of the processor."
    ),
    "compare.start": "A time is that of the whole job, with the start of its kernel.",
    "compare.waits": "Job {first} is {first_state} and job {second} is {second_state}; the report follows their end.",
    "compare.not_done": "Job {job} ended as {state}, so there is nothing to compare.",
}
