"""The variables by which CUDA programs see some devices or none."""

from __future__ import annotations

from collections.abc import Iterable

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"
#: No device is visible to a program that starts with these.
HIDDEN_ENV = {VISIBLE_DEVICES: ""}


def visible_env(names: Iterable[str]) -> dict[str, str]:
    """Return the variables with which a program sees exactly the devices or MIG devices of these UUIDs."""
    return {VISIBLE_DEVICES: ",".join(names), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
