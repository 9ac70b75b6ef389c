"""The client that the Jupyter server, the kernel and the command line use.

It blocks, is safe to call from several threads because each call has a connection of its own, and imports no third
party package. It identifies the server before it sends anything: a socket of another user is refused. Asynchronous
callers wrap calls in :func:`asyncio.to_thread`.
"""

from __future__ import annotations

from .accounting import AccountingCalls
from .devices import DeviceCalls
from .leases import LeaseCalls, LeaseOptions
from .pool import PoolCalls
from .stream import EventStream
from .tokens import new_token, token_digest

__all__ = ["EventStream", "LeaseOptions", "PoolClient", "new_token", "token_digest"]


class PoolClient(PoolCalls, LeaseCalls, DeviceCalls, AccountingCalls):
    """Calls to the pool manager that serves ``path``.

    Every method raises the :class:`~fastgpu_jupyter.errors.FastGPUError` that the pool manager raised, or
    :class:`~fastgpu_jupyter.errors.PoolUnreachable` if there is no answer within ``timeout_s``.
    """
