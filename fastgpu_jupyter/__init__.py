"""FastGPU for Jupyter: lease logical GPUs from notebooks.

This module holds only the functions that Jupyter looks for. It does no work at import, because every kernel, server
and command line imports it first. It imports nothing, not even ``__future__``: ``python -m fastgpu_jupyter.kernel``
imports it while the notebook's folder is still in front of ``sys.path``, and a ``typing.py`` there must not be found.
"""

TYPE_CHECKING = False  # type checkers take it for true
if TYPE_CHECKING:
    from typing import Any

    from IPython.core.interactiveshell import InteractiveShell

    from .jobs.executor import Executor
    from .jobs.handle import job, list_jobs
    from .jobs.progress import progress
    from .kernel.widget.gpu_widget import GPUWidget
    from .kernel.widget.progress import lease_progress

__version__ = "0.1.0"

__all__ = ("Executor", "GPUWidget", "job", "lease_progress", "list_jobs", "load_ipython_extension", "progress")


def __getattr__(name: str) -> "Any":
    # Imported when they are used: they need libraries that take long to import.
    if name == "GPUWidget":
        from .kernel.widget.gpu_widget import GPUWidget

        return GPUWidget
    if name == "lease_progress":
        from .kernel.widget.progress import lease_progress

        return lease_progress
    if name == "Executor":
        from .jobs.executor import Executor

        return Executor
    if name in ("job", "list_jobs"):
        from .jobs import handle

        return getattr(handle, name)
    if name == "progress":
        from .jobs.progress import progress

        return progress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "fastgpu-jupyter"}]


def _jupyter_server_extension_points() -> "list[dict[str, Any]]":
    from .server.extension import FastGPUExtension

    return [{"module": "fastgpu_jupyter", "app": FastGPUExtension}]


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Make ``%fastgpu`` available after ``%load_ext fastgpu_jupyter``."""
    from .kernel.magics import load

    load(shell)
