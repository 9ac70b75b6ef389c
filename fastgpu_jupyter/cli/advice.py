"""The command that gives advice on the sizes of leases, and the lines of advice of a statement."""

from __future__ import annotations

from collections.abc import Iterable

from traitlets import Bool

from ..errors import InvalidRequest, Message
from ..messages import say, sentence_of
from ..text import shortened
from ..wire.client import PoolClient
from ..wire.schemas import AdviceView
from ..wire.statement_advice import LeaseAdvice
from .command import NOTEBOOK_WIDTH, ClientApp


class AdviseApp(ClientApp):
    """The command that gives advice on the sizes of leases."""

    name = "jupyter-fastgpu-advise"
    description = (
        "Name smaller sizes in which everything measured of your notebooks fits: for the given leases, or all active "
        "ones."
    )
    silence = Bool(False, help="Give no advice for the notebooks of these leases.").tag(config=True)
    undo = Bool(False, help="Give advice again that was silenced.").tag(config=True)
    flags = {
        **ClientApp.flags,
        "silence": ({"AdviseApp": {"silence": True}}, "Give no advice for the notebooks of these leases."),
        "undo": ({"AdviseApp": {"undo": True}}, "Give advice again that was silenced."),
    }

    def run(self, client: PoolClient) -> None:
        """Print the advice for each lease, or why there is none."""
        if self.silence and self.undo:
            raise InvalidRequest(Message.of("cli.silence_or_undo"))
        if (self.silence or self.undo) and not self.extra_args:
            raise InvalidRequest(Message.of("cli.name_lease"))
        lease_ids = self.extra_args or [lease["id"] for lease in client.leases() if lease["state"] == "active"]
        found = {lease_id: self._advice(client, lease_id) for lease_id in lease_ids}
        lines = [say("cli.of_one", view=lease_id, text=advice_text(view)) for lease_id, view in found.items()]
        self.show(found, *(lines or [say("cli.no_active_lease")]), indent=2)

    def _advice(self, client: PoolClient, lease_id: str) -> AdviceView:
        if self.silence or self.undo:
            return client.silence_advice(lease_id, silenced=self.silence)
        return client.advice(lease_id)


def advice_text(view: AdviceView) -> str:
    """Return the advice, or why there is none, as a sentence."""
    advice = view["advice"]
    return (sentence_of(advice["basis"] if advice else view["reason"])) or ""


def statement_lines(advice: Iterable[LeaseAdvice]) -> list[str]:
    """Return the lines below a statement: one for each advice."""
    lines = []
    for lease, view in advice:
        name = shortened(lease["holder"]["notebook"] or "", NOTEBOOK_WIDTH)
        lines.append(say("cli.of_one", view=name, text=advice_text(view)))
    return ["", *lines] if lines else []
