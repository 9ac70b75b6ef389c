"""Mutations of calls of an engine: what is asked once or again, and what is taken for an answer."""

from __future__ import annotations

from fastgpu_jupyter.core.lease import preparation
from fastgpu_jupyter.pool.clusters import reconcile
from fastgpu_jupyter.pool.clusters.agents import AgentListener
from fastgpu_jupyter.pool.clusters.cancellations import Cancellations
from fastgpu_jupyter.pool.clusters.engine_thread import EngineThread
from fastgpu_jupyter.pool.clusters.service import ClusterService
from fastgpu_jupyter.pool.clusters.slurm.adapter import SlurmEngine
from fastgpu_jupyter.pool.clusters.submissions import Submissions
from tests.core.lease import test_cluster
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.clusters import test_engine_calls, test_service
from tests.pool.clusters.slurm import test_assembled

_RELEASED = test_engine_calls.test_agent_is_released_before_its_job_is_cancelled_and_not_for_another_job_with_its_name

MUTATIONS = (
    Mutation(
        "a job is submitted again while the first submission may be on its way",
        Guarantee.DOUBLE_GRANT,
        (Edit(Submissions._submit, "one.uncertain and one.absent_since_s is None", "False"),),
        Fails(
            test_engine_calls.test_submission_that_may_have_been_made_is_made_again_only_when_no_such_job_came_in_time,
            "the first one may be on its way",
        ),
    ),
    Mutation(
        "the job of a lease that ended while it was submitted is left",
        Guarantee.LIFECYCLE,
        (Edit(Submissions._record, "lease is None or lease.state is LeaseState.DRAINING", "False"),),
        Fails(
            test_engine_calls.test_submission_that_arrived_is_recorded_and_its_job_is_ended_where_the_lease_is_over,
            "no lease has it",
        ),
    ),
    Mutation(
        "a job is cancelled once, whatever becomes of it",
        Guarantee.LIFECYCLE,
        (Edit(Cancellations._end, "one.next_s = now_s + AGAIN_S", "self.done(one.name, job_id)"),),
        Fails(
            test_engine_calls.test_cancel_is_repeated_until_the_engine_says_that_the_job_is_over,
            "nothing is due",
        ),
    ),
    Mutation(
        "a job whose submission was on its way is not cancelled",
        Guarantee.LIFECYCLE,
        (Edit(Cancellations.step, "not self._may_exist(one.name) or self._settled(one)", "True"),),
        Fails(
            test_engine_calls.test_job_without_an_id_is_looked_for_while_its_submission_may_be_on_its_way,
            "nothing is due",
        ),
    ),
    Mutation(
        "the cancellation of a second job releases the agent of the lease",
        Guarantee.LIFECYCLE,
        (
            Edit(
                Cancellations._end,
                "self._rendezvous.is_connected(one.name, job_id)",
                "self._rendezvous.is_connected(one.name, '17')",
            ),
        ),
        Fails(_RELEASED, "the agent belongs to another job"),
    ),
    Mutation(
        "the end of a second job ends the lease",
        Guarantee.LIFECYCLE,
        (Edit(ClusterService._take, "lease is not None and lease.job.job_id not in (None, job_id)", "False"),),
        Fails(
            test_service.test_next_pool_manager_knows_leases_and_kernels_again_and_ends_jobs_without_a_lease,
            "'ended' == 'active'",
        ),
    ),
    Mutation(
        "a lease whose job waits again is billed",
        Guarantee.BILLING,
        (Edit(reconcile.is_requeued, "lease.state is LeaseState.ACTIVE and _1", "False"),),
        Fails(
            test_service.test_requeued_job_ends_the_lease_with_its_reason_and_does_not_run_again, "ended: .*'active'"
        ),
    ),
    Mutation(
        "a lease is billed from its request on",
        Guarantee.BILLING,
        (
            Edit(
                preparation.apply_prepared,
                "meter.open_segment(_1, _2, at.ms)",
                "meter.open_segment(_1, _2, _2.requested_at.ms)",
            ),
        ),
        Fails(test_cluster.test_bill_begins_with_the_allocation_and_ends_with_the_job_to_the_millisecond, "690001"),
    ),
    Mutation(
        "a lease is granted although no one said of which model its GPU is",
        Guarantee.BILLING,
        (Edit(AgentListener._grant, "running is None and not _1", "False"),),
        Fails(
            test_engine_calls.test_lease_whose_rate_the_agent_does_not_know_is_granted_with_the_engines_word,
            "a100 may be one of two models",
        ),
    ),
    Mutation(
        "an agent that is silent loses its job",
        Guarantee.AVAILABILITY,
        (
            Edit(
                AgentListener.on_gone,
                "self._requests.look()",
                "self._requests.cancel(name, lease.job.job_id)",
            ),
        ),
        Fails(
            test_engine_calls.test_silence_and_end_of_an_agent_are_reasons_to_ask_the_engine_only,
            "nothing is cancelled",
        ),
    ),
    Mutation(
        "calls of an engine that hangs wait for their turns",
        Guarantee.AVAILABILITY,
        (Edit(EngineThread._answer, "self._hanging is not None", "False"),),
        Fails(test_engine_calls.test_engine_that_hangs_is_called_once, "do not wait behind one that hangs"),
    ),
    Mutation(
        "a request that was not checked in time keeps its turn",
        Guarantee.AVAILABILITY,
        (Edit(ClusterService.check, "check.cancel()", "pass"),),
        Fails(
            test_engine_calls.test_request_that_is_not_checked_in_time_leaves_no_call_behind, "others had their turn"
        ),
    ),
    Mutation(
        "a job of the same user that has the number now is cancelled",
        Guarantee.IDENTITY,
        (Edit(SlurmEngine.cancel, "job in self._others", "False"),),
        Fails(test_assembled.test_job_of_another_name_is_not_cancelled, "'17'"),
    ),
    Mutation(
        "a job in a state that is not known is over",
        Guarantee.VISIBILITY,
        (Edit(SlurmEngine._status, "row.state not in reasons.ENDS", "False"),),
        Fails(test_assembled.test_state_that_is_not_known_is_no_end, "Ended"),
    ),
    Mutation(
        "a list that Slurm did not give is empty",
        Guarantee.VISIBILITY,
        (Edit(SlurmEngine._require, "raise EngineUnavailable(...)", "pass"),),
        Fails(test_assembled.test_answer_that_fails_is_unknown, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "a job that is not in Slurm's list is over",
        Guarantee.VISIBILITY,
        (Edit(SlurmEngine.statuses, "not self._knows(job)", "True"),),
        Fails(test_assembled.test_job_that_the_list_does_not_have_ends_only_where_slurm_does_not_know_it, "'1'"),
    ),
)
