"""Mutations of what holds where something hangs or runs out."""

from __future__ import annotations

from fastgpu_jupyter.core.scheduling.waiting_order import WaitingOrder
from fastgpu_jupyter.pool.host import process
from fastgpu_jupyter.server.holder_binding import HolderBinding
from fastgpu_jupyter.wire.client.transport import Transport
from fastgpu_jupyter.wire.unixsocket import TimedSocket
from tests.core.scheduling import test_queue_report
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.host import test_process
from tests.server import test_holder_binding
from tests.wire import test_deadline

MUTATIONS = (
    Mutation(
        "a holder is gone if no descriptor is left to watch it",
        Guarantee.AVAILABILITY,
        (Edit(process.open_holder, "says_ended(error)", "True"),),
        Fails(
            test_process.test_holder_of_with_an_error_is_gone_only_if_there_is_no_process,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "each call of a socket has a timeout of its own",
        Guarantee.AVAILABILITY,
        (Edit(TimedSocket._limit_call, "self._deadline_s is not None", "False"),),
        Fails(
            test_deadline.test_call_with_an_answer_that_dribbles_ends_at_the_deadline, "DID NOT RAISE", error="Failed"
        ),
    ),
    Mutation(
        "a change that was not answered counts as not done",
        Guarantee.AVAILABILITY,
        (Edit(Transport._unreachable, "connection.may_have_sent", "False"),),
        Fails(test_deadline.test_change_without_an_answer_may_have_been_done, error="PoolSilent"),
    ),
    Mutation(
        "a binding that is out of date is made",
        Guarantee.IDENTITY,
        (Edit(HolderBinding._bind, "number != self._number", "False"),),
        Fails(test_holder_binding.test_binding_of_a_process_is_not_made_after_a_later_one),
    ),
    Mutation(
        "the reported queue does not follow requests that become overdue",
        Guarantee.QUEUE_ORDER,
        (Edit(WaitingOrder._update_overdue, "self._set_overdue(lease_id)", "None"),),
        Fails(test_queue_report.test_queue_report_followed_by_events_equals_that_of_the_whole_state, parameters="0"),
    ),
)
