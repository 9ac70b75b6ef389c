"""Mutations of the bounds on standby kernels: their memory, which processes count, and when there are none."""

from __future__ import annotations

from fastgpu_jupyter.pool import standby_budget
from fastgpu_jupyter.pool.monitors import standby
from fastgpu_jupyter.pool.monitors.standby import StandbyLimits, StandbyMonitor
from fastgpu_jupyter.pool.standby_budget import StandbyRegistry
from fastgpu_jupyter.server import standby_budget as of_server
from fastgpu_jupyter.server.standby_budget import StandbyBudget
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool import test_standby_budget as test_budget
from tests.pool.http import test_standby
from tests.server import test_standby_budget as test_server

MUTATIONS = (
    Mutation(
        "standby kernels have more memory than their budget",
        Guarantee.ENFORCEMENT,
        (Edit(standby_budget._refusal, "used[name] + kernel.memory_bytes > domain.budget_bytes", "False"),),
        Fails(test_budget.test_decide_admits_what_fits_exactly_and_no_byte_more),
    ),
    Mutation(
        "a standby kernel starts before those have ended that it replaces",
        Guarantee.ENFORCEMENT,
        (Edit(StandbyRegistry._has_room, "all(_1)", "True"),),
        Fails(test_budget.test_registry_starts_a_kernel_only_when_those_have_ended_that_must_end_for_it),
    ),
    Mutation(
        "a second standby kernel goes before the first one of another server",
        Guarantee.ENFORCEMENT,
        (Edit(standby_budget._next, "max(total_bytes, _1)", "0"),),
        Fails(test_budget.test_decide_ends_second_kernels_before_first_ones),
    ),
    Mutation(
        "standby kernels stay while processes wait for memory",
        Guarantee.ENFORCEMENT,
        (Edit(StandbyLimits.domain, "pressure is not None and _1", "False"),),
        Fails(test_standby.test_limits_follow_pressure_and_available_memory),
    ),
    Mutation(
        "a server reports standby kernels that are not its children",
        Guarantee.AUTHORIZATION,
        (
            Edit(
                StandbyMonitor._identify,
                "(holder.uid, holder.start_time, parent) != _1",
                "holder.start_time != kernel.start_time",
            ),
        ),
        Fails(test_standby.test_pool_counts_no_process_that_is_not_a_child_of_the_caller),
    ),
    Mutation(
        "a process with the number of a standby kernel that has ended counts for it",
        Guarantee.IDENTITY,
        (
            Edit(
                StandbyMonitor._identify,
                "(holder.uid, holder.start_time, parent) != _1",
                "(holder.uid, parent) != (caller.uid, caller.pid)",
            ),
        ),
        Fails(test_standby.test_pool_counts_no_process_that_is_not_a_child_of_the_caller),
    ),
    Mutation(
        "the memory that a server states for its standby kernels is believed",
        Guarantee.ENFORCEMENT,
        (Edit(standby.counted_bytes, "proportional_bytes(pid)", "stated_bytes"),),
        Fails(test_standby.test_pool_measures_the_memory_of_reported_kernels_itself),
    ),
    Mutation(
        "a standby kernel that has ended counts for ever",
        Guarantee.LIFECYCLE,
        (Edit(StandbyMonitor._has_ended, "self.registry.forget_kernel(name, holder.pid)", "pass"),),
        Fails(test_standby.test_standby_kernels_vanish_with_their_processes_and_leave_nothing, "one kernel is left"),
    ),
    Mutation(
        "a server keeps standby kernels that the pool manager refuses",
        Guarantee.ENFORCEMENT,
        (Edit(StandbyBudget.report, "self._allowed & young", "frozenset(young)"),),
        Fails(test_server.test_report_keeps_what_the_pool_allows_and_what_is_young),
    ),
    Mutation(
        "a server has as many standby kernels as it likes while no pool manager answers",
        Guarantee.ENFORCEMENT,
        (Edit(of_server.own_kernels, "small[:1]", "small"),),
        Fails(test_server.test_answer_of_a_pool_holds_for_a_minute_after_its_end),
    ),
)
