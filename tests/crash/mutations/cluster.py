"""Mutations of leases that an engine serves: one job for a name, an end for each job, and a bill for what it held."""

from __future__ import annotations

from fastgpu_jupyter.core.lease import cluster, ending, holder, request
from fastgpu_jupyter.core.model import effects
from fastgpu_jupyter.pool.clusters.service import ClusterService
from fastgpu_jupyter.pool.clusters.slurm.commands import Commands
from fastgpu_jupyter.pool.clusters.submissions import Submissions
from tests.core import test_cluster_histories, test_cluster_interleavings
from tests.core.lease import test_cluster
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.clusters import test_day
from tests.pool.clusters.slurm import test_assembled

_HISTORIES = test_cluster_histories.test_history_with_an_engine_leaves_no_lease_without_job_and_no_second_unbilled
_KILLS = test_day.test_pool_manager_that_is_killed_at_any_call_of_the_engine_submits_once_and_loses_nothing
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
        "a request is refused because Slurm does not answer",
        Guarantee.AVAILABILITY,
        (Edit(Commands._run, "raise EngineUnavailable(...)", "pass"),),
        Fails(test_assembled.test_submission_that_did_not_reach_slurm_is_no_refusal, "DID NOT RAISE", error="Failed"),
    ),
)
