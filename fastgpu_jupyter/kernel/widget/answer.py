"""The answer of ``%fastgpu widget``."""

from __future__ import annotations

from ...messages import say
from ..render import Rendered


class WidgetAnswer(Rendered):
    """An answer that is displayed as a widget."""

    @classmethod
    def of_kernel(cls) -> WidgetAnswer:
        """Return the answer for the kernel of this process."""
        return cls(say("widget.view"), "")

    def show(self) -> None:
        """Display the widget, and the table below it."""
        from IPython.display import display

        from .gpu_widget import GPUWidget

        display(GPUWidget())  # type: ignore[no-untyped-call]
