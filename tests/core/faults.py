"""Device faults of each kind, as a driver may report them."""

from __future__ import annotations

from fastgpu_jupyter.core.model.entities import DeviceFault, FaultScope, FaultSeverity
from fastgpu_jupyter.errors import Message

WRONG_ADDRESS = DeviceFault(
    "Xid 31",
    FaultSeverity.MINOR,
    FaultScope.PROCESS,
    Message.of_text("read or wrote outside its memory on the GPU"),
    Message.of_text("With CUDA_LAUNCH_BLOCKING=1 in its environment the error is raised where it happens."),
)
STOPPED = DeviceFault(
    "Xid 43", FaultSeverity.MINOR, FaultScope.PROCESS, Message.of_text("was stopped on the GPU after an error in it")
)
MEMORY_ERRORS = DeviceFault(
    "Xid 48", FaultSeverity.FAULTY, FaultScope.DEVICE, Message.of_text("has memory errors that it could not correct")
)
BAD_MEMORY = DeviceFault(
    "Xid 63",
    FaultSeverity.SUSPECT,
    FaultScope.DEVICE,
    Message.of_text("has bad memory that is replaced when the GPU is reset"),
)
OFF_THE_BUS = DeviceFault("Xid 79", FaultSeverity.LOST, FaultScope.DEVICE, Message.of_text("has fallen off the bus"))
