"""The English sentences about leases that an engine such as Slurm serves; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- requests that are refused -----------------------------------------------------------------------------------
    "cluster.not_a_word": (
        "The {field} has spaces or other characters that no cluster accepts, or more than 256 characters. Nothing was "
        "submitted."
    ),
    "cluster.time_out_of_range": "The time is not between a moment and {longest_ms}. Nothing was submitted.",
    "cluster.budget_spent": (
        "The budget of this month is spent, so no GPU of the cluster is requested. Ask an administrator for more, or "
        "wait for the next month."
    ),
    # -- what leases on a cluster cannot do --------------------------------------------------------------------------
    "cluster.cannot_park": "A lease on the cluster cannot be parked: its GPU stays with its job until the job ends.",
    "cluster.cannot_resize": (
        "A lease on the cluster keeps its size. Nothing was changed; to have another size, choose it and start a new "
        "kernel."
    ),
    "cluster.cannot_migrate": (
        "A lease on the cluster stays on its GPU. Nothing was changed; to have another GPU, choose one and start a new "
        "kernel."
    ),
    # -- what became of a job ----------------------------------------------------------------------------------------
    "cluster.second_job": (
        "The cluster accepted job {job} for a lease that has job {known} already. The lease keeps job {known}; cancel "
        "job {job}."
    ),
    "cluster.no_devices": "The job started on {host} without a GPU, so it was cancelled. Ask your administrator.",
    "cluster.end_orphaned": "No Jupyter server had held it for {keep_ms}.",
    "end.cluster_refused": "The cluster does not serve this request.",
    "end.allocation_lost": "The cluster ended its job.",
    "mechanism.cluster": "The cluster allocated the GPU, and opens no other GPU to the job.",
    "mechanism.cluster_unenforced": "The cluster allocated the GPU, and enforces no limit on what the job uses.",
}
