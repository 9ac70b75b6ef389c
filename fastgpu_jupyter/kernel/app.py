"""The kernel's process: ipykernel's application with :class:`FastGPUKernel` in it."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from .kernel import FastGPUKernel


def main() -> None:
    """Run until the kernel is shut down.

    The application is ipykernel's own class, so that its log and its configuration have the names that users and other
    programs know. The configuration may name another kernel class.
    """
    IPKernelApp.launch_instance(kernel_class=FastGPUKernel)
