"""The FastGPU kernel: the gate in front of each cell, the ``%fastgpu`` magics and the kernel itself.

These modules load quickly, because every start of a kernel waits for them: beside the standard library and ipykernel
they import ``wire``, ``compat``, ``errors`` and ``units`` only. They hold the token of this kernel's own lease and no
other secret, and never sample a GPU.
"""
