"""The kernel's process: ipykernel's application with :class:`FastGPUKernel` in it."""

from __future__ import annotations

from typing import Any

from ipykernel.kernelapp import IPKernelApp

from .kernel import FastGPUKernel


class FastGPUKernelApp(IPKernelApp):
    """``IPKernelApp`` whose kernel class is FastGPU's unless the configuration names another.

    It keeps the name of ``IPKernelApp``, from which the name of its configuration file comes
    (``ipython_kernel_config.py``).
    """

    def __init__(self, **kwargs: object) -> None:
        kwargs.setdefault("kernel_class", FastGPUKernel)
        ipykernel: Any = super()  # its methods carry no types
        ipykernel.__init__(**kwargs)


def main() -> None:
    """Run until the kernel is shut down."""
    FastGPUKernelApp.launch_instance()
