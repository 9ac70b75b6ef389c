"""``jupyter fastgpu doctor``: what this machine can do with its GPUs, what it lacks, and what would remedy it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict

from jupyter_core.application import JupyterApp
from traitlets import Bool

from .. import __version__
from ..pool.devices.diagnosis import DoctorFinding
from ..pool.doctor.gather import gather
from ..pool.doctor.rules import examine, verdict
from .output import write, write_json

WIDTH = 76


class DoctorApp(JupyterApp):
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
            found = [finding._asdict() for finding in findings]
            write_json({"findings": found, "verdict": outcome.name.lower(), "machine": asdict(machine)}, indent=2)
        else:
            write(*table(findings))
        sys.exit(outcome.value)


def table(findings: list[DoctorFinding]) -> list[str]:
    """Return the findings as lines for a terminal, each with its remedy below."""
    widest = max((len(finding.subject) for finding in findings), default=0)
    head = f"{'WHAT'.ljust(widest)}  STATE   WHY, AND WHAT TO DO"
    return [head, *(line for finding in findings for line in _lines(finding, widest))]


def _lines(finding: DoctorFinding, widest: int) -> Iterator[str]:
    begin = f"{finding.subject.ljust(widest)}  {finding.state.value:6}  "
    indent = " " * len(begin)
    for number, line in enumerate(textwrap.wrap(finding.detail, WIDTH, break_long_words=False) or [""]):
        yield (indent if number else begin) + line
    if finding.remedy is not None:
        yield f"{indent}-> {finding.remedy}"  # not wrapped, so that it can be copied
