"""The options that a new request or a lease has: each size with its rate and what choosing it does now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from ...errors import CallerError, Message, NeedsRestart
from ..lease import request, resize
from ..model import commands as c
from ..model import events as e
from ..model.entities import (
    Device,
    Holder,
    Instant,
    Lease,
    LeaseRequest,
    MechanismCapability,
    State,
    requirements_of,
)
from ..model.events import Event
from ..model.lifecycle import HOLDING_CAPACITY, WITHOUT_CAPACITY, LeaseState
from ..model.size import Size, SizeEffect, SizeUnit
from ..placement import device_share, eligibility, mechanisms
from ..placement.device_share import Devices
from ..scheduling.expected_decision import ExpectedDecision
from ..scheduling.queue_report import Estimate, QueueReport, explain
from .kinds import DeviceKinds, ModelCount
from .steps import steps

T = TypeVar("T")
#: Events after which there may be other kinds of device.
_CHANGE_KINDS = {e.HostAppeared, e.DeviceAppeared, e.DeviceVanished}
#: For how long an answer holds where no event came, in ms: leases become idle with time.
FRESH_MS = 1000
#: How many answers are kept.
ANSWERS_MAX = 256
#: The id of a request that does not exist yet; no lease has it.
_NEW = ""
_NO_HOLDER = Holder("", 0, 0, 0, 0)


class SizeChoice(NamedTuple):
    """One size, what it is, and what choosing it does."""

    size: Size
    model: str | None  #: ``None`` where several models could serve it
    memory_bytes: int  #: of all its devices together, at least
    rate_micro_per_hour: int | None  #: ``None`` where it is not known yet, because devices differ
    capability: MechanismCapability | None  #: of the mechanism that would serve it; ``None`` likewise
    effect: SizeEffect
    reason: Message | None = None
    position: int | None = None
    estimate: Estimate | None = None


class SizeChoices(NamedTuple):
    """All sizes that a new request or a lease can have, ordered by memory."""

    applied: Size | None
    requested: Size | None
    models: Sequence[ModelCount]
    choices: list[SizeChoice]


class _Effect(NamedTuple):
    """What choosing a size does, and the devices where they are known."""

    effect: SizeEffect
    reason: Message | None = None
    devices: Devices | None = None
    position: int | None = None


class DecisionSource(Protocol):
    """Where the report asks what would become of leases if they waited now; a pool."""

    def expected_decisions(self, lease: Lease, at: Instant, devices: State, /) -> Callable[[Lease], ExpectedDecision]:
        """Return what tells it of ``lease`` with other sizes; valid until the state changes.

        ``devices`` is a state with a device of each kind.
        """


class _Queue:
    """What becomes of one place in the queue with the sizes that are asked about."""

    def __init__(self, report: QueueReport, pool: DecisionSource, lease: Lease, devices: State, at: Instant) -> None:
        self._report, self._lease, self._devices = report, lease, devices
        self._expected_of = pool.expected_decisions(lease, at, devices)
        self._position: int | None = None  #: the same for all sizes

    def effect_of(self, lease: Lease) -> _Effect:
        """Return what becomes of the lease with another size."""
        expected = self._expected_of(lease)
        if expected.devices is not None:
            return _Effect(SizeEffect.NOW, devices=expected.devices)
        if self._position is None:
            self._position = self._report.position_of(self._lease)
        reason = self._report.reason_of(lease, has_room=expected.has_room, devices=self._devices)
        effect = SizeEffect.AFTER_PARKING if expected.parks else SizeEffect.QUEUED
        return _Effect(effect, explain(self._position, reason), position=self._position)


class SizeReport:
    """The options on the devices of ``state``; :meth:`update` follows every change of it."""

    def __init__(self, state: State, queue: QueueReport, pool: DecisionSource) -> None:
        self._state, self._queue, self._pool = state, queue, pool
        self._kinds: DeviceKinds | None = None
        self._answers: dict[object, SizeChoices] = {}  #: of the state as it is, while time has hardly passed
        self._answers_ms = 0

    def update(self, events: Iterable[Event]) -> None:
        """Follow ``events``, which have been applied to the state."""
        self._answers.clear()
        if any(type(event) in _CHANGE_KINDS for event in events):
            self._kinds = None

    def for_request(
        self, tenant: str, like: LeaseRequest, unit: SizeUnit, at: Instant, *, closed: Message | None = None
    ) -> SizeChoices:
        """Return the options of a request that is like another one but for the size, of which it keeps the models.

        ``closed``: why no request of the tenant is accepted at present, whatever its size.
        """
        compute = partial(self._for_request, tenant, like, unit, at, closed)
        return self._remembered((tenant, like, unit, str(closed)), at, compute)

    def for_lease(self, lease: Lease, unit: SizeUnit, used_bytes: int | None, at: Instant) -> SizeChoices:
        """Return the options of a lease; ``used_bytes``: its device memory in use, where that is known."""
        compute = partial(self._for_lease, lease, unit, used_bytes, at)
        return self._remembered((lease.id, unit, used_bytes), at, compute)

    def _remembered(self, key: object, at: Instant, compute: Callable[[], SizeChoices]) -> SizeChoices:
        """Return what was computed lately for the same question, or compute it: many browsers ask at once."""
        if not 0 <= at.ms - self._answers_ms < FRESH_MS or len(self._answers) >= ANSWERS_MAX:
            self._answers.clear()
        if not self._answers:
            self._answers_ms = at.ms
        if key not in self._answers:
            self._answers[key] = compute()
        return self._answers[key]

    def _for_request(
        self, tenant: str, like: LeaseRequest, unit: SizeUnit, at: Instant, closed: Message | None
    ) -> SizeChoices:
        state, kinds = self._state, self._current_kinds()
        view = kinds.view_of(state)

        def lease_of(size: Size) -> Lease:
            wanted = replace(like, profile=str(size), memory_bytes=None)
            return Lease(
                _NEW, tenant, wanted, _NO_HOLDER, "", state.arrivals + 1, at, state.generations, waiting_since=at
            )

        queue = _Queue(self._queue, self._pool, lease_of(like.size), view, at)

        def effect_of(size: Size) -> _Effect:
            lease = lease_of(size)
            if closed is not None:
                return _Effect(SizeEffect.UNAVAILABLE, closed)
            try:
                request.request_lease(view, c.RequestLease(_NEW, tenant, lease.request, _NO_HOLDER, ""), at)
            except CallerError as refusal:
                return _Effect(SizeEffect.UNAVAILABLE, refusal.message)
            return queue.effect_of(lease)

        sizes = steps(kinds.devices, unit, like.size)
        return SizeChoices(None, None, kinds.models, self._choices(sizes, like, effect_of, kinds.devices))

    def _for_lease(self, lease: Lease, unit: SizeUnit, used_bytes: int | None, at: Instant) -> SizeChoices:
        state, kinds = self._state, self._current_kinds()
        waits = lease.state in WITHOUT_CAPACITY
        view = state
        if waits:
            view = kinds.view_of(state)
            view.leases[lease.id] = lease
        place = lease
        if lease.state is LeaseState.PARKED:  # with its resume it goes to the end of the queue
            place = replace(lease, arrival=state.arrivals + 1, grants_before=state.generations)
        queue = _Queue(self._queue, self._pool, place, view, at) if waits else None
        held = device_share.devices_of(state, lease) if lease.state in HOLDING_CAPACITY else ()

        def effect_of(size: Size) -> _Effect:
            try:
                events = resize.resize_lease(view, c.ResizeLease(lease.id, str(size), used_bytes), at)
            except NeedsRestart as refusal:
                return _Effect(SizeEffect.NEEDS_RESTART, refusal.message)
            except CallerError as refusal:
                return _Effect(SizeEffect.UNAVAILABLE, refusal.message)
            if queue is None:
                deferred = any(isinstance(event, e.LeaseResizeDeferred) for event in events)
                deferred = deferred or (lease.resize_deferred is not None and size == lease.resize_deferred.size)
                return _Effect(SizeEffect.AFTER_PARKING if deferred else SizeEffect.NOW, devices=held or None)
            return queue.effect_of(replace(place, request=resize.request_of(lease, str(size))))

        size = lease.request.size
        requested = (lease.resize_deferred or lease.request).size
        of_kinds: Sequence[Sequence[Device]] = [held] if held else kinds.devices
        sizes = dict.fromkeys([*steps(of_kinds, unit, size), size, requested])
        choices = self._choices(sizes, lease.request, effect_of, of_kinds)
        return SizeChoices(size if held else None, requested, kinds.models, choices)

    def _current_kinds(self) -> DeviceKinds:
        if self._kinds is None:
            self._kinds = DeviceKinds(self._state)
        return self._kinds

    # -- what a size is -----------------------------------------------------------------------------------------------

    def _choices(
        self,
        sizes: Iterable[Size],
        like: LeaseRequest,
        effect_of: Callable[[Size], _Effect],
        kinds: Sequence[Sequence[Device]],
    ) -> list[SizeChoice]:
        choices = [self._choice(size, like, effect_of(size), kinds) for size in sizes]
        return sorted(choices, key=lambda choice: (choice.memory_bytes, choice.size.devices, str(choice.size)))

    def _choice(self, size: Size, like: LeaseRequest, found: _Effect, kinds: Sequence[Sequence[Device]]) -> SizeChoice:
        requirements = requirements_of(replace(like, profile=str(size), memory_bytes=None))
        matching = [kind[0] for kind in kinds if size.matches(kind[0].spec.model, kind[0].spec.memory_bytes)]
        serving = [one for one in matching if eligibility.could_serve(self._state, one, requirements)]
        examples = found.devices[:1] if found.devices else serving or matching
        estimate = None if found.position is None else self._queue.estimator.of(found.position)
        return SizeChoice(
            size,
            model=_only({one.spec.model for one in examples}),
            memory_bytes=min((device_share.memory_bytes(one, size) for one in examples), default=0) * size.devices,
            rate_micro_per_hour=_only({device_share.rate_of(size, one) * size.devices for one in examples}),
            capability=_only({mechanisms.choose(one.spec, requirements) for one in examples}),
            effect=found.effect,
            reason=found.reason,
            position=found.position,
            estimate=estimate,
        )


def _only(values: set[T]) -> T | None:
    """Return the value of a set of one, else ``None``."""
    return next(iter(values)) if len(values) == 1 else None
