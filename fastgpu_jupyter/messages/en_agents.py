"""The English sentences about the agents of an engine's jobs and the kernels that they start; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    # -- the rendezvous ---------------------------------------------------------------------------------------------
    "cluster.address_unknown": (
        "The address {host}, at which the jobs of the cluster are to reach this machine, is not known here ({reason}). "
        "Set FastGPUPool.cluster_address to a name or an address of this machine."
    ),
    "cluster.address_not_ours": (
        "The pool manager cannot listen at {host}, port {port}: {reason}. Set FastGPUPool.cluster_address to an "
        "address of this machine that the nodes of the cluster reach."
    ),
    "cluster.port_taken": (
        "Port {port} of {host} is used by another program ({reason}). End that program, or set "
        "FastGPUPool.cluster_port to another port."
    ),
    # -- agents -----------------------------------------------------------------------------------------------------
    "cluster.no_agent": "The lease has no job in the cluster any more. Request another GPU.",
    "cluster.agent_silent": (
        "The node of this lease does not answer at the moment. The kernel there was left as it is; try again, or look "
        "at the job in the cluster."
    ),
    "cluster.agent_gone": "The job of this lease ended before it answered. Request another GPU.",
    "cluster.agent_busy": "The node of this lease has not carried out earlier commands yet. Try again in a moment.",
    "cluster.agent_unclear": "The node of this lease gave an answer that cannot be read: {reason}.",
    "forbidden.relayed": (
        "A kernel on a node of the cluster can use its own lease only, and cannot do this. Nothing was changed; do it "
        "on the machine of JupyterLab."
    ),
    # -- kernels ----------------------------------------------------------------------------------------------------
    "cluster.start_too_large": (
        "The kernel was not started: its command and environment are larger than what is sent to a node. Remove large "
        "variables from the environment of the kernelspec."
    ),
    "cluster.kernel_runs": "Another kernel runs in this lease. Shut it down first, or restart it.",
    "cluster.no_kernel": "No kernel runs in this lease.",
    "cluster.kernel_failed": ("The kernel did not start on the node. The lease was kept; the node said:\n{output}"),
    "cluster.kernel_silent": (
        "The kernel started on the node but did not say its ports in time, so it was ended. The lease was kept; the "
        "kernel wrote:\n{output}"
    ),
    "cluster.kernel_not_encrypting": (
        "The kernel was not started: the configuration requires encrypted channels, and the node has no ipykernel 7.3 "
        "or newer. Update ipykernel there."
    ),
}
