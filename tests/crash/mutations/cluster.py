"""Mutations of leases that an engine serves: one job for a name, an end for each job, and a bill for what it held."""

from __future__ import annotations

from fastgpu_jupyter.core.accounting import ledger, meter
from fastgpu_jupyter.core.lease import cluster, cluster_bill, ending, holder, request
from fastgpu_jupyter.core.model import effects
from fastgpu_jupyter.pool.clusters import reconcile
from fastgpu_jupyter.pool.clusters.service import ClusterService
from fastgpu_jupyter.pool.clusters.slurm.commands import Commands
from fastgpu_jupyter.pool.clusters.submissions import Submissions
from tests.core import test_cluster_histories, test_cluster_interleavings
from tests.core.lease import test_cluster
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.clusters import test_day, test_service
from tests.pool.clusters.slurm import test_assembled

_HISTORIES = test_cluster_histories.test_history_with_an_engine_leaves_no_lease_without_job_and_no_second_unbilled
_KILLS = test_day.test_pool_manager_that_is_killed_at_any_call_of_the_engine_submits_once_and_loses_nothing
_FORGOTTEN = test_day.test_job_that_the_engine_has_forgotten_is_billed_until_something_was_heard_of_it
_DAY = test_day.test_day_with_an_engine_ends_with_equal_bills_and_without_jobs_or_leases_that_are_left
_ENDS = test_cluster.test_bill_ends_when_the_job_did_whatever_the_clock_of_the_engine_says
_ORDERS = test_cluster_interleavings.test_any_order_of_reports_leads_to_one_state_and_one_bill

MUTATIONS = (
    Mutation(
        "a job is submitted again after the engine accepted it",
        Guarantee.DOUBLE_GRANT,
        (Edit(effects._submit, "job is not None and job.job_id is None and _1", "job is not None and _1"),),
        Fails(_ORDERS, "SubmitJob"),
    ),
    Mutation(
        "a job is not submitted after a restart",
        Guarantee.DURABILITY,
        (Edit(effects.outstanding, "yield from _submit(lease)", "pass"),),
        Fails(_HISTORIES, "is waiting at rest"),
    ),
    Mutation(
        "the job of a lease that drains is not cancelled after a restart",
        Guarantee.LIFECYCLE,
        (
            Edit(
                effects._of_device,
                "job is not None and lease.state is LeaseState.DRAINING",
                "job is not None and lease.granted_at is None",
            ),
        ),
        Fails(_HISTORIES, "is draining at rest|its job is"),
    ),
    Mutation(
        "an agent that reports again is granted again",
        Guarantee.DOUBLE_GRANT,
        (
            Edit(
                cluster.granted,
                "lease is None or lease.state is not LeaseState.WAITING",
                "lease is None or lease.state is LeaseState.ENDED",
            ),
        ),
        Fails(_ORDERS, "does not fit a lease that is", error="InternalError"),
    ),
    Mutation(
        "the end of an earlier attempt ends the lease",
        Guarantee.LIFECYCLE,
        (Edit(cluster._find, "lease.cluster_job.name == name", "True"),),
        Fails(_ORDERS, "old job ended"),
    ),
    Mutation(
        "a lease ends although its job runs",
        Guarantee.BILLING,
        (Edit(ending.drain_succeeded, "lease.cluster_job is not None", "False"),),
        Fails(_ORDERS, "drained here"),
    ),
    Mutation(
        "a job that ended unseen is billed until that is noticed",
        Guarantee.BILLING,
        (Edit(cluster.job_ended, "cluster_bill.billed_until_ms(...)", "None"),),
        Fails(_ORDERS, "job ended before"),
    ),
    Mutation(
        "a job that ended before its grant, by the engine's clock, is billed less than nothing",
        Guarantee.BILLING,
        (
            Edit(cluster_bill.billed_until_ms, "max(_1, from_ms)", "_1"),
            Edit(meter.shorten, "max(until_ms, segment.from_ms)", "until_ms"),
        ),
        Fails(_ORDERS, "an invariant is broken"),
    ),
    Mutation(
        "the statement bills a job that ended unseen until that is noticed",
        Guarantee.BILLING,
        (
            Edit(
                ledger.Ledger._read_end,
                "self._last.take(lease_id, event.billed_until_ms)",
                "self._last.take(lease_id, None)",
            ),
        ),
        Fails(_ORDERS, "job ended before"),
    ),
    Mutation(
        "what a tenant has spent has more than its bill",
        Guarantee.BILLING,
        (Edit(meter.shorten, "if numerator:\n    ...", "pass"),),
        Fails(_ENDS, "==", parameters="False--40000-50000"),
    ),
    Mutation(
        "what a notebook used has more than its bill",
        Guarantee.BILLING,
        (Edit(cluster_bill.apply_end, "use.take_back(...)", "None"),),
        Fails(_ENDS, "==", parameters="False--40000-50000"),
    ),
    Mutation(
        "a bill of a month that is over is changed",
        Guarantee.BILLING,
        (Edit(meter._close_month, "_count(...)", "None"),),
        Fails(test_cluster.test_job_that_ended_in_a_month_that_is_over_is_billed_to_its_end, "spent less than n"),
    ),
    Mutation(
        "the time in which the machine was down is taken off a bill",
        Guarantee.BILLING,
        (Edit(cluster_bill._on_the_pools_clock, "wall_ms >= began.wall_ms", "True"),),
        Fails(test_cluster.test_time_in_which_the_machine_was_down_does_not_move_the_end_of_a_job, "=="),
    ),
    Mutation(
        "the time at which the engine ended a job is not reported",
        Guarantee.BILLING,
        (
            Edit(
                reconcile.command_of,
                "c.ClusterJobEnded(lease_id, name, reason, at_ms)",
                "c.ClusterJobEnded(lease_id, name, reason)",
            ),
        ),
        Fails(
            test_day.test_day_with_an_engine_ends_with_equal_bills_and_without_jobs_or_leases_that_are_left,
            "bills_differing",
        ),
    ),
    Mutation(
        "a job that the engine has forgotten is billed until that is noticed",
        Guarantee.BILLING,
        (Edit(ClusterService._dated, "self._before_start_ms if heard_ms is None else heard_ms", "None"),),
        Fails(_FORGOTTEN),
    ),
    Mutation(
        "a lease that was adopted ends with its old server",
        Guarantee.LIFECYCLE,
        (Edit(holder.apply_bound, "cluster.forget_orphan(...)", "pass"),),
        Fails(_ORDERS, "adopted"),
    ),
    Mutation(
        "a lease without a server is kept for ever",
        Guarantee.LIFECYCLE,
        (Edit(cluster.due, "at.ms - since_ms >= _1", "False"),),
        Fails(_ORDERS, "kept for long"),
    ),
    Mutation(
        "a job is submitted again after a restart without a look whether the engine has it",
        Guarantee.DOUBLE_GRANT,
        (Edit(Submissions.add, "not certain or name in self._tried", "False"),),
        Fails(_KILLS, "names_with_two_jobs"),
    ),
    Mutation(
        "jobs without a lease stay in the engine",
        Guarantee.LIFECYCLE,
        (Edit(ClusterService._reconcile, "without_lease(...).items()", "()"),),
        Fails(_KILLS, "left_jobs"),
    ),
    Mutation(
        "a request for an engine waits in the queue for local devices",
        Guarantee.QUEUE_ORDER,
        (Edit(request.apply_requested, "lease.cluster_job is None", "True"),),
        Fails(
            test_cluster.test_request_for_an_engine_waits_outside_of_the_queue_and_asks_for_no_local_device,
            "the queue does not hold exactly",
        ),
    ),
    Mutation(
        "all jobs are over when the engine does not answer",
        Guarantee.AVAILABILITY,
        (
            Edit(
                ClusterService._observe,
                "found = await self.thread.call(self.engine.statuses, ...)",
                """
try:
    found = await self.thread.call(self.engine.statuses, list(jobs))
except EngineUnavailable as error:
    found = dict.fromkeys(jobs, Ended(error.message))
""",
            ),
        ),
        Fails(
            test_service.test_engine_that_does_not_answer_changes_nothing_and_shows_since_when,
            "nothing is known of its job",
        ),
    ),
    Mutation(
        "a request is refused because Slurm does not answer",
        Guarantee.AVAILABILITY,
        (Edit(Commands._run, "raise EngineUnavailable(...)", "pass"),),
        Fails(test_assembled.test_submission_that_did_not_reach_slurm_is_no_refusal, "DID NOT RAISE", error="Failed"),
    ),
)
