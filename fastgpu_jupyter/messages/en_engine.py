"""The English sentences about the engine of a cluster and kernels on its hosts; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "cluster.not_configured": (
        "This pool leases the GPUs of its own machine, so that partition, account, QOS, constraint and time limit mean "
        "nothing here. Nothing was requested. Leave them out, or set FastGPUPool.cluster."
    ),
    # -- what a simulated cluster says ---------------------------------------------------------------------------------
    "cluster.fake_silent": "The simulated cluster does not answer, as it was set.",
    "cluster.fake_refused": "The simulated cluster refused it: {reason}.",
    "cluster.fake_impossible": "No host of the simulated cluster has such GPUs, or so many. Nothing was submitted.",
    "cluster.fake_full": "All GPUs of the simulated cluster that could serve it are in use.",
    "cluster.fake_held": "The simulated cluster starts no job, as it was set.",
    "cluster.fake_ended": "The job in the simulated cluster ended: {state}.",
    "cluster.fake_forgotten": "The simulated cluster knows no such job any more.",
    # -- kernels -------------------------------------------------------------------------------------------------------
    "cluster.no_kernel_here": (
        "This lease is on GPUs of this machine, where the Jupyter server starts kernels itself. Nothing was done."
    ),
    # -- kernels on the hosts of a cluster, in the Jupyter server ----------------------------------------------------
    "cluster.not_granted_at_position": (
        "The cluster did not start the job of this kernel within {seconds} s: position {position} in its queue. "
        "{reason} The request was cancelled and the kernel was not started. Request the GPU in JupyterLab, which waits "
        "as long as you want, try again later, or set FastGPUProvisioner.cluster_wait_s."
    ),
    "cluster.not_granted_in_time": (
        "The cluster did not start the job of this kernel within {seconds} s. {reason} The request was cancelled and "
        "the kernel was not started. Request the GPU in JupyterLab, which waits as long as you want, try again later, "
        "or set FastGPUProvisioner.cluster_wait_s."
    ),
    "cluster.lease_needs_restart": (
        "This kernel ran in the job of its lease, which has ended. Nothing was requested. Restart the kernel to "
        "request another GPU; its variables are lost."
    ),
    "cluster.release_ends_kernel": (
        "This kernel runs in the job of its lease on the cluster, and would end with it. Nothing was released. Shut "
        "the kernel down to give the GPU back."
    ),
    "cluster.kernel_is_local": (
        "The GPUs of this pool are on a cluster now, and this kernel runs on this machine. Nothing was requested. "
        "Restart the kernel to run it on the cluster; its variables are lost."
    ),
    "cluster.pool_is_local": (
        "The GPUs of this pool are those of this machine now, and this kernel ran on a cluster. The kernel was not "
        "started. Shut it down, and open the notebook with a new kernel."
    ),
}
