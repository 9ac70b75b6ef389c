"""By which of its mechanisms a device serves a want, why by that one, and why by none.

A device says what each of its mechanisms promises (:class:`~core.model.entities.MechanismCapability`), the preferred
one first. The first that keeps everything that the want requires is taken. What no mechanism offers is refused with the
reason, never served by half.
"""

from __future__ import annotations

from functools import lru_cache

from ...errors import Message
from ..model.entities import (
    DeviceSpec,
    Enforcement,
    Isolation,
    LimitScope,
    LogicalGPU,
    Mechanism,
    MechanismCapability,
    Requirements,
)

#: What a mechanism promises where its driver says no more.
_USUAL = {
    Mechanism.EXCLUSIVE: MechanismCapability(Mechanism.EXCLUSIVE, Enforcement.HARDWARE),
    Mechanism.MIG: MechanismCapability(Mechanism.MIG, Enforcement.HARDWARE),
    Mechanism.MPS: MechanismCapability(Mechanism.MPS, Enforcement.USERSPACE, LimitScope.PROCESS, parkable=False),
    Mechanism.SHARED: MechanismCapability(Mechanism.SHARED, Enforcement.COOPERATIVE, resizable=True),
    Mechanism.SIMULATED: MechanismCapability(Mechanism.SIMULATED, Enforcement.NONE, resizable=True),
}
#: Mechanisms that give a lease all of its device, and those that give it a part.
_WHOLE = frozenset({Mechanism.EXCLUSIVE, Mechanism.MIG, Mechanism.SIMULATED})
_PART = frozenset(Mechanism) - {Mechanism.EXCLUSIVE}
#: Who must keep a part apart from others for each kind of isolation.
ENFORCED_BY = {
    Isolation.NONE: frozenset(Enforcement),
    Isolation.LIMITED: frozenset({Enforcement.HARDWARE, Enforcement.DRIVER}),
    Isolation.HARDWARE: frozenset({Enforcement.HARDWARE}),
}
_REASONS = {
    (Mechanism.EXCLUSIVE, Enforcement.HARDWARE): Message.of("mechanism.exclusive"),
    (Mechanism.MIG, Enforcement.HARDWARE): Message.of("mechanism.mig"),
    (Mechanism.MPS, Enforcement.USERSPACE): Message.of("mechanism.mps"),
    (Mechanism.MPS, Enforcement.COOPERATIVE): Message.of("mechanism.mps"),  # its processes do not come to the daemon
    (Mechanism.SHARED, Enforcement.DRIVER): Message.of("mechanism.shared_by_driver"),
    (Mechanism.SHARED, Enforcement.COOPERATIVE): Message.of("mechanism.shared_cooperative"),
    (Mechanism.SIMULATED, Enforcement.NONE): Message.of("mechanism.simulated"),
}


def capabilities_of(spec: DeviceSpec) -> tuple[MechanismCapability, ...]:
    """What the mechanisms of a device promise, the preferred one first."""
    return spec.capabilities or _usual(spec.mechanisms)


@lru_cache(maxsize=64)
def _usual(mechanisms: tuple[Mechanism, ...]) -> tuple[MechanismCapability, ...]:
    usual = tuple(_USUAL[mechanism] for mechanism in mechanisms if mechanism in _USUAL)
    # Whatever is shared can be had whole as well.
    return usual if _WHOLE.intersection(mechanisms) else (_USUAL[Mechanism.EXCLUSIVE], *usual)


def capability_of(spec: DeviceSpec, mechanism: Mechanism) -> MechanismCapability | None:
    """What a mechanism promises there; of one that is not offered any more, what is usual."""
    return next(
        (capability for capability in capabilities_of(spec) if capability.mechanism is mechanism), _USUAL.get(mechanism)
    )


def is_shareable(spec: DeviceSpec) -> bool:
    """Whether a lease can have a part of the device."""
    return any(capability.mechanism in _PART for capability in capabilities_of(spec))


def choose(spec: DeviceSpec, requirements: Requirements) -> MechanismCapability | None:
    """The mechanism that serves the want on that device; ``None`` where none keeps all that it requires."""
    able = _WHOLE if requirements.size.whole else _PART
    for capability in capabilities_of(spec):
        if capability.mechanism in able and _keeps(spec, capability, requirements):
            return capability
    return None


def _keeps(spec: DeviceSpec, capability: MechanismCapability, requirements: Requirements) -> bool:
    return (
        (requirements.size.whole or capability.enforcement in ENFORCED_BY[requirements.isolation])
        and not (requirements.parkable and not (spec.parkable and capability.parkable))
        and not (requirements.unpartitioned and not capability.parkable)  # what was parked comes back to what lets it
        and not (requirements.resizable and not _resizable(spec, capability, requirements))
    )


def _resizable(spec: DeviceSpec, capability: MechanismCapability, requirements: Requirements) -> bool:
    """Whether the lease can have another size while its kernel runs; of a whole device, less of it."""
    if requirements.size.devices > 1:
        return False
    return capability.resizable or (requirements.size.whole and any(other.resizable for other in capabilities_of(spec)))


def refusal(spec: DeviceSpec, requirements: Requirements) -> Message | None:
    """Why no mechanism of a device keeps what the want requires, as the end of a sentence; ``None`` where one does."""
    if choose(spec, requirements) is not None:
        return None
    able = _WHOLE if requirements.size.whole else _PART
    capabilities = [capability for capability in capabilities_of(spec) if capability.mechanism in able]
    if not capabilities:
        return Message.of("unfit.leased_whole", model=spec.model)
    if not requirements.size.whole and not any(
        capability.enforcement in ENFORCED_BY[requirements.isolation] for capability in capabilities
    ):
        if requirements.isolation is Isolation.LIMITED:
            return Message.of("unfit.isolation_cooperative", model=spec.model)
        return Message.of("unfit.isolation_software", model=spec.model)
    if requirements.parkable and not any(spec.parkable and capability.parkable for capability in capabilities):
        return Message.of("unfit.not_parkable", model=spec.model)
    if requirements.resizable and not any(_resizable(spec, capability, requirements) for capability in capabilities):
        return Message.of("unfit.not_resizable", model=spec.model)
    return Message.of("unfit.combination", model=spec.model, required=_required(requirements))


def _required(requirements: Requirements) -> tuple[str, ...]:
    required = [f"isolation={requirements.isolation.value}"] if requirements.isolation is not Isolation.NONE else []
    return tuple(required + ["parkable"] * bool(requirements.parkable) + ["resizable"] * bool(requirements.resizable))


def reason(gpu: LogicalGPU) -> Message | None:
    """Return why the lease has its mechanism."""
    return _REASONS.get((gpu.mechanism, gpu.enforcement))
