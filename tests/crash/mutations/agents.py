"""Mutations of the rendezvous and the relay: who is an agent, and what a process on a node may do."""

from __future__ import annotations

from fastgpu_jupyter.pool.clusters.agent_tokens import AgentTokens
from fastgpu_jupyter.pool.clusters.rendezvous import Rendezvous
from fastgpu_jupyter.pool.clusters.service import ClusterService
from fastgpu_jupyter.pool.http.permissions import Permissions
from fastgpu_jupyter.pool.http.views.context import AccessScope
from tests.crash.mutations.edits import Edit
from tests.crash.mutations.model import Fails, Guarantee, Mutation
from tests.pool.clusters import test_agent, test_hostile_peers, test_relay, test_service

_RELAYED = test_relay.test_relayed_caller_has_its_lease_only

MUTATIONS = (
    Mutation(
        "a used token admits a second agent",
        Guarantee.IDENTITY,
        (Edit(AgentTokens.claim, "hmac.compare_digest(...)", "True"),),
        Fails(test_agent.test_rendezvous_refuses_unknown_and_used_tokens, "the process has ended"),
    ),
    Mutation(
        "a process on a node needs no token of its lease",
        Guarantee.AUTHORIZATION,
        (Edit(Permissions._require_of_lease, "await self._state.read(...)", "pass"),),
        Fails(_RELAYED, "DID NOT RAISE", error="Failed"),
    ),
    Mutation(
        "a process on a node sees the other leases of its user",
        Guarantee.AUTHORIZATION,
        (Edit(AccessScope.owns, "self.lease_id is not None", "False"),),
        Fails(_RELAYED, r"== \["),
    ),
    Mutation(
        "a process on a node has the rights of the pool manager's user",
        Guarantee.AUTHORIZATION,
        (Edit(Permissions._require_of_lease, "lease_id is None and changes", "False"),),
        Fails(_RELAYED, "waiting"),
    ),
    Mutation(
        "a client with any key gets through the handshake",
        Guarantee.IDENTITY,
        (Edit(Rendezvous.callback, "self._tokens.name_of(key.decode()) is not None", "True"),),
        Fails(test_hostile_peers.test_hostile_peers_neither_stop_nor_grow_the_pool, "the connection was kept"),
    ),
    Mutation(
        "the token of a job that is over admits its agent",
        Guarantee.IDENTITY,
        (Edit(AgentTokens.forget, "del self._by_key[expected.public]", "pass"),),
        Fails(test_agent.test_rendezvous_refuses_unknown_and_used_tokens, "refused in the handshake"),
    ),
    Mutation(
        "a second connection speaks for an agent that is there",
        Guarantee.IDENTITY,
        (Edit(Rendezvous._handle, "agent.route != route", "False"),),
        Fails(test_agent.test_rendezvous_refuses_unknown_and_used_tokens, "no other one speaks for the agent"),
    ),
    Mutation(
        "a process on a node reaches the pool manager as one of another lease",
        Guarantee.AUTHORIZATION,
        (Edit(ClusterService.relay_to, "self._leases.get(name)", "next(iter(self._leases.values()), None)"),),
        Fails(test_service.test_lease_is_granted_by_its_agent_and_runs_kernels, r"\['active', 'Forbidden'\]"),
    ),
    Mutation(
        "messages of agents have no limit",
        Guarantee.AVAILABILITY,
        (Edit(Rendezvous.open, "(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)", "(zmq.MAXMSGSIZE, -1)"),),
        Fails(test_hostile_peers.test_hostile_agent_breaks_nothing, "a message over the limit was taken"),
    ),
    Mutation(
        "the pool manager does not look at the connections of its agents",
        Guarantee.AVAILABILITY,
        (Edit(Rendezvous.steps, "self.limit_connections", "self.watch"),),
        Fails(
            test_service.test_connections_that_say_nothing_are_limited_and_do_not_stop_agents,
            "no more connections are made",
        ),
    ),
    Mutation(
        "connections to the rendezvous are not limited",
        Guarantee.AVAILABILITY,
        (Edit(Rendezvous.limit_connections, "len(self._connections) < most", "True"),),
        Fails(test_hostile_peers.test_hostile_peers_neither_stop_nor_grow_the_pool, "no more connections are made"),
    ),
)
