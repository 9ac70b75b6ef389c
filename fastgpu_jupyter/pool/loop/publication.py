"""What follows a commit: its effects begin, observers of the state are updated, and changes are published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from ...core.model import effects as fx
from ...core.model.entities import State
from ...core.model.events import Event
from ..protocols import ChangePublisher, CommitObserver, EffectSink
from .changes import LeaseDeviceTracker, changes_of


class CommitPublisher:
    """Passes durable events on to the rest of the pool manager."""

    def __init__(
        self, state: State, effects: EffectSink, observers: Sequence[CommitObserver], changes: ChangePublisher
    ) -> None:
        self._effects = effects
        self._observers = observers
        self._changes = changes
        self._lease_devices = LeaseDeviceTracker(state)

    def publish(self, state: State, events: Sequence[Event]) -> None:
        """Pass on ``events``, which are durable; ``state`` is the one after them."""
        for effect in fx.effects(state, events):
            self._effects.run(effect)
        if events:
            lease_ids = {getattr(event, "lease_id", None) for event in events} - {None}
            self._update_observers(state, cast("set[str]", lease_ids))
            self._changes.publish(self._lease_devices.update(changes_of(events, state), state))

    def publish_recovered(self, state: State) -> None:
        """Update all observers and begin the outstanding effects of ``state``, which was recovered from the journal."""
        self.publish_reloaded(state)
        for effect in list(fx.outstanding(state)):
            self._effects.run(effect)

    def publish_reloaded(self, state: State) -> None:
        """Update all observers after ``state`` was read from the journal again."""
        self._update_observers(state, list(state.leases))

    def publish_missed(self, state: State) -> None:
        """Begin all effects of ``state``: it has events whose write was reported as failed, though it was done."""
        ended = (fx.UnwatchHolder(lease.id) for lease in state.leases.values() if lease.ended_at is not None)
        for effect in [*ended, *fx.outstanding(state)]:
            self._effects.run(effect)

    def _update_observers(self, state: State, lease_ids: Iterable[str]) -> None:
        for observer in self._observers:
            observer.update(state, lease_ids)
