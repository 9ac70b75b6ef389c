"""What a lease has used and costs. Exact integers: cutting an interval anywhere never changes the sum."""

from __future__ import annotations

from ..units import MS_PER_HOUR
from .model import Lease


def open_segment(lease: Lease, now_ms: int) -> None:
    """The logical GPU is the lease's from here."""
    lease.active_since_ms = now_ms


def close_segment(lease: Lease, now_ms: int) -> None:
    """The logical GPU is no longer the lease's; nothing where no segment is open."""
    lease.cost_numerator = _cost_numerator(lease, now_ms)
    lease.active_ms = active_ms(lease, now_ms)
    lease.active_since_ms = None


def active_ms(lease: Lease, now_ms: int) -> int:
    """Milliseconds for which the lease has been active."""
    return lease.active_ms + _open_ms(lease, now_ms)


def cost_micro(lease: Lease, now_ms: int) -> int:
    """Cost so far in millionths of the currency; parts of a micro-unit are carried, not charged."""
    return _cost_numerator(lease, now_ms) // MS_PER_HOUR


def _cost_numerator(lease: Lease, now_ms: int) -> int:
    rate = lease.logical_gpu.rate_micro_per_hour if lease.logical_gpu else 0
    return lease.cost_numerator + rate * _open_ms(lease, now_ms)


def _open_ms(lease: Lease, now_ms: int) -> int:
    return 0 if lease.active_since_ms is None else max(0, now_ms - lease.active_since_ms)
