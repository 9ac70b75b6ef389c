"""``compat.ipykernel`` against the installed version."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import zmq
from ipykernel.iostream import IOPubThread, OutStream
from ipykernel.kernelbase import Kernel
from jupyter_client.session import Session

from fastgpu_jupyter.compat.ipykernel import iopub_topic, is_iopub, message_id_of, message_of


class _Kernel(Kernel):
    implementation = implementation_version = banner = "none"
    language_info = {"name": "none"}  # noqa: RUF012 (a trait)


def test_iopub_topic_names_the_kernel_and_the_message_type() -> None:
    kernel = _Kernel()  # type: ignore[no-untyped-call] # ipykernel is partly typed
    topic = iopub_topic(kernel, "stream")
    assert topic.startswith(b"kernel.")
    assert topic.endswith(b".stream")
    assert kernel.ident.encode() in topic


def test_all_output_passes_session_send_and_the_iopub_thread() -> None:
    sent: list[Any] = []
    frames: list[list[bytes]] = []
    session: Any = Session(key=b"key")
    with zmq.Context() as context:
        thread: Any = IOPubThread(context.socket(zmq.XPUB), session=session)  # type: ignore[no-untyped-call]
        kernel = SimpleNamespace(session=session, iopub_thread=thread, iopub_socket=thread.background_socket)
        session.send = _recorded(session.send, sent)
        thread.send_multipart = _recorded(thread.send_multipart, frames)
        thread.start()
        try:
            output: Any = OutStream(session, thread, "stdout", watchfd=False)  # type: ignore[no-untyped-call]
            output.write("text")
            output.flush()
            session.send(kernel.iopub_socket, "status", {"execution_state": "busy"}, ident=b"topic")
        finally:
            output.close()
            thread.stop()
            thread.close()
    assert [is_iopub(kernel, stream) for stream in (*sent, object())] == [True, True, False]
    text, status = frames
    found = message_of(kernel, status)
    assert found is not None
    assert (found[0], found[1]["content"]) == ([b"topic"], {"execution_state": "busy"})
    assert message_id_of(kernel, [zmq.Frame(part) for part in text])
    assert (message_of(kernel, [b"nonsense"]), message_id_of(kernel, [])) == (None, None)
    assert thread.thread is not threading.current_thread()


def _recorded(function: Callable[..., Any], first: list[Any]) -> Callable[..., Any]:
    """Return ``function``, whose first arguments are appended to ``first``."""

    def call(argument: Any, *args: Any, **named: Any) -> Any:
        first.append(argument)
        return function(argument, *args, **named)

    return call


def test_kernel_has_what_is_used_to_keep_its_output_and_to_end_it() -> None:
    kernel: Any = _Kernel()  # type: ignore[no-untyped-call]
    assert {"shell_stream", "stdin_socket", "control_stream", "iopub_thread", "iopub_socket"} <= set(
        kernel.trait_names()
    )
    assert asyncio.iscoroutinefunction(kernel.control_handlers["shutdown_request"])
