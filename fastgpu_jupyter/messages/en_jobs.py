"""The English sentences about jobs; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- why a job waits ---------------------------------------------------------------------------------------------
    "jobs.waits_for_jobs": {
        "plural": "count",
        "one": "It starts after job {numbers} is done.",
        "other": "It starts after jobs {numbers} are done.",
    },
    "jobs.waits_for_result": "Job {number} computes the same result; this job takes it, or computes it afterwards.",
    "jobs.jobs_before": {
        "plural": "jobs_before",
        "one": "One of your jobs is before it.",
        "other": "{jobs_before} of your jobs are before it.",
    },
    "jobs.earlier_attempt_ends": "Processes of its last attempt are still ending; it starts as soon as they have.",
    "jobs.not_started_yet": "It could not be started: {reason}. It is kept and tried again; free some disk or memory.",
    "jobs.lease_ended": "Its GPU lease ended before the job began. {reason} Another one is requested.",
    # -- what became of a job ----------------------------------------------------------------------------------------
    "jobs.lost": (
        "Its runner was killed while the job ran. What it had printed is kept; there is no result. Run it again, or "
        "submit it with retries."
    ),
    "jobs.lost_retry": "Attempt {attempt} was lost, because its runner was killed; the job was queued again.",
    "jobs.lost_reboot": (
        "The computer was restarted while the job ran. What it had printed is kept; there is no result. Run it again, "
        "or submit it with retries."
    ),
    "jobs.lost_reboot_retry": (
        "Attempt {attempt} was lost, because the computer was restarted; the job was queued again."
    ),
    "jobs.runner_ends": (
        "The process that was to run the job ended {starts} times before the job began. Nothing was run. Its log says "
        "why; run the job again afterwards."
    ),
    "jobs.not_watched": "Its result is kept, but not cached, because it is not known what it opened.",
    "jobs.result_removed": "Its result was removed to make room, or pruned. Run it again to have it.",
    "jobs.computed_again": "It is computed again, as was asked for; what is in the cache is replaced.",
    "jobs.waited_too_long": (
        "No GPU was granted within the time that the job may wait, so that it was not started. Run it again, perhaps "
        "with a smaller size or a longer wait."
    ),
    "jobs.request_released": "Its request for a GPU was cancelled, and the job with it. Run it again if you want it.",
    "jobs.predecessor_failed": (
        "Job {number}, which it was to follow, failed, so that it was not started. Run it again once that job is done."
    ),
    "jobs.predecessor_cancelled": (
        "Job {number}, which it was to follow, was cancelled, so that it was not started. Run it again if you still "
        "want it."
    ),
    "jobs.predecessor_lost": (
        "Job {number}, which it was to follow, was lost, so that it was not started. Run it again once that job is "
        "done."
    ),
    "state.queued": "queued",
    "state.running": "running",
    "state.done": "done",
    "state.failed": "failed",
    "state.cancelled": "cancelled",
    "state.lost": "lost",
    # -- what a job has left -----------------------------------------------------------------------------------------
    "jobs.not_followed": "The jobs cannot be followed: {reason}.",
    "jobs.no_result": "Job {number} has no result.",
    "jobs.no_file": "The result of job {number} has no file {path}.",
    "jobs.no_image": "That output of job {number} has no image.",
    "jobs.image_unreadable": "The image of job {number} cannot be read: {reason}. Run the job again.",
    # -- refusals ----------------------------------------------------------------------------------------------------
    "jobs.no_job": "There is no job {number}; `jupyter fastgpu job list` lists them. Nothing was changed.",
    "jobs.no_outcome": "Job {number} has no outcome: it has not ended, or was lost.",
    "jobs.body_invalid": "The job was not accepted: {reason}.",
    "jobs.follows_not_done": "Job {number} is {state}, so no job can follow it. Nothing was submitted.",
    "jobs.too_many_queued": (
        "{queued_max} jobs are queued already, and no more are accepted. Nothing was submitted; wait for some, or "
        "cancel some."
    ),
    "jobs.draft_lacks": "The files of the job lack {file}. Nothing was submitted; submit the job again.",
    "jobs.draft_too_large": (
        "The files of the job have {given_bytes}, and at most {limit_bytes} in 1000 files are accepted. Nothing was "
        "submitted; let the job read large data from the disk, or raise c.Jobs.payload_bytes_max."
    ),
    "jobs.not_kept": (
        "The job could not be written to the disk: {reason}. It was not submitted. Free some space and submit it again."
    ),
    "jobs.payload_gone": "The files of job {number} cannot be read: {reason}. Nothing was submitted; submit it as new.",
    "jobs.no_call": "The dispatcher of jobs has no call {name}; it may be of an older version.",
    "jobs.wrong_arguments": "The call {call} was refused: {reason}.",
    "jobs.frame_too_long": (
        "The job has {given_bytes} of text, and at most {limit_bytes} are accepted. Nothing was submitted; put large "
        "data into a file or an input."
    ),
    "jobs.too_many_followers": "{followers_max} programs follow the jobs already. Close some, and try again.",
    "jobs.too_many_connections": "{connections_max} programs are connected to the dispatcher of jobs already.",
    "jobs.bug": "The dispatcher of jobs met a bug of its own; see its log. The jobs are kept.",
    # -- the dispatcher ----------------------------------------------------------------------------------------------
    "jobs.no_dispatcher": "No dispatcher of jobs answers at {path} ({reason}).",
    "jobs.dispatcher_silent": (
        "The dispatcher of jobs has not answered for {seconds} seconds: it is stopped, or the machine is overloaded. "
        "Running jobs continue, and what you asked for may have been done."
    ),
    "jobs.dispatcher_ended": "The dispatcher of jobs ended before it answered. Jobs are kept; try again.",
    "jobs.dispatcher_elsewhere": (
        "Jobs cannot be submitted or looked at from a host of the cluster. Use the section Jobs of the FastGPU panel, "
        "or `jupyter fastgpu job` in a terminal of JupyterLab."
    ),
    "jobs.dispatcher_not_started": "The dispatcher of jobs could not be started: {reason} Its log is {log}.",
    "jobs.socket_of_another_user": (
        "The socket {path} belongs to a process of another user ({uid}); nothing was sent to it. Ask your "
        "administrator."
    ),
    "jobs.other_version": (
        "The dispatcher of jobs is of FastGPU {version}, which this version does not understand. Nothing was changed. "
        "Use that version, or wait until its jobs have ended."
    ),
    "jobs.folder_of_another": "The folder {path} is a link or belongs to another user; FastGPU does not use it.",
    "jobs.folder_unusable": "{path} cannot be used: {reason}. Jobs are kept as they are; free or repair the disk.",
    "jobs.store_fault": (
        "The store of jobs {path} cannot be used: {reason}. What it holds is kept, and running jobs continue. Free or "
        "repair the disk, and try again."
    ),
    "jobs.store_newer": (
        "The store of jobs {path} was written by a newer version of FastGPU (format {theirs}; this version knows "
        "{ours}). Nothing was changed. Upgrade fastgpu-jupyter to use it."
    ),
    "jobs.store_foreign": "{path} is not a store of jobs of FastGPU. It was left as it is; move it to another folder.",
    "jobs.store_lacks_body": "The store of jobs {path} does not have what was submitted as job {number}.",
    "jobs.settings_unreadable": "The settings of jobs in {place} cannot be read: {reason}. Correct them; try again.",
    "jobs.setting_unknown": "There is no setting {setting}; the reference of settings lists all.",
    # -- what a runner says ------------------------------------------------------------------------------------------
    "jobs.exit_status": "The command ended with exit status {status}. What it printed is kept.",
    "jobs.killed": (
        "It was killed by SIGKILL, as the system does where memory runs out. What it printed is kept; see the memory "
        "of the machine, or ask its administrator."
    ),
    "jobs.ended_by_signal": "It was ended by the signal {signal}. What it printed is kept.",
    "jobs.work_ended": (
        "Its process ended with exit status {status} before it said what came of the work. What it printed is kept; "
        "the log may say why."
    ),
    "jobs.timeout": (
        "It ran for {timeout_ms}, which is its time limit, and was ended. What it printed is kept; run it again with a "
        "longer limit."
    ),
    "jobs.ended_with_lease": (
        "Its lease ended while it ran, and the job with it: {reason} What it printed and the files that it wrote are "
        "kept; run it again when a GPU is free."
    ),
    "jobs.folder_full": (
        "It was not started, because its folder cannot be written: {reason}. Free some space and run it again."
    ),
    "jobs.not_on_host": (
        "It did not begin, because the folder {folder} does not exist on {host}. Jobs on a cluster need a home folder "
        "that its hosts share, and a working folder that exists there."
    ),
    "jobs.no_launcher": (
        "It did not begin, because the pool manager does not say how to run a program on {host}. Restart the pool "
        "manager with the version that is installed now: jupyter fastgpu pool restart"
    ),
    "jobs.no_folder": (
        "It was not started, because its working folder {folder} does not exist. Run it from another one."
    ),
    "jobs.not_found": (
        "It was not started, because the command {command} was not found. Check its name and the PATH of the job."
    ),
    "jobs.not_executable": "It was not started, because {command} may not be executed. `chmod +x` allows it.",
    "jobs.not_started": "It was not started, because {command} could not be executed: {reason}.",
    "jobs.parked_for_good": (
        "Its GPU is parked until you run `jupyter fastgpu resume {lease}`; the memory of the job is kept."
    ),
    "jobs.log_shortened": "... {left_out_bytes} of output were left out here ...",
    "jobs.log_incomplete": "Its log is not complete: {reason}.",
    "jobs.result_not_kept": (
        "The job ran to its end, and its result could not be kept: {reason} What it printed and the files that it "
        "wrote are kept."
    ),
    "jobs.result_too_large": (
        "The result has {given_bytes}, and at most {limit_bytes} are kept for a job. Save less, or raise "
        "c.Jobs.result_bytes_max."
    ),
    "jobs.save_outside": "{pattern} names files outside of the working folder, and only files inside are kept.",
    "jobs.save_too_many": "{pattern} names more than {files_max} files. Put them into an archive, and keep that.",
    "jobs.save_unreadable": "{path} cannot be read: {reason}.",
    # -- cells and notebooks -----------------------------------------------------------------------------------------
    "jobs.inputs_damaged": (
        "The inputs of the cell have changed since it was submitted. It was not run; submit it again."
    ),
    "jobs.inputs_unreadable": (
        "The inputs of the cell cannot be restored in its kernel: {reason}. It was not run; check that its interpreter "
        "has the same packages."
    ),
    "jobs.output_not_kept": (
        "The output {name} cannot be kept: {reason} The cell ran, and its outputs and log are kept."
    ),
    "jobs.outputs_undefined": (
        "The cell ran, and did not define {names}, which --out names. Its outputs and its log are kept; correct the "
        "name or the cell."
    ),
    "jobs.output_cut": "... what it printed beyond {limit_bytes} is in the log only ...",
    "jobs.no_kernel": (
        "There is no kernel {kernel} here, so that nothing was run. `jupyter kernelspec list` lists them."
    ),
    "jobs.no_interpreter": "Its kernel could not be started, because there is no {interpreter}. Nothing was run.",
    "jobs.no_ipykernel": (
        "Its kernel could not be started, because {interpreter} has no ipykernel. Nothing was run; "
        "`{interpreter} -m pip install ipykernel` installs it."
    ),
    "jobs.no_package": (
        "Inputs and outputs need fastgpu-jupyter in the interpreter of the job, {interpreter}. Nothing was run; "
        "`{interpreter} -m pip install fastgpu-jupyter` installs it."
    ),
    "jobs.kernel_not_started": "Its kernel could not be started: {reason}. Nothing was run; its log may say why.",
    "jobs.kernel_died": (
        "Its kernel died while cell {number} ran, as when memory runs out. What it printed before is kept."
    ),
    "jobs.notebook_unreadable": "The notebook cannot be read: {reason}. Nothing was run.",
    "jobs.parameters_language": (
        "Parameters can be given to notebooks in Python only, and this one is in {language}. Nothing was run."
    ),
    "jobs.parameter_name": "The parameter {name} is no name of a variable. Nothing was run.",
    "jobs.parameter_value": (
        "The parameter {name} has a value of type {type}, which JSON does not have. Nothing was run."
    ),
}
