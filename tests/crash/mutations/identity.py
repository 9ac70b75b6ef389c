"""Mutations of who is billed: users by name and number, a user database that fails, leases of others."""

from __future__ import annotations

from fastgpu_jupyter.pool.http.handlers.leases import LeaseHandlers
from fastgpu_jupyter.pool.http.permissions import Permissions
from fastgpu_jupyter.pool.http.views.context import AccessScope
from fastgpu_jupyter.pool.identity import user_database
from fastgpu_jupyter.pool.identity.known_users import KnownUsers
from fastgpu_jupyter.pool.identity.tenants import TenantNames
from fastgpu_jupyter.pool.journal.database import Database
from fastgpu_jupyter.pool.monitors.processes import ProcessMonitor
from fastgpu_jupyter.wire.client.transport import Transport
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.identity import test_known_users, test_tenants, test_user_database
from tests.pool.journal import test_store
from tests.pool.monitors import test_processes
from tests.security import test_identity
from tests.wire import test_version

IDENTITY = Guarantee.IDENTITY

MUTATIONS = (
    Mutation(
        "processes of services are ended",
        IDENTITY,
        (Edit(ProcessMonitor._end, "self._exemptions.spare(holder)", "False"),),
        Fails(test_processes.test_policy_end_spares_services_and_exempt_users),
    ),
    Mutation(
        "a journal of a newer version is refused without its name",
        IDENTITY,
        (Edit(Database._require_format, "version > FORMAT", "False"),),
        Fails(
            test_store.test_newer_format_is_refused_by_the_name_of_its_version_and_not_changed,
            r"FastGPU 9\.8\.7 \(format",
        ),
    ),
    Mutation(
        "an answer of another version is read",
        IDENTITY,
        (Edit(Transport._require_same_interface, "not theirs.fits", "False"),),
        Fails(
            test_version.test_answer_of_another_interface_is_one_sentence_with_both_versions,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "a kernel of another version is taken for idle",
        IDENTITY,
        (Edit(LeaseHandlers.count_as_busy, "holder == caller.holder", "False"),),
        Fails(
            test_version.test_caller_of_another_interface_is_refused_and_its_lease_counts_as_used,
            "assert (False|None)",
        ),
    ),
    Mutation(
        "a user database that fails has no users",
        IDENTITY,
        (Edit(user_database._look_up, "status not in (0, _1, _2)", "False"),),
        Fails(test_user_database.test_failed_call_is_a_fault_and_no_absence, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "while the user database fails an unknown name is an account",
        IDENTITY,
        (Edit(TenantNames._find_key, "raise HostFault(...) from error", "return ACCOUNT_TAG + tenant"),),
        Fails(
            test_tenants.test_key_of_an_unknown_name_while_the_database_fails_is_refused,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "a reused name stays that of the former user",
        IDENTITY,
        (Edit(KnownUsers._current, "now_s >= known.until_s", "not known.answered"),),
        Fails(test_known_users.test_name_that_is_reused_is_found_under_its_new_number, "1001 == 1050"),
    ),
    Mutation(
        "a kernel that is seen as another user gets the answer that its lease is over",
        IDENTITY,
        (Edit(Permissions.visible_lease, "_has_token(...)", "False"),),
        Fails(test_identity.test_kernel_that_is_seen_as_another_user_gets_no_404, "404"),
    ),
    Mutation(
        "a lease that was transferred is hidden from the user that holds it",
        IDENTITY,
        (Edit(AccessScope.owns, "lease.holder.uid == self.uid", "False"),),
        Fails(test_identity.test_lease_that_was_transferred_stays_visible_to_the_user_that_holds_it, "403|404"),
    ),
)
