"""The English sentences about Slurm: why a job waits, ended or is refused; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- a pool in a job of Slurm ------------------------------------------------------------------------------------
    "pool.in_slurm_job": (
        "This pool leases the GPUs of Slurm job {job}, and ends with it. Its history is that of this job only."
    ),
    "config.shards": "give each model a whole number of shards from 1 to {most}.",
    # -- Slurm does not answer ---------------------------------------------------------------------------------------
    "slurm.no_command": (
        "The command {command} of Slurm could not be run ({reason}). The pool manager needs sbatch, squeue, scancel, "
        "sinfo and scontrol on its PATH; install Slurm's client commands, or start the pool manager where they are."
    ),
    "slurm.silent": "{command} did not answer within {timeout_ms} and was ended. Requests and leases stay as they are.",
    "slurm.too_much": "{command} printed more than can be read. Requests and leases stay as they are.",
    "slurm.killed": "{command} was ended by signal {signum}. Requests and leases stay as they are.",
    "slurm.no_job_id": (
        "sbatch accepted a job and did not say its number ({text}). The job is looked for by its name; nothing is "
        "submitted again meanwhile."
    ),
    "slurm.unreached": "Slurm does not answer ({text}). Requests and leases stay as they are.",
    "slurm.not_cancelled": "Slurm did not cancel job {job} ({text}). It is tried again.",
    # -- why a job waits ---------------------------------------------------------------------------------------------
    "slurm.not_considered": "Slurm has the job and has not considered it yet.",
    "slurm.resources": "All GPUs that could serve it are in use; it is next when some become free.",
    "slurm.priority": "Jobs with a higher priority are before it.",
    "slurm.held_by_user": "You put the job on hold. `scontrol release {job}` lets it start.",
    "slurm.held_by_admin": "An administrator put job {job} on hold. Ask them, or cancel the request.",
    "slurm.begin_time": "The job may not start before a later time.",
    "slurm.dependency": "The job waits for another job that it depends on.",
    "slurm.licenses": "The job waits for licenses that other jobs use.",
    "slurm.reservation": "The job waits for its reservation to begin.",
    "slurm.nodes_unavailable": "The nodes that could serve it are down, drained or reserved (Slurm: {text}).",
    "slurm.partition_closed": "Partition {partition} starts no jobs at present. Wait, or choose another partition.",
    "slurm.starting": "The nodes prepare for the job.",
    "slurm.configuring": "The job has its nodes, and they are being started.",
    "slurm.launch_failed": (
        "Slurm could not start job {job} and put it on hold. Cancel the request and try again; if it happens again, "
        "ask an administrator."
    ),
    "slurm.limit_reached": (
        "Your other jobs, or those of your account, use up a limit (Slurm: {text}). It starts when they end."
    ),
    "slurm.other_reason": "Slurm says why: {text}.",
    # -- what never starts -------------------------------------------------------------------------------------------
    "slurm.over_partition": (
        "Partition {partition} allows no such job, so it would never start (Slurm: {text}). Ask for less time or fewer "
        "GPUs, or choose another partition."
    ),
    "slurm.bad_constraints": (
        "No node of the cluster can ever serve this request (Slurm: {text}). Ask for something else."
    ),
    "slurm.limit_exceeded": (
        "The request is over a limit of your account or QOS, so it would never start (Slurm: {text}). Ask for less."
    ),
    "slurm.account_not_allowed": (
        "Your account may not use partition {partition}, so the job would never start (Slurm: {text}). Name another "
        "account or partition."
    ),
    "slurm.qos_not_allowed": (
        "Your QOS may not use partition {partition}, so the job would never start (Slurm: {text}). Name another QOS or "
        "partition."
    ),
    # -- what is refused at once -------------------------------------------------------------------------------------
    "slurm.no_partition": "There is no partition {partition}. Nothing was submitted. `sinfo` lists the partitions.",
    "slurm.partition_refused": (
        "You may not use partition {partition} (Slurm: {text}). Nothing was submitted. Choose another one."
    ),
    "slurm.partition_inactive": "The partition accepts no jobs at present (Slurm: {text}). Nothing was submitted.",
    "slurm.account_refused": (
        "Slurm does not accept account {account} (Slurm: {text}). Nothing was submitted. Name another account."
    ),
    "slurm.qos_refused": "Slurm does not accept QOS {qos} (Slurm: {text}). Nothing was submitted. Name another QOS.",
    "slurm.no_constraint": (
        "No node has the feature {constraint}. Nothing was submitted. `sinfo -o %f` lists the features."
    ),
    "slurm.no_nodes": (
        "No node of the cluster has what was requested ({gres}, with its processors and memory), however long it "
        "waited (Slurm: {text}). Nothing was submitted."
    ),
    "slurm.time_refused": "Slurm does not accept the time limit (Slurm: {text}). Nothing was submitted.",
    "slurm.over_time_limit": (
        "Partition {partition} allows at most {most_ms}, and {asked_ms} was requested. Nothing was submitted. Ask for "
        "less time, or choose another partition."
    ),
    "slurm.policy": (
        "The request is over a limit of your account or QOS (Slurm: {text}). Nothing was submitted. Ask for less, or "
        "wait until other jobs end."
    ),
    "slurm.not_stored": (
        "Slurm could not store the job (Slurm: {text}). Nothing was submitted. The disk of the controller is full or a "
        "quota is exceeded; tell an administrator and try again later."
    ),
    "slurm.refused": "Slurm refused the request: {text}. Nothing was submitted.",
    "slurm.no_model": "The cluster has no GPU of model {model}. It has {names}. Nothing was submitted.",
    "slurm.too_many": (
        "A node has at most {most} GPUs of model {model}, and {gpus} were requested. Nothing was submitted."
    ),
    "slurm.too_little_memory": "No GPU of the cluster has {least_bytes} of memory. Nothing was submitted.",
    "slurm.no_shards": (
        "This cluster leases whole GPUs only: it has no shards, which are Slurm's parts of a GPU. Nothing was "
        "submitted. Ask for a whole GPU."
    ),
    "slurm.model_not_divided": (
        "GPUs of model {model} have no shards here, which are Slurm's parts of a GPU; those of {names} have. Nothing "
        "was submitted. Ask for a whole GPU, or for another model."
    ),
    "slurm.no_such_fraction": (
        "GPUs of model {model} are divided into {shards} shards here, which gives no {fraction}. Nothing was "
        "submitted. Ask for a multiple of 1/{shards}."
    ),
    "slurm.no_partitions": "This cluster offers no MIG partitions. Nothing was submitted. Ask for a whole GPU.",
    "slurm.no_partition_profile": "The cluster has no MIG partitions {profile}. It has {names}. Nothing was submitted.",
    # -- how a job ended ---------------------------------------------------------------------------------------------
    "slurm.cancelled": "The job was cancelled in Slurm.",
    "slurm.completed": "The job ended by itself.",
    "slurm.timeout": "The time limit of the job is over. Its variables are lost; files stay.",
    "slurm.node_failed": "Node {host} failed, and the job with it. Its variables are lost; files stay.",
    "slurm.not_launched": (
        "Slurm ended the job as it started on {host}. If you did not cancel it, the node could not start it, for "
        "example because its disk is full; try again, or ask an administrator."
    ),
    "slurm.preempted": "Slurm gave the GPU to a job with a higher priority. Its variables are lost; files stay.",
    "slurm.out_of_memory": "The job used more memory of the host than it had requested, and Slurm ended it.",
    "slurm.failed": "The job on {host} failed with exit status {status}.",
    "slurm.script_changed": (
        "The job on {host} did not start its kernel, because its script is not the one that was submitted. A filter of "
        "this site changed it; ask an administrator."
    ),
    "slurm.no_pyzmq": (
        "{python} has no pyzmq on {host}, so that no kernel was started. Install it there, or name another Python in "
        "FastGPUPool.cluster_python."
    ),
    "slurm.no_interpreter": (
        "{python} cannot be run on {host}, so that no kernel was started. Name a Python with pyzmq that is on all "
        "nodes in FastGPUPool.cluster_python."
    ),
    "slurm.ended": "The job is over; its state in Slurm is {state}.",
    "slurm.forgotten": "Slurm knows no such job any more, so that why it ended is unknown.",
}
