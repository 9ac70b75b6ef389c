"""The kernel's process: ipykernel's application with :class:`FastGPUKernel` in it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ipykernel import kernelapp

from . import later_streams, parent_watch
from .kernel import FastGPUKernel

if TYPE_CHECKING:
    from .standby import PendingStart


#: Of configuration files, whatever suffix their name is given with.
ENDS = (".py", ".json")


class IPKernelApp(kernelapp.IPKernelApp):
    """ipykernel's application, which a kept kernel does not end with its server.

    The class has the name of ipykernel's, so that its log and its configuration have the names that users and other
    programs know.
    """

    #: The launch of a process that was a standby kernel. What needs the environment waits for it; the sockets do not.
    launch: ClassVar[PendingStart | None] = None

    #: The command line was parsed already.
    _is_parsed: ClassVar[bool] = False

    @classmethod
    def class_get_help(cls, *_: Any) -> str:
        """Return nothing: the help of ipykernel's class, which ``--help-all`` shows too, has all options."""
        return ""

    @classmethod
    def parse_ahead(cls) -> None:
        """Create the application and parse the command line of this process, which names no connection file yet."""
        app: Any = cls.instance(kernel_class=FastGPUKernel)
        app.parse_command_line(None)
        cls._is_parsed = True

    @classmethod
    def name_connection_file(cls, placeholder: str, path: str) -> None:
        """Put ``path`` where the parsed command line has ``placeholder``, or have the new one parsed again."""
        app: Any = cls.instance()
        if app.connection_file != placeholder:
            cls.clear_instance()
            cls._is_parsed = False
            return
        app.argv = sys.argv[1:]
        app.connection_file = path
        for config in (app.config, app.cli_config):
            config.IPKernelApp.connection_file = type(config.IPKernelApp.connection_file)(path)

    def parse_command_line(self, argv: list[str] | None = None) -> None:
        """Parse the command line, unless that was done ahead."""
        if not self._is_parsed:
            ipykernel: Any = super()
            ipykernel.parse_command_line(argv)

    def load_config_file(self, *args: Any, **named: Any) -> None:
        """Run the configuration, where there is one, in the environment of the kernel."""
        if self.launch is not None:
            if not _has_config_files(self):
                return
            self.launch.go()
        ipykernel: Any = super()
        ipykernel.load_config_file(*args, **named)

    def init_shell(self) -> None:
        """Take the shell of the kernel, with modules that were imported before it."""
        ipykernel: Any = super()
        ipykernel.init_shell()
        if (preload_modules := sys.modules.get(f"{__package__}.preload_modules")) is not None:
            preload_modules.finish()

    def init_heartbeat(self) -> None:
        """Bind the last of the sockets."""
        ipykernel: Any = super()
        ipykernel.init_heartbeat()
        if self.launch is not None:
            self.launch.bound()

    def init_io(self) -> None:
        """Create the streams that send to the notebook, also for modules that were imported before."""
        if self.launch is not None and self.launch.is_waiting:
            self.launch.go()  # what follows may need the environment
            self.init_poller()
        ipykernel: Any = super()
        ipykernel.init_io()
        later_streams.become_the_kernels()

    def init_poller(self) -> None:
        """Watch the process that started this one, which ``start`` begins with."""
        if self.launch is not None and self.launch.is_waiting:
            return  # it is called again
        app: Any = self
        if not parent_watch.start(app):
            ipykernel: Any = super()
            ipykernel.init_poller()


def _has_config_files(app: Any) -> bool:
    """Return whether ``app`` finds any of the files in which users configure IPython."""
    names = [Path(name) for name in ("ipython_config.py", *app.config_files) if name]
    found = [Path(folder) / name.with_suffix(end) for folder in app.config_file_paths for name in names for end in ENDS]
    return any(path.exists() for path in found)


def main() -> None:
    """Run until the kernel is shut down; the configuration may name another kernel class."""
    IPKernelApp.launch_instance(kernel_class=FastGPUKernel)
