"""What holds a lease for a process that computes, and supervises that process.

``jupyter fastgpu run`` and the runner of a job share it: :mod:`.held_lease` follows the lease, :mod:`.guard` starts the
work process and ends all of its processes, also when the process that holds the lease is killed.
"""
