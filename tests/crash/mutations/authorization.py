"""Mutations of who may do what: tenants, tokens, administrators, and the identity of a caller."""

from __future__ import annotations

from fastgpu_jupyter.jobs import environment
from fastgpu_jupyter.jobs.runner import hand_over
from fastgpu_jupyter.pool.host import process, single_instance
from fastgpu_jupyter.pool.http import endpoint, permissions
from fastgpu_jupyter.pool.http.handlers.leases import LeaseHandlers
from fastgpu_jupyter.pool.http.permissions import Permissions
from fastgpu_jupyter.pool.http.views import queue
from fastgpu_jupyter.pool.http.views.context import AccessScope
from fastgpu_jupyter.pool.loop.command_queue import QueuedCommand
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.jobs import test_environment_secrets
from tests.jobs.runner import test_hand_over
from tests.pool.http import test_queue_holder
from tests.pool.loop import test_command_loop
from tests.security import test_authorization, test_socket

AUTHORIZATION = Guarantee.AUTHORIZATION

MUTATIONS = (
    Mutation(
        "the notebook of another user that has a GPU is named in the queue",
        AUTHORIZATION,
        (Edit(queue.queue_holder, "own = _1", "own = True"),),
        Fails(
            test_queue_holder.test_queue_holder_has_the_name_of_an_own_notebook_only,
            r"== \(None, None\)",
            parameters="another user",
        ),
    ),
    Mutation(
        "the token of a lease is not compared",
        AUTHORIZATION,
        (Edit(permissions._has_token, "hmac.compare_digest(...)", "True"),),
        Fails(
            test_authorization.test_each_caller_is_answered_as_documented,
            "200.* == .*403",
            parameters="POST /v1/leases/{lease_id}/bind",
        ),
    ),
    Mutation(
        "a tenant sees the leases of other tenants",
        AUTHORIZATION,
        (Edit(AccessScope.includes, "self.all_tenants or _1", "True"),),
        Fails(test_authorization.test_another_tenant_sees_no_names_of_a_lease, "secret.ipynb"),
    ),
    Mutation(
        "a tenant releases a lease of another",
        AUTHORIZATION,
        (Edit(Permissions.visible_lease, "caller.access.includes(lease)", "True"),),
        Fails(
            test_authorization.test_each_caller_is_answered_as_documented,
            "== .*403",
            parameters="DELETE /v1/leases/{lease_id}",
        ),
    ),
    Mutation(
        "every user is an administrator",
        AUTHORIZATION,
        (Edit(Permissions.administers, "_1 in {0, os.getuid()}", "True"),),
        Fails(
            test_authorization.test_each_caller_is_answered_as_documented,
            "== .*403",
            parameters="PUT /v1/devices/{device_id}",
        ),
    ),
    Mutation(
        "every user may request with the priority of the system",
        AUTHORIZATION,
        (Edit(Permissions.require_priority, "priority is Priority.SYSTEM and _1", "False"),),
        Fails(test_authorization.test_only_root_requests_with_the_priority_system, "assert 201 == 403"),
    ),
    Mutation(
        "a lease is bound to a process of another user",
        AUTHORIZATION,
        (Edit(LeaseHandlers.bind, "caller.holder.uid not in _1", "False"),),
        Fails(test_authorization.test_binding_to_a_process_of_another_user_is_forbidden, "== .*403"),
    ),
    Mutation(
        "a caller that runs a program of root is taken for root",
        AUTHORIZATION,
        (Edit(process.peer_holder, "holder.uid != _1", "False"),),
        Fails(test_authorization.test_caller_that_executes_a_set_user_id_program_is_not_taken_for_root),
    ),
    Mutation(
        "a command is decided before it is authorized",
        AUTHORIZATION,
        (Edit(QueuedCommand.require_allowed, "if self.allowed is not None: ...", "pass"),),
        Fails(
            test_command_loop.test_command_that_is_not_allowed_is_refused_before_decision,
            "DID NOT RAISE",
            error="Failed",
        ),
    ),
    Mutation(
        "an idempotency key of one user is answered to another",
        AUTHORIZATION,
        (Edit(endpoint.scoped_key, 'f"{_1}:{key}"', "key"),),
        Fails(test_authorization.test_idempotency_key_of_another_user_gives_a_lease_of_its_own, "1 == 2"),
    ),
    Mutation(
        "a file at the path of the socket is replaced",
        AUTHORIZATION,
        (Edit(single_instance.require_socket_or_nothing, "not stat.S_ISSOCK(mode)", "False"),),
        Fails(
            test_socket.test_what_is_no_stale_socket_at_the_path_is_left_as_it_is,
            "DID NOT RAISE",
            error="Failed",
            parameters="file",
        ),
    ),
    Mutation(
        "the mode of a folder that a user named is changed",
        AUTHORIZATION,
        (Edit(single_instance.create_private_folder, "named and not made", "False"),),
        Fails(test_socket.test_mode_of_a_named_folder_is_not_changed),
    ),
    Mutation(
        "the token of the lease of a job stays in a file",
        AUTHORIZATION,
        (Edit(hand_over.read_start, "{**start['lease'], 'token': None}", "start['lease']"),),
        Fails(test_hand_over.test_token_is_removed_from_the_hand_over_when_it_is_read, "secret"),
    ),
    Mutation(
        "a job has the variables that look like secrets",
        AUTHORIZATION,
        (Edit(environment._may_leave, "not looks_secret(name)", "True"),),
        Fails(test_environment_secrets.test_secret_never_leaves, "hunter2"),
    ),
)
