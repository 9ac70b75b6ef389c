"""The settings of the pool manager, grouped into sections: ``c.Parking.idle_s = 30`` in ``jupyter_fastgpu_config.py``.

Each section is a ``Configurable`` of its own, so that ``jupyter fastgpu pool --help-all`` lists it. An unknown setting
is refused; the refusal names the new one where a setting was renamed.
"""

from __future__ import annotations

import os
import re
from typing import Any

from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import Config, Configurable

from ..core.model.entities import OverLimit
from ..errors import InvalidRequest
from ..messages import say
from ..units import parse_memory
from .devices.registry import PROGRAMS
from .effects.scrubber import OVERWRITE, WAIT
from .host import machine
from .http.limits import ServiceLimits
from .idle_settings import Idle
from .monitors import processes
from .monitors.exemptions import DISPLAYS
from .monitors.standby import StandbyLimits

_LIMITS, _STANDBY = ServiceLimits(), StandbyLimits()
#: No digits, blanks, quotes or separators: it stands beside numbers, in CSV too, and begins no formula.
_CURRENCY = re.compile(r"""[^\d\s"'`,;:.=+\-@<>&|\\]{1,8}""")


class Devices(Configurable):
    """Which devices the pool serves."""

    simulate = Unicode(
        help="Simulated devices to serve in place of real ones, like '2xA100-80GB, T4-16GB'. "
        "Default: the environment variable FASTGPU_SIMULATE, or none."
    ).tag(config=True)
    remove_unknown_partitions = Bool(
        False,
        help="Destroy MIG instances that the pool did not make and in which no process runs. Otherwise those that "
        "programs can use are leased as they are.",
    ).tag(config=True)

    @default("simulate")
    def _default_simulate(self) -> str:
        return os.environ.get("FASTGPU_SIMULATE", "")


class Sharing(Configurable):
    """How several leases use one device."""

    enabled = Bool(
        True,
        help="Lease parts of a GPU, so that several leases are on one: they compute by turns, and each says what "
        "enforces its memory limit. False leases whole GPUs only.",
    ).tag(config=True)
    mps = Bool(
        False,
        help="Lease parts of a GPU by MPS where possible: a user's notebooks on it compute at the same time, "
        "and an error in one of them ends the others there. Such a lease is neither parked nor resized.",
    ).tag(config=True)
    over_limit_action = CaselessStrEnum(
        [one.value for one in OverLimit],
        default_value=OverLimit.PARK.value,
        help="What happens to a lease that continues to use more GPU memory than it has, where only libraries enforce "
        "its limit: warn shows it to its user, park parks it then, revoke ends it if parking is impossible or does not "
        "help.",
    ).tag(config=True)
    over_limit_grace_s = Float(
        30.0, min=0, help="Seconds between two of these steps: to be warned, to be parked, to be ended."
    ).tag(config=True)


class Parking(Configurable):
    """When leases are parked, and how much host memory that may take."""

    idle_s = Float(
        5.0,
        min=0,
        help="While requests wait, park a lease in which no cell has run for so many seconds; 0 never does. "
        "Leases with retention hold, and devices that cannot park, are left alone.",
    ).tag(config=True)
    ahead_s = Float(
        0.0,
        min=0,
        help="Park a lease in which no cell has run for so many seconds before a request waits, as long as a parked "
        "lease of some size could not resume at once; 0 never does.",
    ).tag(config=True)
    time_slice_s = Float(
        0.0,
        min=0,
        help="While a tenant waits that has been served less, park also a lease that has computed for so many seconds; "
        "0 never does.",
    ).tag(config=True)
    defragment = Bool(
        False, help="Move a lease to another device, by parking it, if that lets a waiting request fit."
    ).tag(config=True)
    host_memory = Unicode(
        help="Host memory that all parked leases together may take, like '64GiB'. Default: half of what the host has."
    ).tag(config=True)

    @validate("host_memory")
    def _require_memory(self, proposal: Any) -> str:
        value = str(proposal["value"])
        try:
            parse_memory(value or "1GiB")
        except InvalidRequest as error:
            raise TraitError(say("config.of_setting", setting="Parking.host_memory", reason=error.message)) from error
        return value

    def host_memory_bytes(self) -> int:
        """Return the host memory that parked leases may take."""
        if self.host_memory:
            return parse_memory(self.host_memory)
        return machine.default_parked_bytes(machine.spec().memory_bytes)


class Scrubbing(Configurable):
    """What happens to the device memory of a lease before another lease has it."""

    mode = CaselessStrEnum(
        [WAIT, OVERWRITE],
        default_value=WAIT,
        help="What happens to the GPU memory of a lease that ended or was parked before others have its GPU: wait "
        "waits until no process of it has any there, overwrite sets it to zero as well. While other leases are on the "
        "GPU nothing is overwritten.",
    ).tag(config=True)
    timeout_s = Float(
        60.0, min=1, help="Seconds after which overwriting the memory of a GPU is given up and tried again."
    ).tag(config=True)


class Standby(Configurable):
    """How much memory the standby kernels of all Jupyter servers may have together."""

    memory_percent = Float(
        _STANDBY.memory_percent,
        min=0,
        max=50,
        help="Percentage of the host's memory, and of the limit of each control group, that all standby kernels "
        "together may have; 0 allows none.",
    ).tag(config=True)
    pressure_percent = Float(
        _STANDBY.pressure_percent,
        min=0.1,
        max=100,
        help="Percentage of the time in which processes wait for memory (PSI, the average of 10 seconds or a minute) "
        "from which standby kernels end and none is started.",
    ).tag(config=True)

    def limits(self) -> StandbyLimits:
        """Return the limits as the monitor uses them."""
        return StandbyLimits(self.memory_percent, self.pressure_percent)


class Access(Configurable):
    """Who may use what."""

    restrict_device_files = Bool(
        False,
        help="Let a kernel and what it starts open the device files of its lease's GPU and of no other, by a control "
        "group of its own; as root only. Otherwise leases only say which files those are.",
    ).tag(config=True)
    foreign_processes = CaselessStrEnum(
        [processes.IGNORE, processes.WARN, processes.END],
        default_value=processes.WARN,
        help="What happens to processes that have memory on a GPU of this pool and no lease of it: warn shows them, "
        "end ends them as well, in a system pool only, except those of root, of services and of foreign_exempt.",
    ).tag(config=True)
    foreign_exempt = List(
        Unicode(),
        default_value=[*DISPLAYS, *PROGRAMS],
        help="What is never ended though it has no lease: programs by the name of their file, which must be root's, "
        "and users by number, like uid:1001. Default: displays, and programs that manage GPUs; .append() adds some.",
    ).tag(config=True)
    high_priority_tenants = List(
        Unicode(),
        help="Tenants that may request priority high in a system pool. A high priority preempts also leases that "
        "compute, where they can be parked. In a user's own pool every request may.",
    ).tag(config=True)


class Accounting(Configurable):
    """What the use of devices costs."""

    rates_per_hour = Dict(
        help="Price of one GPU for one hour by model, in the pool's currency, like {'A100-80GB': 2.5}; "
        "models that are not named keep their list price.",
    ).tag(config=True)
    currency = Unicode(
        "USD", help="The currency in which rates are given and costs are shown: at most 8 letters or a sign."
    ).tag(config=True)
    month_discount_percent = Integer(
        20, min=0, max=100, help="What is taken off the price of capacity that is reserved by the month."
    ).tag(config=True)
    year_discount_percent = Integer(
        40, min=0, max=100, help="What is taken off the price of capacity that is reserved by the year."
    ).tag(config=True)

    @validate("currency")
    def _require_currency(self, proposal: Any) -> str:
        currency = str(proposal["value"])
        if not _CURRENCY.fullmatch(currency) or not currency.isprintable():
            raise TraitError(say("config.currency", text=repr(currency[:40])))
        return currency


class Limits(Configurable):
    """How much callers may ask of the pool; see :class:`.http.limits.ServiceLimits`."""

    leases_max = Integer(
        _LIMITS.leases_max, min=1, help="Leases of all tenants that may exist, waiting ones included."
    ).tag(config=True)
    leases_max_per_tenant = Integer(
        _LIMITS.leases_max_per_tenant, min=1, help="Leases of one tenant that may exist, waiting ones included."
    ).tag(config=True)
    waiting_max = Integer(_LIMITS.waiting_max, min=1, help="Requests of all tenants that may wait.").tag(config=True)
    waiting_max_per_tenant = Integer(
        _LIMITS.waiting_max_per_tenant, min=1, help="Requests of one tenant that may wait."
    ).tag(config=True)
    changes_per_day_per_tenant = Integer(
        _LIMITS.changes_per_day_per_tenant,
        min=1,
        help="Requests, changes of size, retention or budget, and resumes of one tenant in a day (UTC); those of "
        "administrators count together. Releasing, parking, binding, cancelling and reports are never refused.",
    ).tag(config=True)
    requests_per_s_per_tenant = Float(
        _LIMITS.requests_per_s_per_tenant, min=0.1, help="HTTP requests of one user in a second."
    ).tag(config=True)
    connections_max = Integer(_LIMITS.connections_max, min=1, help="Open connections of all users.").tag(config=True)
    connections_max_per_tenant = Integer(
        _LIMITS.connections_max_per_tenant, min=1, help="Open connections of one user."
    ).tag(config=True)
    subscribers_max = Integer(_LIMITS.subscribers_max, min=1, help="Readers of the event stream of all tenants.").tag(
        config=True
    )
    subscribers_max_per_tenant = Integer(
        _LIMITS.subscribers_max_per_tenant, min=1, help="Readers of the event stream of one tenant."
    ).tag(config=True)
    body_bytes_max = Integer(_LIMITS.body_bytes_max, min=1024, help="Bytes in the body of a request.").tag(config=True)
    header_bytes_max = Integer(_LIMITS.header_bytes_max, min=1024, help="Bytes in the head of a request.").tag(
        config=True
    )
    slow_reader_timeout_s = Float(
        _LIMITS.slow_reader_timeout_s,
        min=0.1,
        help="Seconds for which an answer or an event waits for a reader that does not read.",
    ).tag(config=True)

    def service_limits(self) -> ServiceLimits:
        """Return the limits as the HTTP service uses them."""
        return ServiceLimits(**{name: getattr(self, name) for name in ServiceLimits._fields})


SECTIONS: tuple[type[Configurable], ...] = (
    Devices,
    Sharing,
    Parking,
    Idle,
    Scrubbing,
    Standby,
    Access,
    Accounting,
    Limits,
)

#: Settings that were traits of ``FastGPUPool``, and what they are now.
RENAMED = {
    "simulate": "Devices.simulate",
    "mig_remove_unknown": "Devices.remove_unknown_partitions",
    "share_gpus": "Sharing.enabled",
    "mps": "Sharing.mps",
    "over_limit": "Sharing.over_limit_action",
    "over_limit_grace_s": "Sharing.over_limit_grace_s",
    "park_idle_s": "Parking.idle_s",
    "park_turn_s": "Parking.time_slice_s",
    "park_to_move": "Parking.defragment",
    "park_memory": "Parking.host_memory",
    "scrub": "Scrubbing.mode",
    "scrub_timeout_s": "Scrubbing.timeout_s",
    "close_nodes": "Access.restrict_device_files",
    "foreign": "Access.foreign_processes",
    "high_priority": "Access.high_priority_tenants",
    "rates": "Accounting.rates_per_hour",
    "currency": "Accounting.currency",
    "month_discount_percent": "Accounting.month_discount_percent",
    "year_discount_percent": "Accounting.year_discount_percent",
    **{name: f"Limits.{name}" for name in ServiceLimits._fields},
}


class Settings:
    """All sections with the values of a configuration. Raises :class:`TraitError` for a value that is not allowed."""

    def __init__(self, parent: Configurable) -> None:
        self.devices = Devices(parent=parent)
        self.sharing = Sharing(parent=parent)
        self.parking = Parking(parent=parent)
        self.idle = Idle(parent=parent)
        self.scrubbing = Scrubbing(parent=parent)
        self.standby = Standby(parent=parent)
        self.access = Access(parent=parent)
        self.accounting = Accounting(parent=parent)
        self.limits = Limits(parent=parent)

    def values(self) -> dict[str, dict[str, Any]]:
        """Return all settings by section and name, as JSON has them."""
        return {
            type(section).__name__: {name: getattr(section, name) for name in sorted(section.trait_names(config=True))}
            for section in vars(self).values()
        }


def require_known(config: Config, command_line: Config, application: type[Configurable]) -> None:
    """Raise :class:`TraitError` for a setting that does not exist, with the new name if it was renamed.

    ``config`` is everything that was read. Files may have sections of other applications; ``command_line`` may not.
    """
    classes: dict[str, type[Configurable]] = {cls.__name__: cls for cls in (application, *SECTIONS)}
    for name, cls in classes.items():
        _require_traits(name, cls, config.get(name, {}))
    inherited = {cls.__name__ for cls in application.__mro__ if issubclass(cls, Configurable)}
    for name in command_line:
        if name not in {*classes, *inherited}:
            raise TraitError(say("config.no_section", name=repr(name), names=", ".join(classes)))


def _require_traits(section: str, cls: type[Configurable], values: Any) -> None:
    known = set(cls.class_trait_names(config=True))
    for name, value in dict(values).items():
        if name in known or isinstance(value, Config):  # a section within a section, for one application only
            continue
        if section == "FastGPUPool" and name in RENAMED:
            raise TraitError(say("config.renamed", name=name, new_name=RENAMED[name]))
        raise TraitError(say("config.no_setting", section=section, name=name))
