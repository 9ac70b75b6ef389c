"""The mechanism by which a device serves a request, the reason for it, and the reason where there is none.

A device has a capability for each of its mechanisms (:class:`~..model.entities.MechanismCapability`), the preferred one
first. The first that meets all requirements is chosen. A request that no mechanism can serve is refused with the
reason, never served in part.
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

#: The capability of a mechanism where its driver reports nothing else.
_DEFAULTS = {
    Mechanism.EXCLUSIVE: MechanismCapability(Mechanism.EXCLUSIVE, Enforcement.HARDWARE),
    Mechanism.MIG: MechanismCapability(Mechanism.MIG, Enforcement.HARDWARE),
    Mechanism.MPS: MechanismCapability(Mechanism.MPS, Enforcement.USERSPACE, LimitScope.PROCESS, parkable=False),
    Mechanism.SHARED: MechanismCapability(Mechanism.SHARED, Enforcement.COOPERATIVE, resizable=True),
    Mechanism.SIMULATED: MechanismCapability(Mechanism.SIMULATED, Enforcement.NONE, resizable=True),
}  # a device of an engine is not placed here
#: Mechanisms by which a lease has a whole device, and those by which it has a part.
_WHOLE = frozenset({Mechanism.EXCLUSIVE, Mechanism.MIG, Mechanism.SIMULATED})
_PART = frozenset(Mechanism) - {Mechanism.EXCLUSIVE, Mechanism.CLUSTER}
#: The enforcement that each kind of isolation requires.
ENFORCED_BY = {
    Isolation.NONE: frozenset(Enforcement),
    Isolation.LIMITED: frozenset({Enforcement.HARDWARE, Enforcement.DRIVER}),
    Isolation.HARDWARE: frozenset({Enforcement.HARDWARE}),
}
_REASONS = {
    (Mechanism.EXCLUSIVE, Enforcement.HARDWARE): Message.of("mechanism.exclusive"),
    (Mechanism.MIG, Enforcement.HARDWARE): Message.of("mechanism.mig"),
    (Mechanism.MPS, Enforcement.USERSPACE): Message.of("mechanism.mps"),
    (Mechanism.MPS, Enforcement.COOPERATIVE): Message.of("mechanism.mps"),  # where processes do not use the daemon
    (Mechanism.SHARED, Enforcement.DRIVER): Message.of("mechanism.shared_by_driver"),
    (Mechanism.SHARED, Enforcement.COOPERATIVE): Message.of("mechanism.shared_cooperative"),
    (Mechanism.SIMULATED, Enforcement.NONE): Message.of("mechanism.simulated"),
    (Mechanism.CLUSTER, Enforcement.HARDWARE): Message.of("mechanism.cluster"),
    (Mechanism.CLUSTER, Enforcement.NONE): Message.of("mechanism.cluster_unenforced"),
}


def capabilities_of(spec: DeviceSpec) -> tuple[MechanismCapability, ...]:
    """Return the capabilities of the mechanisms of a device, the preferred one first."""
    return spec.capabilities or _default_capabilities(spec.mechanisms)


@lru_cache(maxsize=64)
def _default_capabilities(mechanisms: tuple[Mechanism, ...]) -> tuple[MechanismCapability, ...]:
    capabilities = tuple(_DEFAULTS[mechanism] for mechanism in mechanisms if mechanism in _DEFAULTS)
    # A device that is shared can be leased whole as well.
    return capabilities if _WHOLE.intersection(mechanisms) else (_DEFAULTS[Mechanism.EXCLUSIVE], *capabilities)


def capability_of(spec: DeviceSpec, mechanism: Mechanism) -> MechanismCapability | None:
    """Return the capability of a mechanism on a device, or its default where the device no longer has it."""
    return next(
        (capability for capability in capabilities_of(spec) if capability.mechanism is mechanism),
        _DEFAULTS.get(mechanism),
    )


def is_shareable(spec: DeviceSpec) -> bool:
    """Return whether a lease can have a part of the device."""
    return any(capability.mechanism in _PART for capability in capabilities_of(spec))


def choose(spec: DeviceSpec, requirements: Requirements) -> MechanismCapability | None:
    """Return the mechanism that serves a request on a device; ``None`` where none meets all requirements."""
    able = _WHOLE if requirements.size.whole else _PART
    for capability in capabilities_of(spec):
        if capability.mechanism in able and _meets(spec, capability, requirements):
            return capability
    return None


def _meets(spec: DeviceSpec, capability: MechanismCapability, requirements: Requirements) -> bool:
    return (
        (requirements.size.whole or capability.enforcement in ENFORCED_BY[requirements.isolation])
        and not (requirements.parkable and not (spec.parkable and capability.parkable))
        and not (
            requirements.unpartitioned and not capability.parkable
        )  # parked memory resumes only where it can be parked
        and not (requirements.resizable and not _resizable(spec, capability, requirements))
    )


def _resizable(spec: DeviceSpec, capability: MechanismCapability, requirements: Requirements) -> bool:
    """Return whether the lease could get another size while its kernel runs; a whole device can become a part."""
    if requirements.size.devices > 1:
        return False
    return capability.resizable or (requirements.size.whole and any(other.resizable for other in capabilities_of(spec)))


def refusal(spec: DeviceSpec, requirements: Requirements) -> Message | None:
    """Return why no mechanism of a device meets all requirements; ``None`` where one does."""
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
