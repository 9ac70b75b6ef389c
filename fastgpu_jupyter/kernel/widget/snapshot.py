"""The table that a widget leaves in the notebook: the lease at an instant, as plain text and as HTML."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ...messages import say
from .. import render
from ..gate import Gate

if TYPE_CHECKING:
    from ..render import Rendered

#: The class of the HTML, by which the widget's style sheet finds it.
CLASS = "fastgpu-snapshot"


class Snapshot:
    """One output of the notebook that is updated in place."""

    def __init__(self, gate: Gate, *, gated: bool) -> None:
        self._gate = gate
        self._gated = gated
        self._display_id = uuid4().hex
        #: What was shown last, without its time.
        self._shown: Rendered | None = None

    def content(self, now: float | None = None) -> dict[str, Any] | None:
        """Return the content of the message that shows the lease; None where that would be what is shown already.

        ``now``: seconds since 1970.
        """
        body = self._body()
        if body == self._shown:
            return None
        self._shown = body
        at = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now))
        title = say("widget.snapshot", time=at)
        html = f'<div class="{CLASS}"><small>{render.sentence(title).html}</small>{body.html}</div>'
        return {
            "data": {"text/plain": f"{title}\n{body.text}", "text/html": html},
            "metadata": {},
            "transient": {"display_id": self._display_id},
        }

    def _body(self) -> Rendered:
        gate = self._gate
        view = gate.view
        if view is None:
            if gate.lease_id is not None:
                return render.sentence(say("widget.asking"))
            return render.sentence(say("magic.no_lease") if self._gated else say("magic.no_gate"))
        body = render.summary(view)
        return render.with_hint(body, gate.pool_error) if gate.pool_error else body
