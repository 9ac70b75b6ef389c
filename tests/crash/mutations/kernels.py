"""Mutations of what a kernel does beside a stock one: waits, Stop, child processes and forks."""

from __future__ import annotations

from fastgpu_jupyter.kernel import cell_kinds
from fastgpu_jupyter.kernel.gate import Gate
from fastgpu_jupyter.kernel.grant_environment import GrantEnvironment
from fastgpu_jupyter.kernel.interrupts import Interrupts
from fastgpu_jupyter.server.kernel_lease import KernelLease
from fastgpu_jupyter.server.remote_process import RemoteProcess
from fastgpu_jupyter.server.threads import CallThreads
from fastgpu_jupyter.wire import unixsocket
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.kernel import test_cell_kinds, test_gate, test_interrupts
from tests.server import test_fork, test_remote_launch

KERNEL = Guarantee.KERNEL

MUTATIONS = (
    Mutation(
        "a kernel whose job is lost is restarted in another job that no user wants",
        KERNEL,
        (Edit(KernelLease._acquire_from, "self.is_of_cluster or _1", "_1"),),
        Fails(
            test_remote_launch.test_automatic_restart_after_the_end_of_the_job_requests_no_other,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "a kernel that was just restarted has ended because the one before it has",
        KERNEL,
        (Edit(RemoteProcess._end_in, "kernel['generation'] == self._generation", "True"),),
        Fails(test_remote_launch.test_restart_is_in_the_same_job_with_the_same_key, "assert"),
    ),
    Mutation(
        "the children of a kernel inherit its lease",
        Guarantee.AUTHORIZATION,
        (Edit(Gate.from_environment, 'env.pop(_1, "")', 'env.get(_1, "")'),),
        Fails(test_gate.test_gate_leaves_children_no_lease_but_whose_device_they_use, "FASTGPU_LEASE"),
    ),
    Mutation(
        "a process that a kernel forks can release its lease",
        Guarantee.AUTHORIZATION,
        (Edit(Gate.abandon, "self.pool = LeaseClient(...)", "pass"),),
        Fails(test_gate.test_gate_in_a_forked_process_has_no_lease_to_release, "secret"),
    ),
    Mutation(
        "code that uses the GPU does not wait where the cell also asks something",
        KERNEL,
        (Edit(cell_kinds.only_asks, "all(...)", "any(_ASKING.fullmatch(line.strip()) for line in lines)"),),
        Fails(test_cell_kinds.test_only_asks_rejects_code_that_may_use_the_gpu),
    ),
    Mutation(
        "code that needs parked memory waits for ever",
        KERNEL,
        (Edit(Gate._count_blocked_code, "codes and self.had_gpu and not self.open", "False"),),
        Fails(test_gate.test_uncounted_code_counts_once_it_is_blocked_on_a_parked_lease, "the code counts"),
    ),
    Mutation(
        "a library that looked for devices too early is not named",
        KERNEL,
        (Edit(GrantEnvironment._device_appears, "return ...", "return False"),),
        Fails(test_gate.test_gate_notes_that_a_library_looked_for_a_gpu_too_early, "has_changes"),
    ),
    Mutation(
        "Stop reaches the main shell only",
        KERNEL,
        (Edit(Interrupts._start_reader, "self._reader.start()", "None"),),
        Fails(test_interrupts.test_sigint_stops_the_cells_of_subshells_while_the_main_shell_is_idle),
    ),
    Mutation(
        "a forked process waits for threads that it does not have",
        KERNEL,
        (Edit(CallThreads._forget, "self._executor = None", "pass"),),
        Fails(test_fork.test_threads_are_not_those_of_the_process_that_forked, "256 == 0"),
    ),
    Mutation(
        "a forked process keeps the connections of its parent",
        KERNEL,
        (Edit(unixsocket._close_inherited, "list(_connections)", "[]"),),
        Fails(test_fork.test_connection_is_closed_in_a_forked_process_and_open_in_its_parent),
    ),
)
