"""``compat.jupyter_server`` against the installed version."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import Mock

import pytest
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from jupyter_server.services.kernels.websocket import KernelWebsocketHandler
from jupyter_server.services.sessions.sessionmanager import SessionManager

from fastgpu_jupyter.compat.jupyter_server import call_after_session_changes, send_messages_at_once


class _Kernels(MappingKernelManager):
    """A kernel manager that has every kernel."""

    def __contains__(self, kernel_id: object) -> bool:
        return True

    def kernel_model(self, kernel_id: str) -> Any:
        return {"id": kernel_id}

    def update_env(self, *, kernel_id: str, env: dict[str, str]) -> None:
        pass


def test_call_after_session_changes_reports_new_and_renamed_sessions() -> None:
    changes: list[tuple[str | None, str, str]] = []

    def changed(before: Any, after: Any) -> None:
        changes.append((None if before is None else before["path"], after["path"], after["kernel"]["id"]))

    async def start_and_rename() -> None:
        make_kernels: Any = _Kernels  # neither class has types
        make_sessions: Any = SessionManager
        sessions = make_sessions(kernel_manager=make_kernels(), database_filepath=":memory:")
        call_after_session_changes(sessions, changed)
        session = await sessions.create_session(path="a.ipynb", name="a", type="notebook", kernel_id="one")
        await sessions.update_session(session["id"], path="b.ipynb")
        await sessions.update_session(session["id"])
        sessions.close()

    asyncio.run(start_and_rename())
    assert changes == [(None, "a.ipynb", "one"), ("a.ipynb", "b.ipynb", "one"), ("b.ipynb", "b.ipynb", "one")]


def test_call_after_session_changes_of_another_session_manager_does_nothing() -> None:
    other = object()
    call_after_session_changes(other, lambda before, after: None)
    assert not hasattr(other, "save_session")


def test_send_messages_at_once_sets_the_websocket_before_it_is_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[object] = []
    monkeypatch.setattr(ZMQChannelsWebsocketConnection, "connect", lambda self: calls.append("connect"))
    settings: dict[str, Any] = {"kernel_websocket_connection_class": ZMQChannelsWebsocketConnection}
    send_messages_at_once(settings)
    handler = Mock(spec=KernelWebsocketHandler, set_nodelay=calls.append)
    handler.settings = settings
    of_handler: Any = KernelWebsocketHandler.kernel_websocket_connection_class
    connection_class = of_handler.fget(handler)
    assert issubclass(connection_class, ZMQChannelsWebsocketConnection)
    connection_class.connect(Mock(spec=connection_class, websocket_handler=handler))
    assert calls == [True, "connect"]
