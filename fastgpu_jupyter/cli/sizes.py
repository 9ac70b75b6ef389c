"""The command that lists the sizes that a request or a lease can have."""

from __future__ import annotations

from traitlets import Bool, Unicode

from ..errors import InvalidRequest, Message
from ..messages import say, sentence_of, word
from ..units import format_memory, format_money
from ..wire.client import PoolClient
from ..wire.schemas import SizeOption
from .command import ClientApp, table


class SizesApp(ClientApp):
    """The command that lists the sizes that a request or a lease can have."""

    name = "jupyter-fastgpu-sizes"
    description = "List the sizes of a request, or of the given lease: rates, and what choosing one does now."
    memory = Bool(False, help="Amounts of memory instead of parts of devices.").tag(config=True)
    model = Unicode("", help="Only devices of this model.").tag(config=True)
    flags = {
        **ClientApp.flags,
        "memory": ({"SizesApp": {"memory": True}}, "List amounts of memory instead of parts of devices."),
    }
    aliases = {**ClientApp.aliases, "model": "SizesApp.model"}

    def run(self, client: PoolClient) -> None:
        """Print the sizes as a table or as one JSON object."""
        if len(self.extra_args) > 1:
            raise InvalidRequest(Message.of("cli.name_one_lease_or_none"))
        lease_id = self.extra_args[0] if self.extra_args else None
        query = {"unit": "memory" if self.memory else "share", "model": self.model or None}
        found, currency = client.sizes(lease_id, query), client.pool()["currency"]
        rows = [_row(option, currency, found["applied"]) for option in found["options"]]
        head = (
            say("column.size"), say("column.memory"), say("column.rate_per_hour"), say("column.takes_effect"),
            say("column.reason"),
        )  # fmt: skip
        self.show(found, *table(head, rows, say("cli.no_such_gpus")), indent=2)


def _row(option: SizeOption, currency: str, applied: str | None) -> tuple[str, ...]:
    rate, position = option["rate_micro"], option["position"]
    effect = word("size_effect", option["effect"])
    if position and option["effect"] == "queued":
        effect = say("size_effect.queued_at", position=str(position))
    return (
        say("value.applied", size=option["size"]) if option["size"] == applied else option["size"],
        format_memory(option["memory_bytes"]),
        say("value.unknown") if rate is None else format_money(rate, currency),
        effect,
        sentence_of(option["reason"]) or "",
    )
