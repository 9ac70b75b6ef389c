"""Jobs: a command, a function, a cell or a notebook on a logical GPU of its own.

    client ──submit──> dispatcher ──starts──> runner ──starts──> work process
    kernel, CLI,       one a user,            one a running      the command, or jobs/work/
    server, executor   stores and orders      job, holds the
                       jobs, requests leases  lease

Every process is detached from the one that started it, and may be killed at any instant. What is true is on the disk:

- A job is *accepted* when its record is in the store; from then on it is listed until it is pruned.
- A job *runs* while the lock ``runner.lock`` of its folder is held: by its runner, and by what the runner leaves behind
  until all processes of the job have ended. A dispatcher that does not get the lock starts no runner, so that no job
  runs twice at once.
- A job *has ended* when ``outcome.json`` of its attempt is in its folder; a runner that is gone without it lost the
  attempt. The attempt had begun if ``work.json`` names it; otherwise nothing was done, and the job is queued again.

The order of a user's jobs is priority, then id. The first ones have a request in the pool's queue, and the pool decides
among these and all other requests. A lease that waits is held by the dispatcher, so it ends with the dispatcher and is
requested again by the next one; a granted one is held by the runner, which binds itself.

Jobs yield: by default their priority is low, and their leases may be parked for others. A runner whose lease was parked
requests it back at once; the job is running all the while.

States and transitions are in :mod:`.model`, places in :mod:`.places`, the protocol of the socket in :mod:`.frames`, and
the settings in :mod:`.settings`. :mod:`.client` is what everything else uses. Import a module when it is needed: a
kernel, a server or a command that has no job must not load these.
"""
