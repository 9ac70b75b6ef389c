"""What crosses a process boundary: the views, the client everybody uses, and how to find or start a pool.

Nothing here imports a third-party package, because kernels import it and must start as fast as without it.
"""
