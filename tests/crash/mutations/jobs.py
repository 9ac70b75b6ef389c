"""Mutations of the dispatcher and of the runner: what is accepted runs once, in its order, and leaves nothing."""

from __future__ import annotations

from fastgpu_jupyter.jobs.dispatcher import plan, table, transitions
from fastgpu_jupyter.jobs.dispatcher.engine import JobEngine
from fastgpu_jupyter.jobs.dispatcher.leases import Leases
from fastgpu_jupyter.jobs.runner import guard, remote_work
from fastgpu_jupyter.wire import private_files
from tests.crash import test_job_faults
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.jobs import test_dispatcher, test_running
from tests.jobs.dispatcher import test_plan, test_transitions
from tests.jobs.runner import test_job_runner, test_remote_work

J = Guarantee.JOBS

MUTATIONS = (
    Mutation(
        "the work of a job runs on this host where that of its lease cannot be reached",
        J,
        (Edit(remote_work.launcher_of, "not launcher", "False"),),
        Fails(
            test_remote_work.test_nothing_of_a_cluster_runs_on_this_host_where_its_host_cannot_be_reached,
            "DID NOT RAISE",
            "Failed",
        ),
    ),
    Mutation(
        "a lost job is run again for ever",
        J,
        (Edit(transitions.without_runner, "lost.losses <= job.retries", "True"),),
        Fails(test_transitions.test_lost_attempt_is_repeated_as_often_as_was_asked_for),
    ),
    Mutation(
        "the end of a runner counts more than its outcome",
        J,
        (Edit(transitions.without_runner, "facts.outcome is not None", "False"),),
        Fails(test_transitions.test_outcome_counts_more_than_how_the_runner_ended),
    ),
    Mutation(
        "an attempt that had not begun uses a retry",
        J,
        (Edit(transitions.without_runner, "not facts.work_began", "False"),),
        Fails(test_transitions.test_attempt_that_had_not_begun_costs_no_retry),
    ),
    Mutation(
        "a job runs after one that failed",
        J,
        (Edit(transitions.after_predecessor, "predecessor.state is JobState.DONE or _1", "True"),),
        Fails(test_transitions.test_job_runs_only_after_jobs_that_are_done),
    ),
    Mutation(
        "a cancelled job keeps its lease",
        J,
        (Edit(plan._Planner.plan, "self._plan.withdraw.extend(...)", "pass"),),
        Fails(test_plan.test_lease_of_a_job_that_is_over_is_withdrawn),
    ),
    Mutation(
        "the priority of a job does not count",
        J,
        (Edit(table.rank_of, "return _1, job.id", "return 0, job.id"),),
        Fails(test_plan.test_first_jobs_by_priority_and_id_are_requested),
    ),
    Mutation(
        "two jobs compute one key",
        J,
        (Edit(plan.is_ready, "_1 and _2 and _3", "_1 and _2"),),
        Fails(test_plan.test_one_job_computes_a_key_and_the_others_wait),
    ),
    Mutation(
        "a submission that is sent twice is two jobs",
        J,
        (Edit(JobEngine.known, "return _1 if _2 else None", "return None"),),
        Fails(test_dispatcher.test_submission_sent_twice_is_one_job),
        in_processes=True,
    ),
    Mutation(
        "the lease of a lost answer is forgotten",
        J,
        (Edit(Leases.try_first, "self._run(self._give_up(...))", "pass"),),
        Fails(test_job_faults.test_lease_whose_answer_was_lost_is_used_or_given_back, "no lease is left"),
        in_processes=True,
    ),
    Mutation(
        "a runner that lives is taken for one that has ended",
        J,
        (Edit(private_files.lock, "fcntl.flock(...)", "pass"),),
        Fails(test_running.test_killed_dispatcher_leaves_running_jobs_and_its_successor_takes_them_over),
        in_processes=True,
    ),
    Mutation(
        "what a job has started outlives its runner",
        J,
        (Edit(guard._GuardProcess.run, "end_processes(...)", "pass"),),
        Fails(
            test_job_runner.test_killed_process_leaves_nothing_that_computes,
            "nothing of the job computes",
            parameters="runner",
        ),
        in_processes=True,
    ),
)
