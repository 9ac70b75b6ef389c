"""The errors that NVIDIA's driver reports by number, the *Xids*, as device faults.

Source: NVIDIA's "Xid Errors" catalogue and the health rules of NVIDIA's Kubernetes device plugin.
"""

from __future__ import annotations

from ....core.model.entities import DeviceFault, FaultScope, FaultSeverity
from ....errors import Message

#: The driver has changed the recovery action that it recommends for a device: a check shows which.
RECOVERY_ACTION_CHANGED = 154
ADVICE = Message.of_text("With CUDA_LAUNCH_BLOCKING=1 in its environment the error is raised where it happens.")

#: Xids that a program causes; the device stays in service.
_PROCESS = {
    13: Message.of_text("made the GPU fault: an illegal instruction or a wrong address in a GPU function"),
    31: Message.of_text("read or wrote outside its memory on the GPU"),
    43: Message.of_text("was stopped on the GPU after an error in it"),
    45: Message.of_text("lost its work on the GPU, because its process failed or was ended"),
    68: Message.of_text("made the video decoder of the GPU fault"),
    109: Message.of_text("took too long on the GPU and was stopped"),
}
#: Xids of the device itself.
_DEVICE = {
    46: (FaultSeverity.SUSPECT, Message.of_text("stopped working for a moment")),
    48: (FaultSeverity.FAULTY, Message.of_text("has memory errors that it could not correct")),
    63: (FaultSeverity.SUSPECT, Message.of_text("has bad memory that is replaced when the GPU is reset")),
    64: (FaultSeverity.FAULTY, Message.of_text("has bad memory that it could not replace")),
    74: (FaultSeverity.SUSPECT, Message.of_text("has errors on its links to other GPUs")),
    79: (FaultSeverity.LOST, Message.of_text("has fallen off the bus")),
    94: (FaultSeverity.SUSPECT, Message.of_text("has a memory error, which hit one program only")),
    95: (FaultSeverity.FAULTY, Message.of_text("has a memory error that may have hit every program on it")),
    119: (FaultSeverity.FAULTY, Message.of_text("has a controller that does not answer")),
    120: (FaultSeverity.FAULTY, Message.of_text("has a controller that failed")),
}
KNOWN = (*_PROCESS, *_DEVICE)


def fault_of(xid: int) -> DeviceFault:
    """Return the fault that an Xid reports; an unknown one makes the device suspect."""
    code = f"Xid {xid}"
    if xid in _PROCESS:
        return DeviceFault(code, FaultSeverity.MINOR, FaultScope.PROCESS, _PROCESS[xid], ADVICE)
    severity, message = _DEVICE.get(xid, (FaultSeverity.SUSPECT, Message.of_text("reported a critical error")))
    return DeviceFault(code, severity, FaultScope.DEVICE, message)
