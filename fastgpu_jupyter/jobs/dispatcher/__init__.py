"""The dispatcher: the one process of a user that stores jobs, orders them, and starts their runners.

- :mod:`.record`, :mod:`.table`: what is stored of a job; all jobs with their order. :mod:`.transitions`, :mod:`.plan`:
  what becomes of a job, and what to do next. These are functions of state and time, without clock or I/O.
- :mod:`.store`: the file. :mod:`.engine`: each change is stored, then shown, then acted upon.
- :mod:`.intake`, :mod:`.submission`: from a body to a job. :mod:`.leases`, :mod:`.pool_link`: leases of queued jobs.
- :mod:`.runners`, :mod:`.kept_workers`, :mod:`.hand_over`: the processes of running jobs.
- :mod:`.cached`, :mod:`.kept_results`, :mod:`.pruning`: the index of results, and what is removed.
- :mod:`.calls`, :mod:`.arguments`, :mod:`.server`: the socket. :mod:`.publisher`, :mod:`.live`, :mod:`.views`: what
  clients see.
- :mod:`.app`, :mod:`.single_instance`: the process.
"""
