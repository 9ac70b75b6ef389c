"""Every pair of state and event: in the table, or refused with the lease's story."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from fastgpu_jupyter.core import apply, decide
from fastgpu_jupyter.core.lease.transition import next_state
from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model import lifecycle
from fastgpu_jupyter.core.model.events import Event
from fastgpu_jupyter.core.model.lifecycle import HOLDING_CAPACITY, LeaseState
from fastgpu_jupyter.errors import InternalError
from tests.core.world import World, spec


@pytest.mark.parametrize(("state", "event_type"), list(itertools.product(LeaseState, get_args(Event))))
def test_a_pair_is_in_the_table_or_an_error_that_tells_the_story(state: LeaseState, event_type: type[Event]) -> None:
    lease = World(spec("gpu")).ask("a")
    lease.state = state
    event = object.__new__(event_type)
    for field in event_type.__dataclass_fields__:
        object.__setattr__(event, field, "a")
    if (state, event_type.__name__) in lifecycle.TRANSITIONS:
        assert next_state(lease, event) in LeaseState
    else:
        with pytest.raises(InternalError, match="does not fit a lease that is"):
            next_state(lease, event)


def test_nothing_leads_out_of_the_end() -> None:
    assert not [pair for pair in lifecycle.TRANSITIONS if pair[0] is LeaseState.ENDED]


def test_capacity_is_given_back_only_by_the_end() -> None:
    leaving = [(before, event, after) for (before, event), after in lifecycle.TRANSITIONS.items()
               if before in HOLDING_CAPACITY and after not in HOLDING_CAPACITY]  # fmt: skip
    assert {after for _, _, after in leaving} == {LeaseState.ENDED, LeaseState.PARKED, LeaseState.WAITING}
    # What could not be made, and of which nothing is left, or to which no memory was moved.
    requeued = {event for _, event, after in leaving if after is LeaseState.WAITING}
    assert requeued == {"LeasePrepareFailed", "LeaseResumePostponed"}


def test_every_command_and_event_has_a_rule() -> None:
    assert set(decide.DECIDERS) == set(get_args(c.Command))
    assert set(apply.APPLIERS) == set(get_args(Event))
