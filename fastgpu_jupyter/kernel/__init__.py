"""What runs in a FastGPU kernel: the gate in front of each cell, the ``%fastgpu`` magics and the kernel itself.

These modules import the standard library, ipykernel and ``fastgpu_jupyter.wire`` only, and load quickly: every start
of a kernel pays for them. They hold a token for this kernel's own lease and nothing else, and never sample a GPU.
"""
