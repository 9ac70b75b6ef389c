"""Private parts of ``jupyter_client``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from jupyter_client.connect import LocalPortCache
from jupyter_client.provisioning.factory import KernelProvisionerFactory


def forget_pending_kernel(multi_kernel_manager: Any, kernel_id: str) -> bool:
    """Remove a failed launch from the pending kernels of ``multi_kernel_manager``; return whether it was there.

    ``MultiKernelManager`` keeps the launch in ``_pending_kernels`` when ``pre_launch`` of a provisioner raises, and has
    no method to remove it. A server with such an entry cannot stop: ``shutdown_all`` fails on the unknown id.
    """
    pending = getattr(multi_kernel_manager, "_pending_kernels", None)
    return isinstance(pending, dict) and pending.pop(kernel_id, None) is not None


def manager_of_running_kernel(
    multi_kernel_manager: Any, kernel_id: str, kernel_name: str, connection_file: str, launch_arguments: dict[str, Any]
) -> Any:
    """Return a kernel manager, with its provisioner, for a kernel that another process started; nothing is started.

    A later restart has ``launch_arguments``. There is no public way to make such a manager: ``start_kernel`` launches a
    process, and external kernels have other ids and no provisioner. Raises :class:`NoSuchKernel` without the
    kernelspec, :class:`DuplicateKernelError` if the id is in use, and :class:`OSError` or :class:`ValueError` for the
    connection file.
    """
    manager, _, _ = multi_kernel_manager.pre_start_kernel(kernel_name, {"kernel_id": kernel_id})
    kernel_spec = manager.kernel_spec
    manager.kernel_id = kernel_id
    manager.connection_file = connection_file
    manager.load_connection_file()
    manager._launch_args = launch_arguments  # noqa: SLF001
    manager._attempted_start = True  # noqa: SLF001
    factory = KernelProvisionerFactory.instance(parent=multi_kernel_manager)
    manager.provisioner = factory.create_provisioner_instance(kernel_id, kernel_spec, parent=manager)
    return manager


def watch_running_kernel(manager: Any) -> None:
    """Make a manager of :func:`manager_of_running_kernel` ready, and restart its kernel when it dies."""
    manager.start_restarter()
    manager._connect_control_socket()  # noqa: SLF001 (what the launch of a kernel does at its end)
    if not manager.ready.done():
        manager.ready.set_result(None)


def keep_ports(provisioner: Any, manager: Any) -> None:
    """Let the provisioner of a running kernel use its ports again after a restart, and no other kernel.

    Otherwise the next launch chooses other ports, which the connection file does not have.
    """
    provisioner.connection_info = manager.get_connection_info()
    if manager.cache_ports:
        LocalPortCache.instance().currently_used_ports.update(manager.ports)
        provisioner.ports_cached = True


def keep_connection_file(manager: Any) -> None:
    """Leave the connection file to the caller, who removes it when the kernel has ended.

    A manager that is collected removes the file that it wrote, also where the interpreter ends by an exception and the
    kernel goes on.
    """
    manager._connection_file_written = False  # noqa: SLF001


def launch_arguments_of(manager: Any) -> Mapping[str, Any]:
    """Return the arguments with which the kernel of ``manager`` was launched, and which a restart uses again."""
    arguments = getattr(manager, "_launch_args", None)
    return arguments if isinstance(arguments, dict) else {}


def leave_kernel_running(manager: Any) -> None:
    """Let the shutdown of ``manager``, as when its server stops, end neither the kernel nor its connection file."""
    manager.stop_restarter()
    keep_connection_file(manager)
    # So are the managers of external kernels, whose shutdown does nothing.
    manager._owns_kernel = False  # noqa: SLF001
    manager._attempted_start = False  # noqa: SLF001


def report_dead_kernel(manager: Any, reason: str) -> None:
    """Show a kernel whose automatic restart has failed as dead, with the reason, and keep it for a later restart.

    jupyter_client stops its restarter before such a restart and says nothing if that fails, so that browsers would show
    a restart for ever. The callbacks for a restart that has failed also remove the kernel: only those of websockets,
    which are methods, are called.
    """
    manager.execution_state, manager.reason = "dead", reason
    restarter = getattr(manager, "_restarter", None)
    for callback in list(getattr(restarter, "callbacks", {}).get("dead", ())):
        if getattr(callback, "__self__", None) is not None and callback.__name__ == "on_restart_failed":
            callback()


def call_after_subscription(manager: Any, subscribed: Callable[[], None]) -> None:
    """Call ``subscribed`` whenever a client that has an identity, as a websocket, receives messages of IOPub.

    A socket that has just been connected loses what is published before the kernel knows it. The first message is the
    greeting of the kernel's own socket, or any later one. The public method of this object is wrapped.
    """
    connect = manager.connect_iopub

    @wraps(connect)
    def connect_and_watch(identity: bytes | None = None) -> Any:
        stream = connect(identity=identity)
        if identity is not None and hasattr(stream, "on_recv"):
            _call_at_first_message(stream, subscribed)
        return stream

    manager.connect_iopub = connect_and_watch


def call_after_client_start(manager: Any, started: Callable[[], None]) -> None:
    """Call ``started`` whenever a client that ``manager`` makes has opened its channels.

    It is for websockets that are not those of Jupyter Server. The public methods of the objects are wrapped.
    """
    make_client = manager.client

    @wraps(make_client)
    def make_and_watch(*arguments: Any, **named: Any) -> Any:
        client = make_client(*arguments, **named)
        start_channels = client.start_channels

        @wraps(start_channels)
        def start_and_call(*arguments: Any, **named: Any) -> Any:
            result = start_channels(*arguments, **named)
            started()
            return result

        client.start_channels = start_and_call
        return client

    manager.client = make_and_watch


def _call_at_first_message(stream: Any, received: Callable[[], None]) -> None:
    set_callback = stream.on_recv
    is_first = True

    @wraps(set_callback)
    def on_recv(callback: Callable[[Any], Any] | None, *arguments: Any, **named: Any) -> None:
        if callback is None:
            set_callback(None, *arguments, **named)
            return

        def receive(message: Any) -> Any:
            nonlocal is_first
            if is_first:
                is_first = False
                received()
            return callback(message)

        set_callback(receive, *arguments, **named)

    stream.on_recv = on_recv
