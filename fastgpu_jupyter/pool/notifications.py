"""The notifier: services publish changes to it, and the readers of the event stream subscribe to it."""

from __future__ import annotations

from collections.abc import Callable

from .protocols import Changes


class ChangeNotifier:
    """A list of listeners, each isolated from the errors of the others."""

    def __init__(self) -> None:
        self._listeners: list[tuple[Callable[[Changes], None], Callable[[Exception], object]]] = []

    def subscribe(self, listener: Callable[[Changes], None], on_error: Callable[[Exception], object]) -> None:
        """Call ``listener`` with all changes from now on, and ``on_error`` with what it raises."""
        self._listeners.append((listener, on_error))

    def publish(self, changes: Changes) -> None:
        """Report ``changes`` to every listener; an error of one keeps nothing from the others."""
        for listener, on_error in self._listeners:
            try:
                listener(changes)
            except Exception as error:  # noqa: BLE001 (the commit is durable, whatever a listener makes of it)
                on_error(error)

    def publish_pool(self) -> None:
        """Report that the pool manager itself changed, such as whether it grants."""
        self.publish(Changes(pool=True))

    def publish_lease(self, lease_id: str) -> None:
        """Report that something other than the state of a lease changed, such as its device access."""
        self.publish(Changes(frozenset({lease_id})))
