"""Engines: leases on more than one machine.

An engine, such as Slurm, decides where and when a lease is granted; the pool keeps the lease and never a free list of
its own. :mod:`.engine` is the protocol of every engine, :mod:`.service` asks the engine and reports to the core,
:mod:`.board` has what is known of each job at present. Nothing here is imported by a pool that serves local devices.
"""
