"""``jupyter fastgpu doctor``: what this machine can do with its GPUs, what it lacks, and what would remedy it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import NamedTuple

from traitlets import Bool

from .. import __version__
from ..messages import render, say, word
from ..messages.help import CommandApp
from ..messages.language import ENGLISH
from ..pool.devices.diagnosis import DoctorFinding
from ..pool.doctor.gather import gather
from ..pool.doctor.rules import examine, verdict
from ..text import display_width, padded, wrapped
from .output import write, write_json

WIDTH = 76
STATE_COLUMNS = 6


class DoctorApp(CommandApp):
    """The command that explains what this machine can do with its GPUs."""

    name = "jupyter-fastgpu-doctor"
    version = __version__
    description = (
        "Explain what this machine can do with its GPUs, what is missing for the rest, and how to fix it. Exit 0 "
        "where GPUs can be leased, 3 where there is no driver, 4 where something that should work does not."
    )

    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    flags = {"json": ({"DoctorApp": {"as_json": True}}, "Print JSON for programs.")}

    def start(self) -> None:
        """Examine the machine, print the findings and exit with the verdict."""
        super().start()
        machine = gather()
        findings, outcome = examine(machine), verdict(machine)
        if self.as_json:
            found = [rendered(finding, ENGLISH)._asdict() for finding in findings]
            write_json({"findings": found, "verdict": outcome.name.lower(), "machine": asdict(machine)}, indent=2)
        else:
            write(*table(findings))
        sys.exit(outcome.value)


class RenderedFinding(NamedTuple):
    """A finding with its sentences."""

    subject: str
    state: str
    detail: str
    remedy: str | None


def rendered(finding: DoctorFinding, language: str | None = None) -> RenderedFinding:
    """Return a finding in that language, by default in that of this process."""
    remedy = None if finding.remedy is None else render(finding.remedy, language)
    return RenderedFinding(
        render(finding.subject, language), finding.state.value, render(finding.detail, language), remedy
    )


def table(findings: list[DoctorFinding]) -> list[str]:
    """Return the findings as lines for a terminal, each with its remedy below."""
    shown = [rendered(finding) for finding in findings]
    what, state = say("doctor.what"), say("doctor.state")
    widest = max(display_width(text) for text in (what, *(finding.subject for finding in shown)))
    head = f"{padded(what, widest)}  {padded(state, STATE_COLUMNS)}  {say('doctor.why')}"
    return [head, *(line for finding in shown for line in _lines(finding, widest))]


def _lines(finding: RenderedFinding, widest: int) -> Iterator[str]:
    state = padded(word("doctor_state", finding.state), STATE_COLUMNS)
    begin = f"{padded(finding.subject, widest)}  {state}  "
    indent = " " * display_width(begin)
    for number, line in enumerate(wrapped(finding.detail, WIDTH)):
        yield (indent if number else begin) + line
    if finding.remedy is not None:
        yield f"{indent}-> {finding.remedy}"  # not wrapped, so that it can be copied
