"""Scheduling: which waiting request is served next, what is reserved for it, and which leases make room for it.

    enqueue, dequeue, devices_changed, ... ──> what may have become placeable
                                                     │ next_grant
          ┌──────────────── no candidate: all wait ──┤
          │                                          ▼
          │            the first candidate in the order of the queue
          │                                          │ devices reserved for the requests before it are excluded
          │                                          ▼
          │                 placement ──yes──> grant ──no──> not placeable until something changes
          ▼
    preemption: leases to park for the first unserved requests; else defragmentation: a lease to migrate

Terms:

- **Request class**: the waiting requests with equal requirements; what serves one of them serves any of them.
- **Tenant queue**: the waiting requests of one tenant with one priority.
- **Rank**: the position of a request: overdue requests first, then by priority, by the usage of the tenant, by arrival.
- **Overdue**: of a request that has seen many grants to others (:data:`~..model.entities.AGING_GRANTS`).
- **Candidate**: a waiting request that is not known to be unplaceable.
- **Dirty host**: a host that has gained room since it was last examined.
- **Backfill reservation**: devices, processors and host memory reserved for the first request of a class.
- **Claimant**: a waiting request with the rights by which it may preempt leases.

Algorithms:

- The usage of a tenant is its *dominant resource* per weight, accumulated with *exponential decay*; where leases take
  turns, it is the virtual time of *start-time fair queueing* (:mod:`..accounting.fairshare`).
- *Conservative backfill*: a request is served before others that come first only on what none of them has reserved, so
  that it delays none of them (:mod:`.backfill`).
- *Aging*: an overdue request is served before all others, so that every request that fits somewhere is served.
- *Preemption* follows the order of the queue and takes the least disruptive option for each request
  (:mod:`.claims`, :mod:`.preemption_planner`).
- *Parking ahead* makes room for parked leases while nothing waits (:mod:`.parking_ahead`).

The decision is the same for every number of hosts. What depends on it is how often reservations are made again: in a
small pool (:attr:`~..placement.capacity_index.CapacityIndex.small`) after every change and for all first requests; in a
larger one at each tick, which drops them, and one at a time while no caller awaits a grant.

All of the following can be computed from the state at any time, and nothing of it is journalled:

===========================  =============================================  ==========================================
cached                       what it is                                     it is dropped or updated by
===========================  =============================================  ==========================================
``Placer``                   devices and demands as the indexes have them   ``devices_changed``; all: ``_outdated``
``Queue``                    requests by class and by tenant                ``enqueue``, ``dequeue`` (applied later)
``Candidates.everywhere``    classes to try on every host                   a failed placement
``Candidates.dirty_hosts``   hosts with more room, and what may fit there   a failed placement; set by more room
``Candidates._blocked``      classes with requests of tenants at limits     ``unblock``, ``reconsider``
``BackfillReservations``     what is reserved for first requests            a grant to the class, ``reconsider``
``Scheduler._heads``         classes that reservations are still due for    ``reconsider``
``Scheduler._usage_now``     usage of tenants at this instant               every decision
===========================  =============================================  ==========================================

There are two flags: ``Scheduler._outdated``, set when hosts or devices were added or removed, after which everything is
computed again; and ``Scheduler._changed``, set by any change, after which a small pool reconsiders.

An example. Two devices; one is in use, of the other a half. A request for a whole device has to wait, and the half that
is free is reserved for it, so that a later request for a half has to wait as well:

    >>> from fastgpu_jupyter.core.model import commands
    >>> from fastgpu_jupyter.core.model.entities import DeviceSpec, Holder, Instant, LeaseRequest, Mechanism, State
    >>> from fastgpu_jupyter.core.pool import Pool
    >>> def device(name, index):
    ...     return DeviceSpec(name, index, "A100", 80 << 30, True, (Mechanism.SIMULATED,), 0)
    >>> pool, now, holder = Pool(State()), Instant(0, 0), Holder("boot", 1, 1, 1, 1000)
    >>> _ = pool.execute(commands.StartPool("boot", 0), now)
    >>> _ = pool.execute(commands.SetDevices((device("x", 0), device("y", 1))), now)
    >>> for name, size in (("a", "full"), ("b", "half"), ("whole", "full"), ("half", "half")):
    ...     _ = pool.execute(commands.RequestLease(name, name, LeaseRequest(size, None, None, None), holder, ""), now)
    >>> [lease.id for lease in pool.state.leases.values() if lease.logical_gpu is None]
    ['whole', 'half']
"""
