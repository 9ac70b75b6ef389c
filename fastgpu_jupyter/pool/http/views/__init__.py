"""Functions from the state to the JSON objects of :mod:`fastgpu_jupyter.wire.schemas`, without I/O.

A tenant sees the names of its own leases only. Of other tenants' leases it sees what they hold, because it needs that
to understand its own wait.
"""
