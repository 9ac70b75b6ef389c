"""Private parts of ``jupyter_server``."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from concurrent.futures import Future
from contextlib import suppress
from functools import wraps
from typing import Any

from jupyter_server.gateway.managers import GatewayMappingKernelManager
from jupyter_server.prometheus.metrics import KERNEL_CURRENTLY_RUNNING_TOTAL
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyter_server.services.kernels.kernelmanager import MappingKernelManager
from tornado.web import HTTPError

#: The model of a session before (None: it is new) and after a change.
SessionChanged = Callable[[Mapping[str, Any] | None, Mapping[str, Any]], None]


def call_after_session_changes(session_manager: Any, changed: SessionChanged) -> None:
    """Call ``changed`` after each session that ``session_manager`` saves or updates, as when a notebook is renamed.

    There is no event for that, and a subclass of the session manager would exclude one that the user configured: the
    public methods of this object are wrapped. A session manager without them is left as it is.
    """
    save, update = getattr(session_manager, "save_session", None), getattr(session_manager, "update_session", None)
    if save is None or update is None:
        return

    @wraps(save)
    async def save_and_call(*arguments: Any, **named: Any) -> Any:
        model = await save(*arguments, **named)
        if isinstance(model, Mapping):
            changed(None, model)
        return model

    @wraps(update)
    async def update_and_call(session_id: str, **named: Any) -> Any:
        before = await session_manager.get_session(session_id=session_id)
        answer = await update(session_id, **named)
        changed(before, await session_manager.get_session(session_id=session_id))
        return answer

    session_manager.save_session, session_manager.update_session = save_and_call, update_and_call


def can_adopt(kernel_manager: Any) -> bool:
    """Return whether the server's kernel manager runs kernels itself, as opposed to those of a gateway."""
    return isinstance(kernel_manager, MappingKernelManager) and not isinstance(
        kernel_manager, GatewayMappingKernelManager
    )


async def register_running_kernel(kernel_manager: Any, kernel_id: str, manager: Any, execution_state: str) -> None:
    """Add the manager of a kernel that runs already to the server's kernels, as after a launch.

    ``MappingKernelManager`` has no public method for it: its activity is watched, it is culled, and it is removed when
    it has died.
    """
    kernel_manager._kernels[kernel_id] = manager  # noqa: SLF001
    kernel_manager._kernel_connections[kernel_id] = 0  # noqa: SLF001
    manager.execution_state, manager.reason = execution_state, ""
    await kernel_manager._finish_kernel_start(kernel_id)  # noqa: SLF001
    KERNEL_CURRENTLY_RUNNING_TOTAL.labels(type=manager.kernel_name).inc()
    if not kernel_manager._initialized_culler:  # noqa: SLF001
        kernel_manager.initialize_culler()


def set_kernel_info(manager: Any, info: Mapping[str, Any]) -> None:
    """Store the kernel's reply to a ``kernel_info_request``, so that websockets do not ask for it.

    They ask on the shell channel, where the request waits until the cell that runs has ended, and open after the reply.
    """
    future: Future[Any] = Future()
    future.set_result(dict(info))
    manager._kernel_info_future = future  # noqa: SLF001


async def restore_session(
    session_manager: Any, session_id: str, kernel_id: str, *, path: str | None, name: str | None, type_: str | None
) -> None:
    """Create a session of an earlier server under its id, unless its database has been kept.

    A session manager that other extensions bring may do more than save it, in ``create_session``. That has no parameter
    for the id, which it takes from a public method. Where it fails, as for a notebook that is gone, it is only saved.
    """
    with suppress(HTTPError):
        await session_manager.get_session(session_id=session_id)
        return
    new_session_id = session_manager.new_session_id

    def take_id() -> str:
        session_manager.new_session_id = new_session_id
        return session_id

    session_manager.new_session_id = take_id
    try:
        await session_manager.create_session(path=path, name=name, type=type_, kernel_id=kernel_id)
        return
    except Exception:
        logging.getLogger(__name__).exception("The session %s is saved only", session_id)
    finally:
        session_manager.new_session_id = new_session_id
    with suppress(HTTPError):
        await session_manager.get_session(session_id=session_id)
        return
    await session_manager.save_session(session_id, path=path, name=name, type=type_, kernel_id=kernel_id)


def send_messages_at_once(settings: MutableMapping[str, Any]) -> None:
    """Let the websockets of kernels send small messages without a delay; ``settings`` are those of the web application.

    Without that, the system holds the second of two messages of a kernel back until the browser has confirmed the
    first one, which takes up to 40 milliseconds. tornado's default is set again when a websocket opens.
    """
    configured: Any = settings.get("kernel_websocket_connection_class")
    if configured is None:
        return

    def connect(self: Any) -> Any:
        self.websocket_handler.set_nodelay(True)
        return configured.connect(self)

    # With the name of its base class, so that the configuration of that is its own, too.
    settings["kernel_websocket_connection_class"] = type(configured)(
        configured.__name__, (configured,), {"connect": connect}
    )


def call_before_listening(server: Any, function: Callable[[], None]) -> None:
    """Call ``function`` when all extensions of ``server`` are loaded, and before it accepts connections.

    There is no event for that: the public method of this object that binds the port is wrapped.
    """
    init_httpserver = server.init_httpserver

    @wraps(init_httpserver)
    def call_and_init() -> None:
        function()
        init_httpserver()

    server.init_httpserver = call_and_init


def has_stock_websockets(server: Any) -> bool:
    """Return whether the websockets of kernels are those of Jupyter Server, which call ``connect_iopub``."""
    return issubclass(server.kernel_websocket_connection_class, ZMQChannelsWebsocketConnection)
