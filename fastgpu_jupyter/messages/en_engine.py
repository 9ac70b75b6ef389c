"""The English sentences about the engine of a cluster and kernels on its hosts; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "cluster.not_configured": (
        "This pool leases the GPUs of its own machine, so that partition, account, QOS, constraint and time limit mean "
        "nothing here. Nothing was requested. Leave them out, or set FastGPUPool.cluster."
    ),
    "cluster.no_option": "{name} is no option of a cluster. Nothing was requested. The options are {choices}.",
    "cluster.unknown_engine": "FastGPUPool.cluster is {name}, which is no known cluster. Known: {engines}.",
    "cluster.system_pool": (
        "FastGPUPool.cluster works in a user's own pool only, because a job in the cluster belongs to the user that "
        "submits it. Start the pool without --system, or leave FastGPUPool.cluster out."
    ),
    "cluster.leases_left": (
        "Leases of a cluster are not over, and FastGPUPool.cluster is not set, so that their jobs would run on unseen. "
        "Set it as before, release them with `jupyter fastgpu release`, and start without it then."
    ),
    "cluster.no_address": (
        "No address of this machine leads to {host} ({reason}), so that nothing is submitted. Set "
        "FastGPUPool.cluster_address to an address that the hosts of the cluster reach."
    ),
    "cluster.engine_hangs": "The cluster has not answered for {seconds} seconds.",
    "cluster_engine.slurm": "Slurm",
    "cluster_engine.fake": "The simulated cluster",
    # -- the state of a request and of a lease -------------------------------------------------------------------------
    "cluster.submitting": "It is being submitted. {engine} has not confirmed it yet.",
    "cluster.not_asked": "It was submitted, and {engine} has not said yet why it waits.",
    "cluster.starting": "{engine} has started its job on {host}, which has not reported yet.",
    "cluster.engine_decides": "{engine} decides when it starts.",
    "cluster.estimate": "as {engine} expects",
    "cluster.no_estimate": "{engine} does not say it",
    "cluster.engine_silent": (
        "{engine} has not answered for {silent_ms}. Nothing changes until it does: running kernels go on, and requests "
        "keep their places."
    ),
    "cluster.host_silent": (
        "Host {host} has not reported for some seconds. Its kernel may go on; {engine} says whether its job runs."
    ),
    "cluster.suspended": (
        "{engine} has suspended its job: the kernel keeps its variables and its GPU, and does nothing until the job is "
        "resumed. Ask your administrator when that is."
    ),
    "cluster.requeued": (
        "The cluster took the GPU back and put the job into its queue again, so the job was cancelled. Its variables "
        "are lost; files stay."
    ),
    "cluster.not_reached": (
        "Its job runs on {host}, which has not reported. That host must be able to connect to {address} (TCP): perhaps "
        "a firewall prevents it. Ask your administrator, or set FastGPUPool.cluster_address and cluster_port."
    ),
    "cluster.never_reached": (
        "Its job ran on {host}, which could not connect to {address} (TCP) within five minutes, so it was cancelled. "
        "Ask your administrator about a firewall, or set FastGPUPool.cluster_address and cluster_port."
    ),
    "cluster.ends_soon": "{engine} ends it in {left_ms}, by its time limit. Save what you need.",
    # -- kernels -------------------------------------------------------------------------------------------------------
    "cluster.not_active": "The lease is not active on a host of the cluster. Nothing was done; wait until it is.",
    "cluster.files_too_large": (
        "The files for the kernel have more than {characters_max} characters. No kernel was started."
    ),
    # -- the doctor ----------------------------------------------------------------------------------------------------
    "doctor.cluster": "cluster",
    "doctor.cluster_not_used": "Slurm's commands are here, and your pool leases the GPUs of this machine only.",
    "doctor.cluster_use": 'To lease those of the cluster, set c.FastGPUPool.cluster = "slurm" in the configuration.',
    "doctor.cluster_silent": (
        "Your pool leases GPUs of {engine}, and nothing can be submitted now. {reason} Running kernels go on."
    ),
    "doctor.cluster_unknown": "Your pool leases GPUs of {engine}, which has not said yet what it offers.",
    "doctor.cluster_empty": "Your pool leases GPUs of {engine}, which offers you none: ask your administrator.",
    "doctor.cluster_answers": "Your pool leases GPUs of {engine}: {models}, in the partitions {partitions}.",
    # -- what a simulated cluster says ---------------------------------------------------------------------------------
    "cluster.fake_silent": "The simulated cluster does not answer, as it was set.",
    "cluster.fake_refused": "The simulated cluster refused it: {reason}.",
    "cluster.fake_impossible": "No host of the simulated cluster has such GPUs, or so many. Nothing was submitted.",
    "cluster.fake_full": "All GPUs of the simulated cluster that could serve it are in use.",
    "cluster.fake_held": "The simulated cluster starts no job, as it was set.",
    "cluster.fake_ended": "The job in the simulated cluster ended: {state}.",
    "cluster.fake_forgotten": "The simulated cluster knows no such job any more.",
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
    "cluster.kernel_not_started": (
        "The kernel did not start on the host of its lease, which was released. It wrote: {output}"
    ),
    "cluster.lease_needs_restart": (
        "This kernel ran in the job of its lease, which has ended. Nothing was requested. Restart the kernel to "
        "request another GPU; its variables are lost."
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
