"""The settings of jobs: ``c.Jobs.runners_max = 4`` in ``jupyter_fastgpu_jobs_config.py``, or ``.json``.

The files are searched for on Jupyter's configuration path; what is nearer to the user counts. The dispatcher reads them
when it starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_config_path
from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, TraitError, Unicode
from traitlets.config import Config, Configurable
from traitlets.config.loader import ConfigFileNotFound, JSONFileConfigLoader, PyFileConfigLoader

from ..errors import InvalidRequest, Message
from ..units import GIB, MIB
from .model import JobKind

#: The name of the configuration files, without their suffix.
CONFIG_NAME = "jupyter_fastgpu_jobs_config"
KINDS = [kind.value for kind in JobKind]
PRIORITIES = ("low", "normal", "high")
RETENTIONS = ("yield", "hold")


#: The built-in defaults of every kind.
DEFAULTS: dict[str, Any] = {"size": "full", "priority": "low", "retention": "yield", "cache": False}


class Jobs(Configurable):
    """Defaults by the kind of a job (command, function, cell, notebook), and limits."""

    size = Dict(
        key_trait=CaselessStrEnum(KINDS),
        value_trait=Unicode(),
        default_value=dict.fromkeys(KINDS, DEFAULTS["size"]),
        help="The size that a job requests, by kind: c.Jobs.size = {'cell': 'half'}.",
    ).tag(config=True)
    priority = Dict(
        key_trait=CaselessStrEnum(KINDS),
        value_trait=CaselessStrEnum(PRIORITIES),
        default_value=dict.fromkeys(KINDS, DEFAULTS["priority"]),
        help="The priority of a job, by kind. Cells of notebooks have 'normal', so that jobs yield to them.",
    ).tag(config=True)
    retention = Dict(
        key_trait=CaselessStrEnum(KINDS),
        value_trait=CaselessStrEnum(RETENTIONS),
        default_value=dict.fromkeys(KINDS, DEFAULTS["retention"]),
        help="Whether the lease of a job may be parked for others ('yield') or not ('hold'), by kind.",
    ).tag(config=True)
    cache = Dict(
        key_trait=CaselessStrEnum(KINDS),
        value_trait=Bool(),
        default_value=dict.fromkeys(KINDS, DEFAULTS["cache"]),
        help="Whether results are cached where a job does not say so, by kind.",
    ).tag(config=True)

    requests_max = Integer(
        16, min=1, max=500, help="Leases that wait for jobs in the pool's queue at a time; other jobs wait here."
    ).tag(config=True)
    runners_max = Integer(64, min=1, max=1000, help="Jobs that run at a time.").tag(config=True)
    queued_max = Integer(10_000, min=1, help="Queued jobs; more are refused.").tag(config=True)
    kept_max = Integer(
        2_000, min=0, help="Jobs that are kept after their end; of more, the oldest are removed with their logs."
    ).tag(config=True)
    payload_bytes_max = Integer(
        8 * GIB, min=0, help="Bytes of the files that come with a job, such as inputs or a notebook."
    ).tag(config=True)
    log_bytes_max = Integer(
        64 * MIB, min=65_536, help="Bytes of the log of one job; its beginning and its end are kept."
    ).tag(config=True)
    result_bytes_max = Integer(
        20 * GIB, min=0, help="Bytes of all results; beyond it, those that were not used for longest are removed."
    ).tag(config=True)
    worker_idle_s = Float(
        10.0, min=0, help="Seconds that a worker process of function calls is kept, with its lease, for the next call."
    ).tag(config=True)
    idle_exit_s = Float(
        60.0, min=0, help="Seconds without a job and without a client after which the dispatcher ends."
    ).tag(config=True)

    def of_kind(self, setting: str, kind: str) -> Any:
        """Return a setting for one kind of job; the built-in default where the setting does not name the kind."""
        return getattr(self, setting).get(kind, DEFAULTS[setting])


def load() -> Jobs:
    """Return the settings from the configuration files. Raises :class:`InvalidRequest` with the file of an error."""
    config = Config()
    for path, loader in _loaders():
        try:
            config.merge(loader.load_config())
        except ConfigFileNotFound:
            continue
        except Exception as error:
            raise _unreadable(str(path), error) from error
    unknown = set(config.get("Jobs", {})) - set(Jobs.class_trait_names(config=True))
    if unknown:
        raise InvalidRequest(Message.of("jobs.setting_unknown", setting=f"Jobs.{min(unknown)}"))
    try:
        return Jobs(config=config)
    except TraitError as error:
        raise _unreadable(f"{CONFIG_NAME}.*", error) from error


def _loaders() -> Iterator[tuple[Path, PyFileConfigLoader | JSONFileConfigLoader]]:
    """Yield the loaders of all files that there may be; a later one counts more."""
    for folder in reversed(jupyter_config_path()):
        for suffix, loader in ((".py", PyFileConfigLoader), (".json", JSONFileConfigLoader)):
            name = CONFIG_NAME + suffix
            yield Path(folder) / name, loader(name, path=folder)


def _unreadable(place: str, error: Exception) -> InvalidRequest:
    reason = str(error) or type(error).__name__
    return InvalidRequest(Message.of("jobs.settings_unreadable", place=place, reason=reason))
