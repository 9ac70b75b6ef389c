"""Mutations of placement and of the queue: order, limits, reservations, and devices that may be granted."""

from __future__ import annotations

from fastgpu_jupyter.core.accounting import fairshare, reservations
from fastgpu_jupyter.core.lease import memory_limit, parking, preparation, resize
from fastgpu_jupyter.core.model.entities import Device
from fastgpu_jupyter.core.placement import idleness, mechanisms
from fastgpu_jupyter.core.placement.placer import Placer
from fastgpu_jupyter.core.scheduling import claims, rank
from fastgpu_jupyter.core.scheduling.claims import Claimant
from fastgpu_jupyter.core.scheduling.queue import Queue
from fastgpu_jupyter.core.scheduling.scheduler import Scheduler
from tests.core.accounting import test_reservations
from tests.core.lease import test_memory_limit, test_preparation, test_resize_active
from tests.core.placement import test_mechanisms, test_placer
from tests.core.scheduling import test_jobs, test_preemption, test_scheduler
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation

MUTATIONS = (
    Mutation(
        "the tenant that has used more is served first",
        Guarantee.QUEUE_ORDER,
        (Edit(fairshare._per_weight, "return _1 / account.weight + _2, _3", "return -_1 / account.weight + _2, _3"),),
        Fails(test_scheduler.test_tenant_with_less_usage_is_served_first, "ann-again.*bob-first"),
    ),
    Mutation(
        "a limit is compared with what is held without the request",
        Guarantee.QUEUE_ORDER,
        (Edit(fairshare.within_limits, "_1 + more_milli <= _2", "_1 <= _2"),),
        Fails(test_scheduler.test_tenant_at_its_limit_waits_for_quota, "preparing"),
    ),
    Mutation(
        "a drained device is granted",
        Guarantee.QUEUE_ORDER,
        (Edit(Device.grantable, "_1 and _2 and not self.drained", "_1 and _2"),),
        Fails(test_scheduler.test_drained_device_keeps_its_leases_and_gets_no_new_ones, "PREPARING"),
    ),
    Mutation(
        "reserved capacity is granted to another tenant",
        Guarantee.QUEUE_ORDER,
        (Edit(Scheduler.next_grant, "guard.leaves_room(...)", "True"),),
        Fails(test_reservations.test_what_is_not_used_is_not_given_to_who_would_keep_it, "PREPARING"),
    ),
    Mutation(
        "a lease that could not be prepared loses its position",
        Guarantee.QUEUE_ORDER,
        (
            Edit(
                preparation.apply_prepare_failed,
                "request.requeue_at_original_position(...)",
                "state.arrivals += 1\nlease.arrival = state.arrivals\nstate.queue[lease.id] = None",
            ),
        ),
        Fails(test_preparation.test_it_waits_where_it_stood_and_is_granted_what_there_is_by_then),
    ),
    Mutation(
        "capacity is freed on one device and reserved on another",
        Guarantee.QUEUE_ORDER,
        (Edit(Placer.nearest_fit, "found if _1 else part", "part"),),
        Fails(
            test_placer.test_room_freed_for_the_first_request_is_reserved_though_another_device_would_do,
            "resuming",
        ),
    ),
    Mutation(
        "reserved capacity is borrowed by a lease that cannot be parked",
        Guarantee.QUEUE_ORDER,
        (Edit(reservations._could_park, "_1.parkable and _2", "_1.parkable"),),
        Fails(
            test_mechanisms.test_reserved_capacity_is_not_borrowed_by_an_mps_lease_that_cannot_be_parked,
            "PREPARING",
        ),
    ),
    Mutation(
        "isolation is promised that no mechanism enforces",
        Guarantee.ENFORCEMENT,
        (Edit(mechanisms._meets, "_1.size.whole or _2", "True"),),
        Fails(test_mechanisms.test_choose_several_mechanisms_takes_the_first_that_meets_all_requirements),
    ),
    Mutation(
        "a lease over its memory limit is not reported",
        Guarantee.ENFORCEMENT,
        (Edit(memory_limit.report_memory, "[e.LeaseOverLimit(...)]", "[]"),),
        Fails(test_memory_limit.test_lease_over_its_limit_is_reported_once_with_the_next_step, "LeaseOverLimit"),
    ),
    Mutation(
        "the priority of a request does not count",
        Guarantee.QUEUE_ORDER,
        (Edit(Queue._best_of_few, "rank = _1, _2, _3", "rank = 0, _2, _3"),),
        Fails(test_scheduler.test_higher_priority_is_served_first),
    ),
    Mutation(
        "an overdue request is not served before others",
        Guarantee.QUEUE_ORDER,
        (Edit(rank.is_overdue, "return _1", "return False"),),
        Fails(test_scheduler.test_overdue_request_is_served_first),
    ),
    Mutation(
        "later requests delay the first one of the queue",
        Guarantee.QUEUE_ORDER,
        (Edit(Scheduler._reserve_for_head, "if placement is not None: ...", "pass"),),
        Fails(test_scheduler.test_small_requests_do_not_starve_a_whole_device_request),
    ),
    Mutation(
        "a request preempts a lease of the same priority",
        Guarantee.QUEUE_ORDER,
        (
            Edit(Claimant.right_to, "priority > lease.request.priority", "priority >= lease.request.priority"),
            Edit(claims.preemptible_by_device, "_1 < highest", "_1 <= highest"),
            Edit(
                claims.key_to_preempt,
                "lease.request.priority < rights.priority",
                "lease.request.priority <= rights.priority",
            ),
        ),
        Fails(test_preemption.test_equal_priority_preempts_no_busy_lease),
    ),
    Mutation(
        "a job takes the device of its user's notebook between two cells",
        Guarantee.QUEUE_ORDER,
        (
            Edit(idleness.takes_resting, "_1 and lease.request.job is None", "_1"),
            Edit(Claimant.__init__, "self._takes_resting = _1", "self._takes_resting = True"),
        ),
        Fails(test_jobs.test_idle_notebook_gives_its_gpu_to_a_job_after_the_idle_time_and_not_between_two_cells),
    ),
    Mutation(
        "a computing job is parked for a kernel that only starts",
        Guarantee.QUEUE_ORDER,
        (
            Edit(Claimant.right_to, "_1 and self.rights.needs_now", "_1"),
            Edit(claims.key_to_preempt, "_1 and rights.needs_now", "_1"),
        ),
        Fails(test_jobs.test_computing_job_is_not_parked_for_a_kernel_without_a_cell_until_one_begins, "parking"),
    ),
    Mutation(
        "a job that was parked for a cell goes to the end of the queue",
        Guarantee.QUEUE_ORDER,
        (Edit(parking.park_succeeded, "lease.park_reason in _KEEP_PLACE", "False"),),
        Fails(test_jobs.test_computing_job_is_parked_for_a_cell_and_resumes_before_the_jobs_behind_it, "job-2"),
    ),
    Mutation(
        "a resize may exceed the quota of the tenant",
        Guarantee.QUEUE_ORDER,
        (Edit(resize.resize_lease, "_require_within_quota(...)", "pass"),),
        Fails(test_resize_active.test_growing_beyond_the_quota_is_refused, "DID NOT RAISE", error="Failed"),
    ),
)
