"""The kernel's process: ipykernel's application with :class:`FastGPUKernel` in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from ipykernel import kernelapp

from . import later_streams, parent_watch
from .kernel import FastGPUKernel


class IPKernelApp(kernelapp.IPKernelApp):
    """ipykernel's application, which a kept kernel does not end with its server.

    The class has the name of ipykernel's, so that its log and its configuration have the names that users and other
    programs know.
    """

    #: Called once when clients can connect; see :mod:`.standby`.
    when_bound: ClassVar[Callable[[], None] | None] = None

    def init_io(self) -> None:
        """Create the streams that send to the notebook, also for modules that were imported before."""
        ipykernel: Any = super()
        ipykernel.init_io()
        later_streams.become_the_kernels()

    def init_heartbeat(self) -> None:
        """Bind the last of the sockets."""
        ipykernel: Any = super()
        ipykernel.init_heartbeat()
        bound, IPKernelApp.when_bound = IPKernelApp.when_bound, None
        if bound is not None:
            bound()

    def init_poller(self) -> None:
        """Watch the process that started this one, which ``start`` begins with."""
        app: Any = self
        if not parent_watch.start(app):
            ipykernel: Any = super()
            ipykernel.init_poller()


def main() -> None:
    """Run until the kernel is shut down; the configuration may name another kernel class."""
    IPKernelApp.launch_instance(kernel_class=FastGPUKernel)
