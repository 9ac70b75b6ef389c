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
}
