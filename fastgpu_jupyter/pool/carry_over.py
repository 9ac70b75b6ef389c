"""The settings of a pool manager that was killed: they hold for the one that is started on demand in its place.

A pool manager may have devices only by its options, as with ``--simulate``. One that is started on demand after it was
killed has no options, would not find these devices, and its leases would end. So each pool manager writes what is in
effect beside its journal. It removes that when it is stopped, so that nothing is carried over without a reason, and
what is carried over holds only while a process lives that holds one of the leases.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from ..core.model.entities import State
from ..core.model.lifecycle import LIVE, LeaseState
from ..errors import FastGPUError, StoreFault
from .host.process import open_holder
from .journal.store import Journal
from .loop.recovery import replay

FILE_NAME = "settings.json"
log = logging.getLogger("fastgpu.pool")


class Difference(NamedTuple):
    """A setting, or a variable of the environment if it has no section, that was another one."""

    section: str
    name: str
    value: Any

    def __str__(self) -> str:
        name = f"{self.section}.{self.name}" if self.section else self.name
        return f"{name} is not set" if self.value is None else f"{name} = {json.dumps(self.value)}"


class SettingsRecord(NamedTuple):
    """What is in effect in one pool manager."""

    settings: dict[str, dict[str, Any]]  #: by section and name
    environment: dict[str, str | None]  #: variables that restrict its devices; ``None`` where one is not set

    def differences(self, other: SettingsRecord) -> Iterator[Difference]:
        """Yield what has another value here than in ``other``; what ``other`` does not know is left out."""
        for section, values in self.settings.items():
            known = other.settings.get(section, {})
            for name, value in values.items():
                if name in known and known[name] != value:
                    yield Difference(section, name, value)
        for name, value in self.environment.items():
            if name in other.environment and other.environment[name] != value:
                yield Difference("", name, value)


def save_record(state_dir: Path, record: SettingsRecord) -> None:
    """Write the record into the state folder; where that is impossible only the log says so."""
    path = state_dir / FILE_NAME
    try:
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(record._asdict()))
        draft.replace(path)
    except OSError as error:
        log.warning("The settings are not kept for the case that this pool manager is killed: %s", error)


def load_record(state_dir: Path) -> SettingsRecord | None:
    """Return the record of the pool manager that was killed, or ``None`` where there is none that can be read."""
    try:
        record = SettingsRecord(**json.loads((state_dir / FILE_NAME).read_text()))
        return record if all(isinstance(values, dict) for values in (*record.settings.values(), record[1])) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError) as error:
        log.warning("The settings of the pool manager that was killed cannot be read: %s", error)
        return None


def remove_record(state_dir: Path) -> None:
    """Remove the record, because the pool manager is stopped and nothing is to be carried over."""
    try:
        (state_dir / FILE_NAME).unlink(missing_ok=True)
    except OSError as error:
        log.warning("The settings are still kept for the next pool manager: %s", error)


def has_live_holders(state: State, boot_id: str) -> bool:
    """Return whether a process lives, or may live, that holds a lease of ``state``.

    A lease of a cluster may have a kernel there without its holder.
    """
    if has_cluster_leases(state):
        return True
    holders = {lease.holder for lease in state.leases.values() if lease.state in LIVE}
    for holder in holders if state.boot_id == boot_id else ():
        try:
            pidfd = open_holder(holder, boot_id)
        except FastGPUError:
            return True  # whether it lives cannot be found out
        if pidfd is not None:
            os.close(pidfd)
            return True
    return False


def has_cluster_leases(state: State) -> bool:
    """Return whether there are leases of a cluster whose jobs may not be over."""
    return any(lease.cluster_job is not None for lease in state.leases.values() if lease.state is not LeaseState.ENDED)


def serves_live_holders(state_dir: Path, boot_id: str) -> bool:
    """Return whether a process lives that holds a lease of the journal there; true also where that is not known."""
    if not (state_dir / "journal.db").exists():
        return False
    try:
        with closing(Journal(state_dir / "journal.db")) as journal:
            return has_live_holders(replay(journal), boot_id)
    except StoreFault:
        return True  # to serve from another folder could lease a device twice


def apply_to_environment(differences: list[Difference], environ: dict[str, str] | os._Environ[str]) -> None:
    """Set the variables of the environment that were different."""
    for one in differences:
        if not one.section and one.value is None:
            environ.pop(one.name, None)
        elif not one.section:
            environ[one.name] = one.value


def values_of_variables(names: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str | None]:
    """Return the values of the variables ``names``."""
    return {name: environ.get(name) for name in names}
