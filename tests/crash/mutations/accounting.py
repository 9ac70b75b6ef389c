"""Mutations of the meter, the ledger, reservations and budgets: each second is billed once or not at all."""

from __future__ import annotations

from fastgpu_jupyter.core.accounting import calendar, ledger, meter, reservation_coverage
from fastgpu_jupyter.core.accounting.ledger import Ledger
from fastgpu_jupyter.core.lease import ending, history, parking, resize, timer
from fastgpu_jupyter.pool import rates
from fastgpu_jupyter.pool.host.clock import SystemClock
from tests.core import test_pool
from tests.core.accounting import test_amounts, test_budgets, test_ledger, test_reservations
from tests.core.lease import test_rename
from tests.core.scheduling import test_preemption
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation, Violates
from tests.pool import test_rates
from tests.pool.host import test_clock
from tests.sim import test_time_and_prefixes

B = Guarantee.BILLING

MUTATIONS = (
    Mutation(
        "draining is billed",
        B,
        (Edit(ending.apply_draining, "meter.close_segment(...)", "pass"),),
        Violates("is draining, yet its open usage segment says otherwise"),
    ),
    Mutation(
        "parking is billed",
        B,
        (Edit(parking.apply_parking, "meter.close_segment(...)", "pass"),),
        Fails(
            test_preemption.test_parking_is_not_billed_and_is_refused_while_waiting,
            "is parking, yet its open usage segment says otherwise",
        ),
    ),
    Mutation(
        "a resize forgets the cost before it",
        B,
        (Edit(resize.apply_resized, "meter.close_segment(...)", "lease.active_ms = meter.active_ms(lease, at.ms)"),),
        Violates("the ledger has another cost", first=8),
    ),
    Mutation(
        "no time is recorded while leases are active",
        B,
        (Edit(timer.tick, "due and any(...)", "False"),),
        Fails(test_time_and_prefixes.test_reboot_ends_leases_and_bills_no_time_after_it),
    ),
    Mutation(
        "time in which the host is suspended is billed",
        B,
        (Edit(SystemClock.boot_ms, "time.CLOCK_MONOTONIC", "time.CLOCK_BOOTTIME"),),
        Fails(test_clock.test_system_clock_of_a_suspended_host_excludes_that_time),
    ),
    Mutation(
        "a negative rate is served",
        B,
        (Edit(rates._read, "rate < 0", "False"),),
        Fails(test_rates.test_rate_that_no_bill_can_have_is_refused, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "a rename does not reach the bill",
        B,
        (Edit(Ledger._read_holder, "replace(lease.request, notebook=event.notebook)", "lease.request"),),
        Fails(test_rename.test_rename_reaches_the_lease_and_the_open_line_of_the_bill),
    ),
    Mutation(
        "usage within a reservation is billed again",
        B,
        (Edit(meter.open_segment, "tenant.reserved_milli", "False"),),
        Fails(test_amounts.test_what_is_metered_is_what_is_billed_at_any_moment_of_any_history, "cost_numerator"),
    ),
    Mutation(
        "usage after the end of a reservation is still covered",
        B,
        (Edit(Ledger._running, "_1.runs", "_1.began_wall_ms is not None"),),
        Fails(test_amounts.test_what_is_metered_is_what_is_billed_at_any_moment_of_any_history, "cost_numerator"),
    ),
    Mutation(
        "a month ends when an event follows instead of at its last millisecond",
        B,
        (Edit(calendar.turns, "ms = min(...)", "ms = at.ms"),),
        Fails(test_amounts.test_a_month_turns_at_its_millisecond_however_late_that_is_noticed, "spent_micro"),
    ),
    Mutation(
        "a reservation is billed before it holds capacity",
        B,
        (Edit(reservation_coverage.after, "min(max(...), ...)", "known.start_wall_ms"),),
        Fails(test_reservations.test_one_that_begins_later_is_not_paid_for_before_it_holds),
    ),
    Mutation(
        "a lease whose budget is spent is resumed",
        B,
        (Edit(parking.park_succeeded, "goes_on and not budgets.is_spent(...)", "goes_on"),),
        Fails(test_budgets.test_a_lease_with_a_budget_is_parked_at_it_and_comes_back_with_a_higher_one, "RESUMING"),
    ),
    Mutation(
        "the line of a lease that ended changes with the cost of others",
        B,
        (Edit(ledger._statement, "numerator = 0", "numerator = 0; items = sorted(items, key=_by_begin)"),),
        Fails(test_ledger.test_line_of_a_lease_that_ended_is_final_whatever_others_cost),
    ),
    Mutation(
        "a lease that ended is forgotten early",
        B,
        (Edit(history.stale_leases, "at.ms - ended_at.ms < KEPT_MS", "at.ms - ended_at.ms < KEPT_MS // 2"),),
        Fails(test_pool.test_leases_that_ended_stay_for_an_hour_however_many_there_are),
    ),
)
