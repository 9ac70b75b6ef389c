"""``jupyter fastgpu fsck``: verify the journal without a pool manager."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path

from jupyter_core.application import base_aliases
from traitlets import Bool, Unicode

from .. import __version__
from ..errors import FastGPUError
from ..messages import joined, say, text_of
from ..messages.help import CommandApp
from ..pool.host import single_instance
from ..pool.journal.files import LOCK
from ..pool.journal.fsck import Finding, cut, examine
from ..wire.locate import user_state_dir
from .output import write, write_error, write_json, write_progress


class FsckApp(CommandApp):
    """The command that verifies, exports and repairs a journal."""

    name = "jupyter-fastgpu-fsck"
    version = __version__
    description = "Verify the journal of the pool that is configured, explain damage, export it, cut a damaged end off."

    journal = Unicode("", help="The journal's file; default: that of your own pool.").tag(config=True)
    export = Unicode("", help="Write every sound record to this file, a line of JSON each.").tag(config=True)
    cut = Bool(False, help="Remove the first damaged record and all after it; the file is copied first.").tag(
        config=True
    )
    as_json = Bool(False, help="Print JSON for programs.").tag(config=True)
    aliases = {**base_aliases, "journal": "FsckApp.journal", "export": "FsckApp.export"}
    flags = {
        "json": ({"FsckApp": {"as_json": True}}, "Print JSON for programs."),
        "cut": ({"FsckApp": {"cut": True}}, "Cut a damaged end off; no pool may run."),
    }

    def start(self) -> None:
        """Examine, report, and exit with 0 only where the journal is sound."""
        super().start()
        path = Path(self.journal or user_state_dir() / "journal.db").absolute()
        try:
            with open(self.export, "x") if self.export else nullcontext() as export:  # noqa: PTH123 (the path is a string)
                finding = examine(path, self._progress, export)
            if finding.in_all:
                write_progress("")
            backup = self._repair(path, finding)
        except (FastGPUError, OSError) as error:
            write_error("jupyter fastgpu fsck", text_of(error) if isinstance(error, FastGPUError) else str(error))
            sys.exit(1)
        if self.as_json:
            write_json({**finding._asdict(), "backup": backup})
        else:
            write(*report(path, finding, backup))
        sys.exit(0 if finding.sound or backup else 1)

    def _repair(self, path: Path, finding: Finding) -> str | None:
        if not self.cut or finding.damage in {None, finding.archive_damage}:
            return None  # a part of the archive can only be restored
        descriptor = single_instance.acquire_lock(path.parent, LOCK)
        try:
            return str(cut(path, finding.records))
        finally:
            os.close(descriptor)

    def _progress(self, done: int, in_all: int) -> None:
        if in_all:
            write_progress(say("fsck.progress", percent=str(100 * done // in_all), count=f"{in_all:,}"))


def report(path: Path, finding: Finding, backup: str | None) -> list[str]:
    """Return the sentences about what was found, and what can be done."""
    found = say(
        "fsck.found",
        path=str(path),
        sound=f"{finding.records:,}",
        count=f"{finding.in_all:,}",
        leases=str(finding.leases),
    )
    if finding.sound:
        return [joined((found, say("fsck.sound")))]
    if backup:
        return [joined((found, say("fsck.cut", backup=backup)))]
    if finding.archive_damage is not None and finding.damage in {None, finding.archive_damage}:
        return [found, finding.archive_damage]
    if finding.damage is None:
        return [found, say("fsck.violations", violations="; ".join(finding.violations)), say("fsck.report")]
    after = finding.in_all - finding.records
    way_out = say("fsck.restore_or_discard", count=f"{after:,}") if after else say("fsck.restore_or_go_on")
    return [found, finding.damage, way_out]
