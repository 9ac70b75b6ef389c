"""Views of the sizes that requests and leases can have."""

from __future__ import annotations

from ....core.scheduling.queue_report import Estimate
from ....core.sizing.options import SizeChoice, SizeChoices
from ....messages import view_of
from ....wire.schemas import EstimateView, SizeOption, SizeOptions


def size_options(lease_id: str | None, found: SizeChoices) -> SizeOptions:
    """Return the sizes to choose from."""
    return {
        "lease_id": lease_id,
        "applied": None if found.applied is None else str(found.applied),
        "requested": None if found.requested is None else str(found.requested),
        "models": [
            {"model": one.model, "devices": one.devices, "memory_bytes": one.memory_bytes} for one in found.models
        ],
        "options": [_option(choice) for choice in found.choices],
    }


def _option(choice: SizeChoice) -> SizeOption:
    capability = choice.capability
    return {
        "size": str(choice.size),
        "devices": choice.size.devices,
        "model": choice.model,
        "memory_bytes": choice.memory_bytes,
        "rate_micro": choice.rate_micro_per_hour,
        "effect": choice.effect.value,
        "reason": view_of(choice.reason),
        "position": choice.position,
        "estimate": None if choice.estimate is None else _estimate(choice.estimate),
        "mechanism": None if capability is None else capability.mechanism.value,
        "enforcement": None if capability is None else capability.enforcement.value,
    }


def _estimate(estimate: Estimate) -> EstimateView:
    return {"wait_ms": estimate.wait_ms, "basis": view_of(estimate.basis)}
