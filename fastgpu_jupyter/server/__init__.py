"""What runs in the Jupyter server (and in nbconvert, papermill and the like): the provisioner and the extension.

The provisioner asks the pool for the lease of a kernel and starts the kernel as a child of this process. The extension
gives the browser a REST and event interface behind Jupyter's own authentication and authorization.
"""
