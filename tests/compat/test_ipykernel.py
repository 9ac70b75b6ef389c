"""``compat.ipykernel`` against the installed version."""

from __future__ import annotations

from ipykernel.kernelbase import Kernel

from fastgpu_jupyter.compat.ipykernel import iopub_topic


class _Kernel(Kernel):
    implementation = implementation_version = banner = "none"
    language_info = {"name": "none"}  # noqa: RUF012 (a trait)


def test_iopub_topic_names_the_kernel_and_the_message_type() -> None:
    kernel = _Kernel()  # type: ignore[no-untyped-call] # ipykernel is partly typed
    topic = iopub_topic(kernel, "stream")
    assert topic.startswith(b"kernel.")
    assert topic.endswith(b".stream")
    assert kernel.ident.encode() in topic
