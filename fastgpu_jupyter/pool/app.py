"""``jupyter fastgpu pool``: configuration, start-up and signals of the pool manager."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from jupyter_core.application import base_aliases
from traitlets import Bool, Integer, TraitError, Unicode, default
from traitlets.config import Config, catch_config_error

from .. import __version__
from ..core.model.entities import OverLimit, Policy, State
from ..errors import Conflict, FastGPUError, HostFault, InvalidRequest, Message, StoreFault
from ..messages import render, say, text_of
from ..messages.help import CommandApp
from ..messages.language import ENGLISH
from ..text import printable
from ..wire.detach import detach
from ..wire.host_identity import slurm_job_has_gpus
from ..wire.locate import SYSTEM_SOCKET, user_socket, user_state_dir
from ..wire.spawn import ALREADY_RUNNING
from ..wire.variables import without_lease
from .carry_over import (
    Difference,
    SettingsRecord,
    apply_to_environment,
    has_cluster_leases,
    has_live_holders,
    load_record,
    remove_record,
    save_record,
    serves_live_holders,
    values_of_variables,
)
from .cluster_settings import CLUSTER_SETTINGS, ClusterSettings
from .composition import PoolServices, ServiceOptions
from .config_source import ConfigSource, error_in_file
from .devices.driver import Driver
from .devices.registration import DriverOptions
from .devices.registry import CATALOG, RESTRICTING_VARIABLES, AllDeviceFiles
from .devices.restriction import names_in
from .devices.selection import NoDevices, select_driver
from .effects.device_access import create_lease_groups
from .host import single_instance
from .host.clock import SystemClock
from .host.lease_holders import find_lease_holders
from .host.old_folders import remove_old_folders
from .host.threads import call_with_timeout
from .http.routes import serve
from .http.service import PoolService
from .journal.marker import Markers, marker_paths
from .journal.release_log import PreallocatedReleaseLog
from .journal.store import Journal
from .logging import configure_logging
from .loop.recovery import recover, replay
from .monitors import processes
from .monitors.inventory import DriverAtStartup
from .monitors.standby import StandbyLimits
from .rates import read_rates, require_known_models
from .settings import SECTIONS, Settings, require_known
from .shutdown import Shutdown, ShutdownMonitor

if TYPE_CHECKING:
    from .clusters.set_up import ClusterSetUp

CLOSE_S = 2.0
#: New objects between two garbage collections of the youngest generation. Most are freed before, without one.
COLLECT_EVERY_OBJECTS = 20_000
#: Settings of the application itself that hold for a successor, too.
CARRIED_OVER = ("devices", "idle_timeout_s", *CLUSTER_SETTINGS)
SYSTEM_STATE = Path("/var/lib/fastgpu")
#: Processes that a message names.
HOLDERS_NAMED_MAX = 5

log = logging.getLogger("fastgpu.pool")


class FastGPUPool(ClusterSettings, CommandApp):
    """The pool manager, which leases the GPUs of this host to notebooks."""

    name = "jupyter-fastgpu-pool"
    version = __version__
    description = "Lease the GPUs of this host to notebooks, for one user or for the whole system."
    examples = """
    jupyter fastgpu pool                           the GPUs of this host, for you
    jupyter fastgpu pool --simulate 2xA100-80GB    simulated GPUs, to try FastGPU
    jupyter fastgpu pool --system                  for all users of this host, as a service
    """
    classes = list(SECTIONS)
    raise_config_file_errors = True
    #: By name, because the commands import this module.
    subcommands = {
        "stop": ("fastgpu_jupyter.cli.pool.StopApp", "Stop your pool manager; leases live on."),
        "restart": ("fastgpu_jupyter.cli.pool.RestartApp", "Restart your pool manager with the same options."),
        "logs": ("fastgpu_jupyter.cli.pool.LogsApp", "Show what your pool manager logged."),
        "path": ("fastgpu_jupyter.cli.pool.PathApp", "Show where its socket, journal and log are."),
    }

    system = Bool(False, help="Serve all users of this host at /run/fastgpu/pool.sock.").tag(config=True)
    socket_path = Unicode(help="Socket to serve at, in place of the user's or the system's own.").tag(config=True)
    state_dir = Unicode(help="Folder for the journal and the log, in place of the user's or the system's own.").tag(
        config=True
    )
    devices = Unicode(
        help="The only devices to serve, by index or id as in `jupyter fastgpu status`, like '0, GPU-8932f937'. "
        "The beginning of an id is enough. Default: all that the environment of the pool leaves to it."
    ).tag(config=True)
    idle_timeout_s = Integer(
        600, min=0, help="End after this many seconds without a lease and without a client; 0 never ends."
    ).tag(config=True)
    log_json = Bool(False, help="Write the log as one JSON object a line.").tag(config=True)
    start_empty = Bool(
        False, help="Start with an empty journal although there was one: its leases and statements are forgotten."
    ).tag(config=True)
    on_demand = Bool(False, help="Detach once the pool answers; this is how Jupyter starts it.").tag(config=True)

    aliases = {**base_aliases, "simulate": "Devices.simulate", "socket": "FastGPUPool.socket_path"}
    flags = {
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log everything."),
        "system": ({"FastGPUPool": {"system": True}}, "Serve all users of this host."),
        "start-empty": ({"FastGPUPool": {"start_empty": True}}, "Start with an empty journal although there was one."),
        "on-demand": ({"FastGPUPool": {"on_demand": True}}, "Detach once the pool answers."),
    }

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    def _config_file_name_default(self) -> str:
        return "jupyter_fastgpu_config"  # one file for all of FastGPU

    @catch_config_error
    def initialize(self, argv: Any = None) -> None:
        """Read the command line and the configuration files, and check all settings."""
        super().initialize(argv)
        if self.subapp is not None:
            return
        if self.extra_args:  # perhaps a command with an error in its name, which must not start a pool manager
            raise TraitError(say("pool_start.no_command", text=repr(self.extra_args[0])))
        require_known(self.config, self.cli_config, type(self))
        self.settings = Settings(self)
        #: What differs from the settings, because it is that of a pool manager that was killed.
        self.carried_over: list[Difference] = []

    def load_config_file(self, suppress_errors: bool = True) -> None:  # type: ignore[override]  # as in jupyter_core
        """Read the configuration files. Raises :class:`TraitError` with the file and the line of an error."""
        try:
            super().load_config_file(suppress_errors)
        except TraitError:
            raise
        except Exception as error:
            # Otherwise a file with an error would be ignored with a warning, and with it its rates and limits.
            names = {f"{name}.py" for name in (self.config_file_name, "jupyter_config")}
            raise TraitError(render(error_in_file(error, names))) from error

    def start(self) -> None:
        """Serve until a signal arrives or the pool was idle for long; exit with one sentence if that is impossible."""
        super().start()
        _leave_lease()
        os.umask(0o077)
        _raise_descriptor_limit()
        gc.disable()  # until the state is recovered
        report: Callable[[int, str], None] = detach(_show_failure) if self.on_demand else lambda *_: None
        try:
            self._serve_alone(report)
        except FastGPUError as error:
            status = ALREADY_RUNNING if isinstance(error, Conflict) else 1
            report(status, text_of(error))
            self._exit(error, status)

    def _exit(self, error: FastGPUError, status: int) -> None:
        if self.on_demand:
            log.error(text_of(error, ENGLISH))
        else:
            print(f"jupyter fastgpu pool: {printable(text_of(error))}", file=sys.stderr)
        sys.exit(status)

    def _serve_alone(self, report: Callable[[int, str], None]) -> None:
        """Take the locks of the state folder and the socket, recover, and serve."""
        self._require_valid_settings()
        clock = SystemClock()
        socket_path = Path(self.socket_path or (SYSTEM_SOCKET if self.system else user_socket())).absolute()
        state_dir = self._choose_state_dir(socket_path, clock.boot_id())
        self._take_locks(state_dir, socket_path)
        log_file = state_dir / "pool.log" if self.on_demand else None
        configure_logging(cast(int, self.log_level), log_file, as_json=self.log_json)
        journal = self._open_journal(state_dir, socket_path)
        self._carry_over(state_dir, journal, clock.boot_id())
        settings, source = self.settings, self._source()
        cluster = self._set_up_cluster(state_dir)
        driver = NoDevices("") if cluster else self._select_driver(socket_path)
        release_log = PreallocatedReleaseLog(state_dir / "releases.preallocated")
        try:
            pool, message = recover(journal, DriverAtStartup(driver), clock, release_log, self._policy())
            if cluster is None:
                _require_no_cluster_leases(pool.state)
            if pool.state.devices:  # which devices there are is not known where the driver does not answer
                names = {device.spec.model for device in pool.state.devices.values()}
                require_known_models(self.rates, CATALOG, names, source)
        except BaseException:
            journal.close()  # as it is: what was not verified is not written to
            raise
        if not Markers(journal.path, marker_paths(state_dir, socket_path)).write():
            log.warning("No file outside %s says that there is a journal; its loss would not be noticed.", state_dir)
        if not self.system:
            save_record(state_dir, self._in_effect())
        restrict = settings.access.restrict_device_files
        services = PoolServices(
            pool,
            journal,
            driver,
            clock,
            release_log,
            options=ServiceOptions(
                settings.access.foreign_processes,
                settings.access.foreign_exempt,
                settings.scrubbing.mode,
                settings.scrubbing.timeout_s,
                # Its kernels start on the hosts of the cluster.
                StandbyLimits(memory_percent=0.0) if cluster else settings.standby.limits(),
            ),
            admit=settings.limits.service_limits().admit,
            lease_groups=create_lease_groups(state_dir, clock.boot_id(), AllDeviceFiles(), close=restrict),
            driver_message=None if cluster else message,
            cluster=cluster,
        )
        kept = asyncio.run(self._serve(services, clock, socket_path, report))
        if not kept:
            remove_record(state_dir)
        with suppress(HostFault):  # a driver that hangs is left to the end of the process
            call_with_timeout(CLOSE_S, driver.close, "The driver does not close.")

    def _source(self) -> ConfigSource:
        return ConfigSource(self.loaded_config_files, self.cli_config)

    def _require_valid_settings(self) -> None:
        """Read the rates. Raises :class:`InvalidRequest` for settings that do not go together."""
        self.rates = read_rates(self.settings.accounting.rates_per_hour, self._source())
        if self.settings.access.foreign_processes == processes.END and not self.system:
            raise InvalidRequest(Message.of("pool_start.ends_processes"))
        if self.cluster and self.system:
            raise InvalidRequest(Message.of("cluster.system_pool"))

    # -- what is carried over from a pool manager that was killed ------------------------------------------------------

    def _choose_state_dir(self, socket_path: Path, boot_id: str) -> Path:
        """Return the state folder; on demand, that of the pool manager that was killed at this socket with leases."""
        own = Path(self.state_dir or (SYSTEM_STATE if self.system else user_state_dir())).absolute()
        last = single_instance.owner_of_socket(socket_path)[1] if self.on_demand and not self.state_dir else None
        if last is None or last == own or not serves_live_holders(last, boot_id):
            return own
        self.carried_over.append(Difference(type(self).__name__, "state_dir", str(last)))
        return last

    def _carry_over(self, state_dir: Path, journal: Journal, boot_id: str) -> None:
        """On demand, take over the settings of a pool manager that was killed, if its leases are held."""
        record = load_record(state_dir) if self.on_demand else None
        found = list(record.differences(self._in_effect())) if record else []
        if not found or not has_live_holders(replay(journal), boot_id):
            return
        changed = Config()
        for one in found:
            if one.section:
                changed[one.section][one.name] = one.value
        try:
            self.update_config(changed)
            self.settings = Settings(self)
            self._require_valid_settings()
        except TraitError as error:
            raise InvalidRequest(f"A setting of the pool manager that was killed is not valid: {error}") from error
        apply_to_environment(found, os.environ)
        self.carried_over += found
        log.warning("These settings of a pool manager that was killed hold: %s", ", ".join(map(str, found)))

    def _in_effect(self) -> SettingsRecord:
        """Return the settings and the variables of the environment that are in effect."""
        settings = self.settings.values() | {type(self).__name__: {name: getattr(self, name) for name in CARRIED_OVER}}
        return SettingsRecord(settings, values_of_variables(RESTRICTING_VARIABLES, os.environ))

    # -- start and end -------------------------------------------------------------------------------------------------

    def _take_locks(self, state_dir: Path, socket_path: Path) -> None:
        single_instance.require_socket_or_nothing(socket_path)  # before anything is made beside it
        single_instance.create_private_folder(state_dir, named=bool(self.state_dir))
        mode = 0o755 if self.system else 0o700
        single_instance.create_private_folder(socket_path.parent, mode, named=bool(self.socket_path))
        descriptor = single_instance.acquire_lock(state_dir, "lock")
        single_instance.write_owner(descriptor, f"socket {socket_path}")
        descriptor = single_instance.acquire_socket_lock(socket_path)
        single_instance.write_owner(descriptor, f"state folder {state_dir}")
        single_instance.require_replaceable(socket_path)
        if socket_path == user_socket():
            remove_old_folders(socket_path)

    def _open_journal(self, state_dir: Path, socket_path: Path) -> Journal:
        """Return the journal; an empty one only at the first start, and where no process holds a lease."""
        path = state_dir / "journal.db"
        if not path.exists():
            self._require_first_start(path, state_dir, socket_path)
        journal = Journal(path)
        try:
            if journal.is_new:
                self._require_first_start(path, state_dir, socket_path)
        except BaseException:
            journal.close()
            raise
        return journal

    def _require_first_start(self, journal: Path, state_dir: Path, socket_path: Path) -> None:
        if holders := find_lease_holders(socket_path):
            listed = ", ".join(map(str, holders[:HOLDERS_NAMED_MAX])) + (", …" * (len(holders) > HOLDERS_NAMED_MAX))
            raise StoreFault(
                Message.of("pool_start.no_journal", journal=str(journal), path=str(socket_path), processes=listed)
            )
        if not self.start_empty:
            Markers(journal, marker_paths(state_dir, socket_path)).require_first_start()

    def _select_driver(self, socket_path: Path) -> Driver:
        settings = self.settings
        options = DriverOptions(
            rates=self.rates,
            share=settings.sharing.enabled,
            remove_unknown_partitions=settings.devices.remove_unknown_partitions,
            mps=settings.sharing.mps and settings.sharing.enabled,
            all_users=self.system,
            devices=names_in(self.devices),
            socket_path=socket_path,
        )
        return select_driver(settings.devices.simulate, options)

    def _set_up_cluster(self, state_dir: Path) -> ClusterSetUp | None:
        """Return the engine of this pool; ``None`` where it leases local devices, which imports nothing of engines.

        In a job that has GPUs those are leased, also where all other pools of its user lease those of the cluster.
        """
        if not self.cluster or slurm_job_has_gpus():
            return None
        from .clusters.set_up import ClusterSetUp

        return ClusterSetUp.of(self.cluster_options(), state_dir, self.rates)

    def _policy(self) -> Policy:
        parking, sharing = self.settings.parking, self.settings.sharing
        return Policy(
            idle_ms=round(1000 * parking.idle_s) or None,
            quantum_ms=round(1000 * parking.time_slice_s) or None,
            ahead_ms=round(1000 * parking.ahead_s) or None,
            parked_bytes_max=parking.host_memory_bytes(),
            defragments=parking.defragment,
            over_limit=OverLimit(sharing.over_limit_action),
            over_limit_grace_ms=round(1000 * sharing.over_limit_grace_s),
            idle_policy=self.settings.idle.policy(),
        )

    async def _serve(
        self, services: PoolServices, clock: SystemClock, socket_path: Path, report: Callable[[int, str], None]
    ) -> bool:
        """Serve until the end, and return whether the settings are kept for a successor."""
        accounting, boot_id = self.settings.accounting, clock.boot_id()
        service = PoolService(
            services.http_backend(),
            scope="system" if self.system else "user",
            currency=accounting.currency,
            started_at=clock.wall_ms(),
            boot_id=boot_id,
            high_priority=self.settings.access.high_priority_tenants,
            discounts={"month": accounting.month_discount_percent, "year": accounting.year_discount_percent},
            limits=self.settings.limits.service_limits(),
            carried_over=[str(one) for one in self.carried_over],
        )
        server = serve(service)
        if services.cluster is not None:
            services.cluster.relay_to(server.connect_relayed)
        shutdown = Shutdown()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, shutdown.begin)
        loop.add_signal_handler(signal.SIGHUP, partial(shutdown.begin, keeps_settings=True))
        await services.start()
        server.add_socket(single_instance.listen(socket_path, 0o666 if self.system else 0o600))
        socket_inode = single_instance.inode(socket_path)
        collect_garbage_seldom()
        message = services.inventory.message
        log.info("Serving at %s. %s", socket_path, render(message, ENGLISH) if message else "")
        report(0, "")
        timeout_s = self.idle_timeout_s
        end = ShutdownMonitor(
            service, socket_path, socket_inode, timeout_s, shutdown, for_leases=bool(self.carried_over)
        )
        services.supervisor.run_forever("connections", server.sweep)
        services.supervisor.run_forever("idle", end.check)
        await shutdown.begun.wait()
        server.stop()
        single_instance.remove_socket(socket_path, socket_inode)
        await server.close_all_connections()
        await services.stop()
        log.info("Ended; leases continue under the next pool manager.")
        return shutdown.keeps_settings


def _require_no_cluster_leases(state: State) -> None:
    """Raise :class:`InvalidRequest` where jobs of a cluster would run on unseen."""
    if has_cluster_leases(state):
        raise InvalidRequest(Message.of("cluster.leases_left"))


def _leave_lease() -> None:
    """Remove what a kernel from which this process was started has in its environment because of its lease."""
    environment = without_lease(os.environ)
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    os.environ.update(environment)


def _raise_descriptor_limit() -> None:
    """Raise the limit of open descriptors as far as allowed: each connection and each holder takes one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def collect_garbage_seldom() -> None:
    """Collect garbage less often, and not in the recovered state, which lives as long as the process."""
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY_OBJECTS, 20, 20)
    gc.enable()


def _show_failure(status: int, sentence: str) -> None:
    """Print in the process that was started why the pool manager does not serve."""
    if status:
        print(printable(sentence) or say("pool_start.ended"), file=sys.stderr, flush=True)


def main(argv: Any = None) -> None:
    """Run the pool manager from a command line."""
    FastGPUPool.launch_instance(argv)
