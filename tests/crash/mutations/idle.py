"""Mutations of the idle policy: what runs is never touched, and unknown is not idle."""

from __future__ import annotations

from fastgpu_jupyter.core.lease import idle
from fastgpu_jupyter.core.lease.idle_window import IdleWindow
from fastgpu_jupyter.pool.monitors.idleness import IdleMonitor
from tests.core.lease import test_idle, test_idle_window
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.monitors import test_idleness

MUTATIONS = (
    Mutation(
        "the idle policy parks a lease in which a cell runs",
        Guarantee.LIFECYCLE,
        (
            Edit(idle.note_cell, "end_idleness(state, lease)", "pass"),
            Edit(idle.idle_since_ms, "_1 is not False", "False"),
        ),
        Fails(test_idle.test_cell_that_begins_before_the_step_wins),
    ),
    Mutation(
        "an unknown reading of a device shows that it is idle",
        Guarantee.VISIBILITY,
        (Edit(IdleWindow.add, "percent is None or _1", "(percent or 0) >= below_percent"),),
        Fails(test_idle_window.test_window_shows_an_idle_device_only_where_every_reading_of_it_is_low),
    ),
    Mutation(
        "a device whose driver does not answer is idle",
        Guarantee.VISIBILITY,
        (Edit(IdleMonitor._difference, "one.missed", "False"),),
        Fails(test_idleness.test_unknown_reading_silent_driver_and_threshold_count_as_use),
    ),
    Mutation(
        "the idle policy acts after a restart on what the pool manager before it saw",
        Guarantee.AVAILABILITY,
        (Edit(idle.due, "recorded and lease.gpu_idle_confirmed", "True"),),
        Fails(test_idle.test_times_go_on_after_a_restart_once_the_device_is_seen_idle_again),
    ),
)
