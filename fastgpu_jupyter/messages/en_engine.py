"""The English sentences about the engine of a cluster and kernels on its hosts; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "cluster.not_configured": (
        "This pool leases the GPUs of its own machine, so that partition, account, QOS, constraint and time limit mean "
        "nothing here. Nothing was requested. Leave them out, or set FastGPUPool.cluster."
    ),
    "cluster.no_kernel_here": (
        "This lease is on GPUs of this machine, where the Jupyter server starts kernels itself. Nothing was done."
    ),
}
