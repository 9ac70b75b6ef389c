"""The environment variables between a provisioner, its kernel, and the processes that the kernel starts.

This module imports nothing, because the kernel imports it at its start.
"""

#: The id of the kernel's lease, and the path of the file with its token.
LEASE, TOKEN_FILE = "FASTGPU_LEASE", "FASTGPU_TOKEN_FILE"
#: The state of the lease when the kernel was started.
LEASE_STATE = "FASTGPU_LEASE_STATE"
#: The id of the kernel.
KERNEL_ID = "FASTGPU_KERNEL_ID"
#: Names of the variables of the grant, which the kernel removes when the lease ends, and JSON of those it sets then.
GRANTED, HIDDEN = "FASTGPU_GRANTED", "FASTGPU_HIDDEN"
#: The version of the Jupyter server.
VERSION = "FASTGPU_VERSION"
#: What a kernel reads at its start and removes: the processes that it starts do not hold the lease.
KERNEL_ONLY = (LEASE, TOKEN_FILE, LEASE_STATE, KERNEL_ID, GRANTED, HIDDEN, VERSION)
#: The leases of the kernels from which a process descends, outermost first. It says whose devices the process uses, and
#: gives no right to the lease.
ANCESTOR_LEASES = "FASTGPU_ANCESTOR_LEASES"
#: What a process that belongs to no lease must not have.
OF_A_LEASE = (*KERNEL_ONLY, ANCESTOR_LEASES)
#: The interpreter that starts a pool manager on demand.
PYTHON = "FASTGPU_PYTHON"
