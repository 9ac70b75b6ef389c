"""The application of the kernel's process, beside ipykernel's of the same name."""

from __future__ import annotations

from typing import Any

import pytest

from fastgpu_jupyter.kernel.app import IPKernelApp


@pytest.mark.slow
def test_help_lists_the_options_of_the_application_once() -> None:
    applications: Any = IPKernelApp
    application = applications()
    lines = "\n".join(application.emit_help(classes=True)).splitlines()
    assert len([line for line in lines if line.startswith("IPKernelApp(")]) == 1
    assert len([line for line in lines if line.startswith("--IPKernelApp.connection_file=")]) == 1
