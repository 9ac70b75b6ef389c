"""The parts of FastGPU in the Jupyter server, and in nbconvert, papermill and the like: provisioner and extension.

The provisioner requests the lease of a kernel from the pool and starts the kernel as a child of this process. The
extension gives the browser a REST interface and an event stream behind Jupyter's own authentication and authorization.
"""
