"""Who may call the REST interface: every route, without a login and with an authorizer that says no."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

import fastgpu_jupyter.server
from fastgpu_jupyter.server.handlers.pool import UnknownHandler
from fastgpu_jupyter.server.routes import routes
from fastgpu_jupyter.wire.interfaces.jupyter import OPERATIONS
from tests.helpers import PoolProcess, ServerProcess
from tests.server.conftest import Running

SERVER = Path(fastgpu_jupyter.server.__file__).parent

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: (method, path) -> (action, resource): the whole interface.
EXPECTED = {
    ("GET", "pool"): ("read", "fastgpu:pool"),
    ("GET", "devices"): ("read", "fastgpu:devices"),
    ("GET", "leases"): ("read", "fastgpu:leases"),
    ("GET", "queue"): ("read", "fastgpu:leases"),
    ("GET", "leases/0123456789abcdef"): ("read", "fastgpu:leases"),
    ("GET", "leases/0123456789abcdef/history"): ("read", "fastgpu:leases"),
    ("GET", "devices/SIM-0-A100-80GB/history"): ("read", "fastgpu:devices"),
    ("DELETE", "leases/0123456789abcdef"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/park"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/resume"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/resize"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/migrate"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/pin"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/snooze"): ("write", "fastgpu:leases"),
    ("GET", "leases/0123456789abcdef/advice"): ("read", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/advice/silence"): ("write", "fastgpu:leases"),
    ("PUT", "intents/00000000-0000-4000-8000-000000000000"): ("write", "fastgpu:leases"),
    ("POST", "kernels/00000000-0000-4000-8000-000000000000/lease"): ("write", "fastgpu:leases"),
    ("POST", "requests/00000000-0000-4000-8000-000000000000"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/budget"): ("write", "fastgpu:leases"),
    ("POST", "leases/0123456789abcdef/cpu_meanwhile"): ("write", "fastgpu:leases"),
    ("GET", "sizes"): ("read", "fastgpu:leases"),
    ("GET", "kept_kernels"): ("read", "fastgpu:leases"),
    ("DELETE", "kept_kernels/00000000-0000-4000-8000-000000000000"): ("write", "fastgpu:leases"),
    ("GET", "quota"): ("read", "fastgpu:leases"),
    ("GET", "spending"): ("read", "fastgpu:leases"),
    ("GET", "statements/2026-11.csv"): ("read", "fastgpu:leases"),
    ("GET", "jobs"): ("read", "fastgpu:jobs"),
    ("GET", "jobs/usage"): ("read", "fastgpu:jobs"),
    ("POST", "jobs/prune"): ("write", "fastgpu:jobs"),
    ("POST", "jobs/17/cancel"): ("write", "fastgpu:jobs"),
    ("POST", "jobs/17/rerun"): ("write", "fastgpu:jobs"),
    ("GET", "jobs/17/log"): ("read", "fastgpu:jobs"),
    ("GET", "jobs/17/explanation"): ("read", "fastgpu:jobs"),
    ("GET", "jobs/17/result"): ("read", "fastgpu:jobs"),
    ("GET", "jobs/17/result/outputs/0"): ("read", "fastgpu:jobs"),
    ("GET", "jobs/17/result/file"): ("read", "fastgpu:jobs"),
    ("GET", "jobs/17/result/notebook"): ("read", "fastgpu:jobs"),
    ("GET", "events"): ("read", "fastgpu:events"),
    ("GET", "nothing"): ("read", "fastgpu:pool"),
}

AUTHORIZER = """
import json, os
from jupyter_server.auth import Authorizer

class Denying(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        if not handler.request.path.startswith("/fastgpu/"):
            return True
        with open(os.environ["ASKED"], "a") as file:
            file.write(json.dumps([action, resource]) + "\\n")
        return False
"""


def decorated() -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every HTTP method of every class in the server's modules."""
    verbs = ("get", "head", "post", "put", "patch", "delete")
    return [
        (f"{path.name}:{node.name}.{item.name}", item)
        for path in sorted(SERVER.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Handler")
        for item in node.body
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name in verbs
    ]


def test_handler_methods_are_authenticated_and_authorized_explicitly() -> None:
    for name, method in decorated():
        first, second = method.decorator_list
        assert ast.unparse(first) == "web.authenticated", name
        # The bare form keeps the action and the resource of the first request that it ever saw.
        assert isinstance(second, ast.Call), name
        assert ast.unparse(second.func) == "authorized", name
        assert sorted(keyword.arg or "" for keyword in second.keywords) == ["action", "resource"], name


def test_routes_match_the_expected_interface() -> None:
    """Each path of the interface has one pattern besides that of unknown paths, and its handler has those methods."""
    *table, (unknown, handler) = routes("/")
    assert handler is UnknownHandler
    found = {(method, f"/fastgpu/api/{path}") for method, path in EXPECTED}
    for pattern, handler in table:
        paths = {path for _, path in found if re.fullmatch(pattern, path)}
        assert len(paths) == 1, pattern
        found -= {(method, path) for path in paths for method in METHODS if method.lower() in vars(handler)}
    assert found == {("GET", "/fastgpu/api/nothing")}
    assert re.fullmatch(unknown, "/fastgpu/api/nothing")


def test_openapi_operations_match_the_expected_interface() -> None:
    examples = {
        "lease_id": "0123456789abcdef",
        "device_id": "SIM-0-A100-80GB",
        "kernel_id": "00000000-0000-4000-8000-000000000000",
        "month": "2026-11",
        "job_id": 17,
        "index": 0,
    }
    documented = {(one.method, one.path.removeprefix("/").format(**examples)) for one in OPERATIONS}
    assert documented == set(EXPECTED) - {("GET", "nothing")}


@pytest.mark.slow
def test_routes_without_login_are_forbidden(running: Running) -> None:
    jupyter = running.jupyter
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        for path in {path for _, path in EXPECTED}:
            for token in (None, "wrong"):
                status, _ = jupyter.call(method, f"fastgpu/api/{path}", token=token)
                assert status == 403, (method, path)


@pytest.mark.slow
def test_routes_with_a_denying_authorizer_are_forbidden(
    pool: PoolProcess, jupyter: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = jupyter.folder / "asked"
    monkeypatch.setenv("ASKED", str(asked))
    (jupyter.folder / "config" / "jupyter_server_config.py").write_text(
        f"{AUTHORIZER}\nc = get_config()\nc.ServerApp.authorizer_class = Denying\n"
    )
    jupyter.start()
    for (method, path), expected in EXPECTED.items():
        asked.unlink(missing_ok=True)
        status, answer = jupyter.call(method, f"fastgpu/api/{path}")
        assert status == 403
        assert answer["code"] == "http_403"
        assert [tuple(json.loads(line)) for line in asked.read_text().splitlines()] == [expected]


@pytest.mark.slow
def test_errors_of_all_kinds_have_one_shape(running: Running) -> None:
    jupyter = running.jupyter
    calls: list[tuple[str, str, Any, int, str]] = [
        ("GET", "leases/0123456789abcdef", None, 404, "not_found"),
        ("DELETE", "leases/0123456789abcdef", None, 404, "not_found"),
        ("GET", "leases/0123456789abcdef/history", None, 404, "not_found"),
        ("GET", "devices/SIM-0-A100-80GB/history?resolution=2s", None, 400, "invalid_request"),
        ("GET", "devices/SIM-0-A100-80GB/history?since=now", None, 400, "invalid_request"),
        ("GET", "nothing", None, 404, "http_404"),
        ("POST", "leases/0123456789abcdef/park", {}, 404, "not_found"),
        ("POST", "leases/0123456789abcdef/resume", None, 404, "not_found"),
        ("POST", "leases/0123456789abcdef/pin", {"pinned": True}, 404, "not_found"),
        ("POST", "leases/0123456789abcdef/pin", {"pinned": "yes"}, 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/pin", None, 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/pin", [1], 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/cpu_meanwhile", {"on": True}, 404, "not_found"),
        ("POST", "leases/0123456789abcdef/cpu_meanwhile", {"on": 1}, 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/budget", {}, 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/budget", {"budget_micro": True}, 400, "invalid_request"),
        ("GET", "sizes?lease_id=0123456789abcdef", None, 404, "not_found"),
        ("GET", "sizes?unit=cores", None, 400, "invalid_request"),
        ("GET", "sizes?model=%3A", None, 400, "invalid_request"),
        ("GET", "leases/..", None, 400, "invalid_request"),
        ("GET", "leases/%2e%2E", None, 400, "invalid_request"),
        ("DELETE", "leases/..%2Fpool", None, 400, "invalid_request"),
        ("GET", "leases/%FF", None, 400, "http_400"),
        ("POST", "leases/../park", {}, 400, "invalid_request"),
        ("GET", "leases/" + 200 * "x", None, 400, "invalid_request"),
        ("GET", "devices/../history", None, 400, "invalid_request"),
        ("GET", "devices/a%20b/history", None, 400, "invalid_request"),
        ("GET", "leases/0123456789abcdef/history?since=%FF", None, 400, "http_400"),
        ("GET", "leases/0123456789abcdef/history?resolution=%FF", None, 400, "http_400"),
        ("GET", f"leases/0123456789abcdef/history?since={5000 * '9'}", None, 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/resize", b"\xff\xfe", 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/resize", b'{"size": "\xff"}', 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/resize", b'{"size": "\\ud800"}', 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/pin", b"{", 400, "invalid_request"),
        ("POST", "leases/0123456789abcdef/pin", b"[" * 30_000, 400, "invalid_request"),
        ("GET", "leases/0123456789abcdef/park", None, 405, "http_405"),
        ("POST", "pool", {}, 405, "http_405"),
        ("DELETE", "leases/0123456789abcdef", {"a": "x" * 70_000}, 413, "http_413"),
    ]
    for method, path, body, status, code in calls:
        got, answer = jupyter.call(method, f"fastgpu/api/{path}", body)
        assert (got, answer["code"]) == (status, code)
        assert set(answer) == {"message", "code", "detail"}
        assert answer["message"]
