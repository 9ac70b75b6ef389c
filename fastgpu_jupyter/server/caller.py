"""Who has sent a request to the Jupyter server, also where its code is far from the handler.

The provisioner imports this module, also in programs without a server, which do not import ``jupyter_server``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.base.handlers import JupyterHandler

#: Every request with the server's own token and no cookie gets another anonymous user.
ANONYMOUS = "anonymous"


def caller_of(handler: JupyterHandler) -> str:
    """Return a name of the user who has sent the request of ``handler``; it is the same in each of their requests."""
    if handler.token_authenticated and handler.get_cookie(handler.identity_provider.get_cookie_name(handler)) is None:
        return ANONYMOUS
    return f"user:{handler.current_user.username}"


def current_caller() -> str | None:
    """Return the caller of the request that this coroutine serves; None if it serves none."""
    from jupyter_server.base.call_context import CallContext
    from jupyter_server.base.handlers import JupyterHandler

    handler = CallContext.get(CallContext.JUPYTER_HANDLER)
    return caller_of(handler) if isinstance(handler, JupyterHandler) and handler.current_user else None
