"""Imports, in an idle moment, what a kernel may need later: the package may be upgraded or removed under it.

A start does not need these modules, so it does not wait for them. Modules of two versions of the package in one process
would not fit together.
"""

from __future__ import annotations

import threading
from importlib import import_module

from ..messages.language import LANGUAGES
from .lease_client import IMPORT_ERRORS

#: The modules that functions of the kernel import, with all that they import themselves. The widget itself is not
#: among them: it imports ipywidgets, which a kernel without a widget need not have in its memory.
MODULES = (
    *(f"messages.{name}" for name in LANGUAGES),
    "wire.spawn",
    "wire.options",
    "kernel.magics",
    "kernel.render",
    "kernel.usage_chart",
    "kernel.completion",
    "kernel.cpu_cell",
    "kernel.cell_profile",
    "kernel.out_of_memory",
    "kernel.sentences",
    "kernel.wait_display",
    "kernel.memory_caps",
    "kernel.late_devices",
    "kernel.ancestor_watch",
    "kernel.server_link",
    "kernel.orphan",
    "kernel.remote_watch",
    "kernel.activity_reporter",
    "kernel.framework_memory",
    "kernel.widget.answer",
    "kernel.job_verbs",
    "kernel.comparison",
    "jobs.cache",
    "jobs.call_result",
    "jobs.settings",
    "jobs.wait_sentences",
)
#: After the start of the kernel, and between two modules, so that its cells run first.
BEGIN_AFTER_S = 0.7
PAUSE_S = 0.01


class Preload(threading.Thread):
    """Imports the modules once, unless ``closed`` is set before."""

    def __init__(self, closed: threading.Event) -> None:
        super().__init__(name="fastgpu-preload", daemon=True)
        self._closed = closed

    def run(self) -> None:
        """Import one module after the other."""
        pause_s = BEGIN_AFTER_S
        for name in MODULES:
            if self._closed.wait(pause_s):
                return
            pause_s = PAUSE_S
            try:
                import_module(f"fastgpu_jupyter.{name}")
            except IMPORT_ERRORS:
                return  # the upgrade was quicker; who needs the module gets the reason
