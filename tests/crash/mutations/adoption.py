"""Mutations of kernels that outlive their server: who adopts one, what it keeps meanwhile, and when it ends."""

from __future__ import annotations

from fastgpu_jupyter.kernel.kept_output import KeptOutput
from fastgpu_jupyter.kernel.orphan import Orphan, OrphanLease
from fastgpu_jupyter.kernel.parent_watch import ParentWatch
from fastgpu_jupyter.server.adoption import Adoption
from fastgpu_jupyter.wire import kept_kernels
from fastgpu_jupyter.wire.kept_kernels import Found
from fastgpu_jupyter.wire.process_identity import ProcessIdentity
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.kernel import test_kept_output, test_orphan, test_orphan_lease
from tests.server import test_adoption_rules
from tests.wire import test_kept_kernels

IDENTITY = Guarantee.IDENTITY
KERNEL = Guarantee.KERNEL

MUTATIONS = (
    Mutation(
        "two servers adopt one kernel",
        IDENTITY,
        (Edit(kept_kernels.claim, "now is not None and _1.is_orphaned()", "now is not None"),),
        Fails(
            test_kept_kernels.test_orphaned_kernel_is_claimed_once_by_many_at_a_time,
            "too many values",
            error="ValueError",
        ),
    ),
    Mutation(
        "a kernel is claimed without the lock of the records",
        IDENTITY,
        (Edit(kept_kernels.claim, "not is_locked", "False"),),
        Fails(test_kept_kernels.test_claim_gives_up_where_another_process_holds_the_lock, "is None"),
    ),
    Mutation(
        "a server that cannot be observed has ended",
        Guarantee.AVAILABILITY,
        (Edit(Found.is_orphaned, "return False", "return True"),),
        Fails(test_kept_kernels.test_kernel_of_a_server_that_cannot_be_observed_is_not_orphaned),
    ),
    Mutation(
        "a process of another boot is the recorded one",
        IDENTITY,
        (Edit(ProcessIdentity.has_ended, "self.boot_id != boot_id()", "False"),),
        Fails(test_kept_kernels.test_identity_of_another_boot_or_start_time_has_ended, "another"),
    ),
    Mutation(
        "a process with the number of the recorded one is that",
        IDENTITY,
        (
            Edit(
                ProcessIdentity.has_ended,
                "start_time(self.pid) != self.start_time or is_readable(pidfd)",
                "is_readable(pidfd)",
            ),
        ),
        Fails(test_kept_kernels.test_identity_of_another_boot_or_start_time_has_ended, "start_time"),
    ),
    Mutation(
        "the kernels of another user are adopted",
        IDENTITY,
        (Edit(kept_kernels.records, "record is not None and record.user == os.getuid()", "record is not None"),),
        Fails(test_kept_kernels.test_record_of_another_kernel_user_or_later_version_is_ignored, "another"),
    ),
    Mutation(
        "the kernels of another provisioner are adopted",
        IDENTITY,
        (Edit(Adoption._adopt, "not isinstance(provisioner, FastGPUProvisioner)", "False"),),
        Fails(test_adoption_rules.test_kernel_of_another_provisioner_is_left_alone, "is claimed"),
    ),
    Mutation(
        "the kernels of another root folder are adopted",
        IDENTITY,
        (Edit(Adoption._is_for_this_server, "_1 == self._records.root and _2", "_2"),),
        Fails(test_adoption_rules.test_kernel_of_another_server_is_left_alone, "is claimed"),
    ),
    Mutation(
        "a kernel obeys another server while its own lives",
        IDENTITY,
        (Edit(ParentWatch.accept, "not ended", "False"),),
        Fails(test_orphan.test_kernel_outlives_its_servers_with_its_cells_output_and_lease, "ename", error="KeyError"),
        in_processes=True,
    ),
    Mutation(
        "an adopted kernel does not look whether it holds its lease",
        Guarantee.LIFECYCLE,
        (Edit(Orphan.accept, "self.adopted_by == server", "True"),),
        Fails(test_orphan_lease.test_first_request_of_each_server_settles_the_lease),
    ),
    Mutation(
        "the lease of a kernel without a server is not given to others",
        Guarantee.LIFECYCLE,
        (Edit(OrphanLease.begin, "[self._bind, self._let_yield]", "[self._bind]"),),
        Fails(test_orphan.test_kernel_outlives_its_servers_with_its_cells_output_and_lease, "the lease yields"),
        in_processes=True,
    ),
    Mutation(
        "a kernel that no server adopts runs for ever",
        KERNEL,
        (Edit(ParentWatch._wait_for_adoption, "time.monotonic() + keep.orphan_after_s", "time.monotonic() + 86_400"),),
        Fails(test_orphan.test_kernel_that_no_server_adopts_in_time_ends_and_releases_its_lease, "the kernel ends"),
        in_processes=True,
    ),
    Mutation(
        "a kernel without a server keeps output without end",
        KERNEL,
        (
            Edit(
                KeptOutput._make_room,
                "len(self._entries) > self._messages_max or self.bytes > self._bytes_max",
                "False",
            ),
        ),
        Fails(test_kept_output.test_output_without_end_stays_within_the_limits, "<= 50"),
    ),
    Mutation(
        "the newest of the kept output comes first",
        KERNEL,
        (Edit(KeptOutput.pop, "self._entries", "list(reversed(self._entries))"),),
        Fails(test_kept_output.test_messages_come_back_in_their_order_and_writes_to_one_stream_are_joined),
    ),
    Mutation(
        "the results of cells are dropped before what they print",
        KERNEL,
        (Edit(KeptOutput._to_drop, "self._queues", "self._queues[::-1]"),),
        Fails(test_kept_output.test_results_and_errors_are_kept_before_displays),
    ),
)
