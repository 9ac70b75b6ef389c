"""The errors that NVIDIA's driver reports by number, the *Xids*, as device faults.

Source: NVIDIA's "Xid Errors" catalogue and the health rules of NVIDIA's Kubernetes device plugin.
"""

from __future__ import annotations

from ....core.model.entities import DeviceFault, FaultScope, FaultSeverity
from ....errors import Message

#: The driver has changed the recovery action that it recommends for a device: a check shows which.
RECOVERY_ACTION_CHANGED = 154
ADVICE = Message.of("xid.advice")

#: Xids that a program causes; the device stays in service.
_PROCESS = {
    13: Message.of("xid.13"),
    31: Message.of("xid.31"),
    43: Message.of("xid.43"),
    45: Message.of("xid.45"),
    68: Message.of("xid.68"),
    109: Message.of("xid.109"),
}
#: Xids of the device itself.
_DEVICE = {
    46: (FaultSeverity.SUSPECT, Message.of("xid.46")),
    48: (FaultSeverity.FAULTY, Message.of("xid.48")),
    63: (FaultSeverity.SUSPECT, Message.of("xid.63")),
    64: (FaultSeverity.FAULTY, Message.of("xid.64")),
    74: (FaultSeverity.SUSPECT, Message.of("xid.74")),
    79: (FaultSeverity.LOST, Message.of("xid.79")),
    94: (FaultSeverity.SUSPECT, Message.of("xid.94")),
    95: (FaultSeverity.FAULTY, Message.of("xid.95")),
    119: (FaultSeverity.FAULTY, Message.of("xid.119")),
    120: (FaultSeverity.FAULTY, Message.of("xid.120")),
}
KNOWN = (*_PROCESS, *_DEVICE)


def fault_of(xid: int) -> DeviceFault:
    """Return the fault that an Xid reports; an unknown one makes the device suspect."""
    code = f"Xid {xid}"
    if xid in _PROCESS:
        return DeviceFault(code, FaultSeverity.MINOR, FaultScope.PROCESS, _PROCESS[xid], ADVICE)
    severity, message = _DEVICE.get(xid, (FaultSeverity.SUSPECT, Message.of("xid.other")))
    return DeviceFault(code, severity, FaultScope.DEVICE, message)
