"""What crosses a process boundary: schemas, interfaces, the client, and how to find or start a pool manager.

The client, and the modules beside it, import no third-party package but ``jupyter_core``, because a kernel imports them
and must start as fast as without them. :mod:`.schemas`, :mod:`.interfaces` and :mod:`.openapi` import ``msgspec``.
"""
