"""The interface is what its document says: no route, status or field more, and none less."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import threading
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, get_type_hints

import jsonschema
import msgspec
import pytest

from fastgpu_jupyter.errors import FastGPUError, by_code
from fastgpu_jupyter.pool.http.limits import ServiceLimits
from fastgpu_jupyter.pool.http.routes import application
from fastgpu_jupyter.wire import openapi, schemas
from fastgpu_jupyter.wire.client import new_token, token_digest
from fastgpu_jupyter.wire.interfaces.operation import Operation
from fastgpu_jupyter.wire.interfaces.pool import OPERATIONS
from tests.pool.conftest import Serve
from tests.pool.served import ServedPool
from tests.views import device_of, value_of
from tests.waiting import wait_until

DOCUMENT = openapi.document()
EXAMPLES = {
    "lease_id": "0123456789abcdef",
    "device_id": "SIM-0-A100-80GB",
    "tenant": "ann",
    "reservation_id": "r1",
    "group": "lab",
    "month": "2026-11",
}
OPERATION_NAME = attrgetter("name")
#: Of each operation and mode; ``make test-long`` tries more.
EXAMPLES_MAX = int(os.environ.get("FASTGPU_OPENAPI_EXAMPLES", "10"))
JSON: dict[str, Any] = {"Content_Type": "application/json"}


def validate(instance: Any, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(instance)


# -- the document -----------------------------------------------------------------------------------------------------


def test_openapi_document_matches_the_routes(serve: Serve) -> None:
    rules = application(serve().service).wildcard_router.rules
    served = {(rule.matcher.regex, method) for rule in rules for method in rule.target_kwargs["routes"]}  # type: ignore[attr-defined]
    for operation in OPERATIONS:
        path = operation.path.format(**EXAMPLES)
        found = [route for route in served if route[0].fullmatch(path) and route[1] == operation.method]
        assert len(found) == 1, operation.name
        served -= set(found)
    assert served == set()


def test_openapi_document_is_served(serve: Serve) -> None:
    assert serve().raw("GET", "/v1/openapi.json").json == DOCUMENT


@pytest.mark.slow
def test_openapi_schemas_are_valid_and_references_resolve() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    references = set(re.findall(r"#/components/schemas/(\w+)", msgspec.json.encode(DOCUMENT).decode()))
    assert references <= set(DOCUMENT["components"]["schemas"])


def test_openapi_path_parameters_are_described() -> None:
    for operation in OPERATIONS:
        named_in_path = set(re.findall(r"{(\w+)}", operation.path))
        assert named_in_path == {one.name for one in operation.parameters if one.where == "path"}
        for parameter in operation.parameters:
            if parameter.where == "path":
                assert re.fullmatch(parameter.schema["pattern"], EXAMPLES[parameter.name])


def test_openapi_error_statuses_have_texts() -> None:
    statuses = {error.status for error in by_code().values() if error is not FastGPUError}
    assert statuses - set(openapi._TEXTS) == {500, 503, 504}  # never an answer of this process to a request


# -- the answers ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_answers_match_the_openapi_document(serve: Serve) -> None:
    pool = serve("2xA100-80GB")
    token = new_token()
    held = pool.client.request("half", notebook="a.ipynb", token=token)
    pool.client.request("2xany", token=new_token())
    bodies: dict[str, tuple[bytes, dict[str, str]]] = {
        "/v1/leases": (b'{"size": "eighth", "token_sha256": "%s"}' % token_digest(token).encode(), {}),
        "/v1/leases/{lease_id}/bind": (b'{"pid": null}', {"Authorization": f"Bearer {token}"}),
        "/v1/leases/{lease_id}/budget": (b'{"budget_micro": 1000000}', {}),
        "/v1/tenants/{tenant}/budget": (b'{"budget_micro": null, "policy": "stop"}', {}),
        "/v1/reservations/{reservation_id}": (b'{"tenant": "ann", "size": "half", "plan": "year"}', {}),
        "/v1/leases/{lease_id}/resize": (b'{"size": "quarter"}', {}),
        "/v1/leases/{lease_id}/transfer": (b'{"tenant": "bob"}', {}),
        "/v1/devices/{device_id}": (b'{"drained": true}', {}),
        "/v1/devices/{device_id}/mig": (b'{"on": false}', {}),
        "/v1/driver": (b'{"used": true}', {}),
        "/v1/leases/{lease_id}/cpu_meanwhile": (b'{"on": false}', {}),
        "/v1/leases/{lease_id}/pin": (b'{"pinned": true}', {}),
        "/v1/leases/{lease_id}/snooze": (b'{"for_ms": 1800000}', {}),
        "/v1/leases/{lease_id}/advice/silence": (b'{"silenced": true}', {}),
        "/v1/leases/{lease_id}/activity": (b'{"busy": true}', {"Authorization": f"Bearer {token}"}),
        "/v1/leases/{lease_id}/rename": (b'{"notebook": "b.ipynb"}', {"Authorization": f"Bearer {token}"}),
        "/v1/leases/{lease_id}/libraries": (
            b'{"memory_bytes": 1, "needs_restart": ["JAX"]}',
            {"Authorization": f"Bearer {token}"},
        ),
        "/v1/leases/{lease_id}/kernel": (b'{"argv": ["a"]}', {"Authorization": f"Bearer {token}"}),
        "/v1/leases/{lease_id}/kernel/signal": (b'{"signum": 2}', {"Authorization": f"Bearer {token}"}),
        "/v1/groups/{group}": (b'{"weight": 200}', {}),
        "/v1/standby": (b'{"kernels": [{"pid": 1, "start_time": 1, "memory_bytes": null}], "wanted_bytes": 1}', {}),
        "/v1/tenants/{tenant}": (b'{"weight": 200, "limit_milli": null}', {}),
    }
    path = {**EXAMPLES, "lease_id": held["id"], "device_id": str(device_of(held))}
    # What ends the lease comes last.
    for operation in sorted(OPERATIONS, key=lambda operation: operation.method == "DELETE"):
        if isinstance(operation.answer, str):
            continue  # a stream, or text
        body, headers = bodies.get(operation.path, (None, {})) if operation.body else (None, {})
        wait_until(lambda: pool.client.lease(held["id"])["state"] not in ("parking", "resuming"), "it was moved")
        answer = pool.raw(operation.method, operation.path.format(**path), body, **headers, **(JSON if body else {}))
        if operation.name == "DELETE /v1/devices/{device_id}":  # it is there, and only a missing one is given up
            assert answer.status == 409
            continue
        if operation.path.endswith(("/kernel", "/kernel/signal")):  # its kernel is not on another host
            assert answer.status == (409 if body else 403)
            continue
        if operation.path.endswith("/end_idle"):  # it is not idle
            assert answer.status == 409
            continue
        assert answer.status == operation.status, (operation.name, answer.body)
        assert answer.headers["Content-Type"] == "application/json"
        assert "Etag" not in answer.headers
        if operation.answer is not dict:
            msgspec.convert(answer.json, operation.answer)
            assert set(answer.json) == set(get_type_hints(operation.answer)), operation.name
        if operation.path.endswith("/migrate"):
            wait_until(lambda: pool.client.lease(str(held["id"]))["state"] == "active", "it is where it went")


def test_stream_messages_match_the_openapi_document(serve: Serve) -> None:
    pool = serve()
    with contextlib.closing(pool.client.events()) as stream:
        messages = iter(stream)
        snapshot = next(messages)
        lease = pool.client.request("full", token=new_token())
        changed = next(message for message in messages if message["type"] == "changed")
    with contextlib.closing(pool.client.events(lease_id=lease["id"], since=changed["seq"])) as stream:
        again = next(iter(stream))
    for message, shape in (
        (snapshot, schemas.SnapshotMessage),
        (changed, schemas.ChangedMessage),
        (again, schemas.ChangedMessage),
    ):
        validate(message, openapi.reference(shape))


@pytest.mark.parametrize("operation", OPERATIONS, ids=OPERATION_NAME)
def test_unknown_method_is_refused_with_the_allowed_methods(serve: Serve, operation: Operation) -> None:
    pool = serve()
    path = operation.path.format(**EXAMPLES)
    there_are = {one.method for one in OPERATIONS if one.path == operation.path}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - there_are:
        refused = pool.raw(method, path)
        assert refused.status == 405
        assert set(refused.headers["Allow"].split(", ")) == there_are
        validate(refused.json, openapi.reference(schemas.ProblemView))


def test_idempotency_key_applies_to_one_operation(serve: Serve) -> None:
    """The same key with another call is another call, and not an answer that has nothing to do with it."""
    pool = serve()
    key: dict[str, Any] = {"Idempotency_Key": "once"}
    lease = {"size": "full", "token_sha256": "0" * 64}
    first = pool.raw("POST", "/v1/leases", msgspec.json.encode(lease), **key, **JSON).json
    assert pool.raw("PUT", "/v1/tenants/jo", b'{"weight": 7}', **key, **JSON).json["weight"] == 7
    assert value_of(pool.raw("DELETE", f"/v1/leases/{first['id']}", **key).json["end_reason"]) == "released"
    assert pool.raw("POST", "/v1/leases", msgspec.json.encode(lease), **key, **JSON).json["id"] == first["id"]


# -- by a machine that tries everything -------------------------------------------------------------------------------


class Bridge:
    """A port of this machine behind which the pool's socket is, for a tool that speaks TCP only."""

    def __init__(self, pool: ServedPool) -> None:
        self._pool = pool
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, self._pool.connect() as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, (client, server))
            ready.register(server, selectors.EVENT_READ, (server, client))
            while True:
                for key, _ in ready.select(10):
                    source, target = key.data
                    data = source.recv(2**16)
                    if not data:
                        return
                    target.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServedPool, str]]:
    """One pool for all operations, as what one leaves behind is what the next meets."""
    limits = ServiceLimits(requests_per_s_per_tenant=1e6, leases_max_per_tenant=200)
    pool = ServedPool(tmp_path_factory.mktemp("tried"), "4xA100-80GB", limits)
    bridge = Bridge(pool)
    yield pool, bridge.url
    bridge.close()
    pool.stop()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("with_token", [False, True], ids=["without token", "with token"])
@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.path != "/v1/events"], ids=OPERATION_NAME)
def test_generated_requests_are_answered_as_documented(
    tried: tuple[ServedPool, str], operation: Operation, mode: str, with_token: bool
) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    if mode == "negative" and not (operation.body or operation.parameters):
        pytest.skip("there is nothing to get wrong")
    pool, url = tried
    token = new_token()
    pool.client.use_driver(used=True)  # another operation may have released it
    lease = pool.client.request("eighth", token=token)
    known = {**EXAMPLES, "lease_id": lease["id"], "device_id": str(pool.client.devices()[0]["id"])}
    described = schemathesis.openapi.from_dict(DOCUMENT)[operation.path][operation.method]
    count = 0

    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=described.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
    def attempt(case: Any) -> None:
        nonlocal count
        count += 1
        if mode == "positive":
            if count % 2:  # what is there, and otherwise what is not
                case.path_parameters = {name: known[name] for name in case.path_parameters or {}}
            if case.query.get("wait_ms", 0) > 20:
                case.query["wait_ms"] = 20
        case.call_and_validate(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if with_token else {},
            # That a size can be written does not mean that there is such a device.
            excluded_checks=[positive_data_acceptance],
            timeout=20,
        )

    attempt()
    pool.client.release(lease["id"])
    assert pool.client.pool()["accepting"], pool.client.pool()["message"]
