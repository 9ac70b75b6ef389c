"""The dispatcher: the one process of a user that stores jobs, orders them, and starts their runners.

- :mod:`.record`, :mod:`.table`: what is stored of a job; all jobs with their order. :mod:`.transitions`, :mod:`.plan`:
  what becomes of a job, and what to do next. These are functions of state and time, without clock or I/O.
- :mod:`.store`: the file. :mod:`.engine`: each change is stored, then shown, then acted upon.
- :mod:`.submission`: from a body to a job. :mod:`.calls`, :mod:`.server`: the socket. :mod:`.publisher`: followers.
- :mod:`.app`, :mod:`.single_instance`: the process.
"""
