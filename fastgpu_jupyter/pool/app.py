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
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

from jupyter_core.application import JupyterApp, base_aliases
from traitlets import Bool, CaselessStrEnum, Dict, Float, Integer, List, Unicode, default

from .. import __version__
from ..core.model.entities import OverLimit, Policy
from ..errors import Conflict, FastGPUError, HostFault, InvalidRequest
from ..units import parse_memory
from ..wire.locate import SYSTEM_SOCKET, user_socket, user_state_dir
from ..wire.spawn import ALREADY_RUNNING
from .composition import PoolServices, ServiceOptions
from .devices.registration import DriverOptions
from .devices.registry import AllDeviceFiles
from .devices.selection import select_driver
from .effects.device_access import create_lease_groups
from .effects.scrubber import KNOWN, OVERWRITE
from .host import machine, single_instance
from .host.clock import Clock
from .host.threads import call_with_timeout
from .http.limits import ServiceLimits
from .http.routes import serve
from .http.service import PoolService
from .journal.release_log import PreallocatedReleaseLog
from .journal.store import Journal
from .logging import HumanFormatter, JsonFormatter, without_what_clients_sent
from .loop.recovery import recover
from .monitors import processes
from .monitors.inventory import DriverAtStartup

LOG_BYTES_MAX = 2 * 2**20
IDLE_CHECK_S = 1.0
CLOSE_S = 2.0
#: New objects between two looks for garbage among them. Most are gone by then; what is in circles waits for it.
GARBAGE_LOOK_EVERY = 20_000
SYSTEM_STATE = Path("/var/lib/fastgpu")


class FastGPUPool(JupyterApp):
    """Runs the pool manager: it leases the GPUs of this host to notebooks."""

    name = "jupyter-fastgpu-pool"
    version = __version__
    description = "Lease the GPUs of this host to notebooks, for one user or for the whole system."
    examples = """
    jupyter fastgpu pool                           the GPUs of this host, for you
    jupyter fastgpu pool --simulate 2xA100-80GB    GPUs that are not there, to try FastGPU
    jupyter fastgpu pool --system                  for all users of this host, as a service
    """

    simulate = Unicode(
        help="Simulated devices to serve in place of real ones, like '2xA100-80GB, T4-16GB'. "
        "Default: the environment variable FASTGPU_SIMULATE, or none."
    ).tag(config=True)
    rates = Dict(
        value_trait=Float(),
        help="Price of one GPU for one hour by model, in the pool's currency, like {'A100-80GB': 2.5}; "
        "models that are not named keep their list price.",
    ).tag(config=True)
    month_discount_percent = Integer(
        20, min=0, max=100, help="What is taken off the price of capacity that is reserved by the month."
    ).tag(config=True)
    year_discount_percent = Integer(
        40, min=0, max=100, help="What is taken off the price of capacity that is reserved by the year."
    ).tag(config=True)
    currency = Unicode("USD", help="The currency in which rates are given and costs are shown.").tag(config=True)
    system = Bool(False, help="Serve all users of this host at /run/fastgpu/pool.sock.").tag(config=True)
    socket_path = Unicode(help="Socket to serve at, in place of the user's or the system's own.").tag(config=True)
    state_dir = Unicode(help="Folder for the journal and the log, in place of the user's or the system's own.").tag(
        config=True
    )
    idle_timeout_s = Integer(
        600, min=0, help="End after this many seconds without a lease and without a client; 0 never ends."
    ).tag(config=True)
    park_idle_s = Float(
        5.0,
        min=0,
        help="Where somebody waits, park a lease in which no cell has run for so many seconds; 0 never does. "
        "Leases that are held, and devices that cannot park, are left alone.",
    ).tag(config=True)
    park_turn_s = Float(
        0.0,
        min=0,
        help="Where somebody waits who has had less, park also a lease that has computed for so many seconds; "
        "0 never does.",
    ).tag(config=True)
    park_to_move = Bool(
        False,
        help="Move a lease to another device, by parking it, where that lets one that waits fit.",
    ).tag(config=True)
    park_memory = Unicode(
        help="Host memory that parked leases may take in all, like '64GiB'. Default: half of what the machine has."
    ).tag(config=True)
    mig_remove_unknown = Bool(
        False,
        help="Destroy MIG instances that the pool did not make and in which nothing runs. Otherwise those that "
        "programs can use are leased as they are.",
    ).tag(config=True)
    mps = Bool(
        False,
        help="Lease parts of a GPU by MPS where that can be: a user's notebooks on it compute at the same "
        "time, and an error in one of them ends the others there. Such a lease is neither parked nor resized.",
    ).tag(config=True)
    share_gpus = Bool(
        True,
        help="Lease parts of a GPU, so that several leases are on one: they compute by turns, and each says who keeps "
        "its memory limit. False leases whole GPUs only.",
    ).tag(config=True)
    over_limit = CaselessStrEnum(
        [one.value for one in OverLimit],
        default_value=OverLimit.PARK.value,
        help="What happens to a lease that goes on to use more GPU memory than it has, where only libraries keep its "
        "limit: warn tells its user, park parks it then, revoke ends it where that cannot be or does not help.",
    ).tag(config=True)
    over_limit_grace_s = Float(
        30.0, min=0, help="Seconds between two of these steps: to be told, to be parked, to be ended."
    ).tag(config=True)
    scrub = CaselessStrEnum(
        [KNOWN, OVERWRITE],
        default_value=KNOWN,
        help="What happens to the GPU memory of a lease that ended or was parked before others have its GPU: known "
        "waits until no process of it has any there, overwrite sets it to zero as well. Where other leases are on the "
        "GPU nothing is overwritten.",
    ).tag(config=True)
    scrub_timeout_s = Float(
        60.0, min=1, help="Seconds after which overwriting the memory of a GPU is given up and tried again."
    ).tag(config=True)
    close_nodes = Bool(
        False,
        help="Let a kernel and what it starts open the device files of its lease's GPU and of no other, by a control "
        "group of its own; as root only. Otherwise leases only say which files those are.",
    ).tag(config=True)
    foreign = CaselessStrEnum(
        [processes.IGNORE, processes.WARN, processes.END],
        default_value=processes.WARN,
        help="What happens to processes that have memory on a GPU of this pool and no lease of it: warn shows them, "
        "end ends them as well, in a pool of the whole system only.",
    ).tag(config=True)
    high_priority = List(
        Unicode(),
        help="Users who may ask with priority high in a pool of the whole system. A high priority takes GPUs also from "
        "leases that compute, where they can be parked. In a user's own pool everybody may.",
    ).tag(config=True)
    leases_max = Integer(
        ServiceLimits().leases_max, min=1, help="Leases of all users that may exist, waiting ones included."
    ).tag(config=True)
    leases_max_per_tenant = Integer(
        ServiceLimits().leases_max_per_tenant, min=1, help="Leases of one user that may exist, waiting ones included."
    ).tag(config=True)
    waiting_max = Integer(ServiceLimits().waiting_max, min=1, help="Requests of all users that may wait.").tag(
        config=True
    )
    waiting_max_per_tenant = Integer(
        ServiceLimits().waiting_max_per_tenant, min=1, help="Requests of one user that may wait."
    ).tag(config=True)
    requests_per_s_per_tenant = Float(
        ServiceLimits().requests_per_s_per_tenant, min=0.1, help="HTTP requests of one user in a second."
    ).tag(config=True)
    connections_max = Integer(ServiceLimits().connections_max, min=1, help="Open connections of all users.").tag(
        config=True
    )
    connections_max_per_tenant = Integer(
        ServiceLimits().connections_max_per_tenant, min=1, help="Open connections of one user."
    ).tag(config=True)
    subscribers_max = Integer(
        ServiceLimits().subscribers_max, min=1, help="Readers of the event stream of all users."
    ).tag(config=True)
    subscribers_max_per_tenant = Integer(
        ServiceLimits().subscribers_max_per_tenant, min=1, help="Readers of the event stream of one user."
    ).tag(config=True)
    body_bytes_max = Integer(ServiceLimits().body_bytes_max, min=1024, help="Bytes in the body of a request.").tag(
        config=True
    )
    header_bytes_max = Integer(ServiceLimits().header_bytes_max, min=1024, help="Bytes in the head of a request.").tag(
        config=True
    )
    slow_reader_timeout_s = Float(
        ServiceLimits().slow_reader_timeout_s,
        min=0.1,
        help="Seconds for which an answer waits for a reader that does not read.",
    ).tag(config=True)
    log_json = Bool(False, help="Write the log as one JSON object a line.").tag(config=True)
    on_demand = Bool(False, help="Detach once the pool answers; how Jupyter starts it.").tag(config=True)

    aliases = {**base_aliases, "simulate": "FastGPUPool.simulate", "socket": "FastGPUPool.socket_path"}
    flags = {
        "debug": ({"Application": {"log_level": logging.DEBUG}}, "Log everything."),
        "system": ({"FastGPUPool": {"system": True}}, "Serve all users of this host."),
        "on-demand": ({"FastGPUPool": {"on_demand": True}}, "Detach once the pool answers."),
    }

    @default("simulate")
    def _default_simulate(self) -> str:
        return os.environ.get("FASTGPU_SIMULATE", "")

    @default("log_level")
    def _default_log_level(self) -> int:
        return logging.INFO

    def _config_file_name_default(self) -> str:
        return "jupyter_fastgpu_config"  # one file for all of FastGPU

    def start(self) -> None:
        """Serve until told to stop or idle for long. Exits with a clear line where that is not possible."""
        super().start()
        os.umask(0o077)
        _allow_descriptors()
        gc.disable()  # until all that lasts is there
        tell: Callable[[str], None] = _detach() if self.on_demand else lambda _: None
        try:
            self._serve_alone(tell)
        except Conflict as error:
            tell(str(error))
            self._exit(f"{error}", ALREADY_RUNNING)
        except FastGPUError as error:
            tell(str(error))
            self._exit(str(error), 1)

    def _exit(self, sentence: str, status: int) -> None:
        if self.on_demand:
            logging.getLogger("fastgpu.pool").error(sentence)
        else:
            print(f"jupyter fastgpu pool: {sentence}", file=sys.stderr)
        sys.exit(status)

    def _serve_alone(self, tell: Callable[[str], None]) -> None:
        if self.foreign == processes.END and not self.system:
            raise InvalidRequest("Only a pool of the whole system (--system) ends processes that have no lease.")
        state_dir = Path(self.state_dir or (SYSTEM_STATE if self.system else user_state_dir()))
        socket_path = Path(self.socket_path or (SYSTEM_SOCKET if self.system else user_socket()))
        single_instance.create_private_folder(state_dir)
        single_instance.create_private_folder(socket_path.parent, 0o755 if self.system else 0o700)
        descriptor = single_instance.acquire_lock(state_dir, "lock")
        single_instance.write_owner(descriptor, f"process {os.getpid()}, socket {socket_path}")
        single_instance.write_owner(
            single_instance.acquire_socket_lock(socket_path), f"process {os.getpid()}, state folder {state_dir}"
        )
        self._set_up_log(state_dir)
        clock = Clock()
        driver = select_driver(
            self.simulate,
            DriverOptions(
                rates=self.rates,
                share=self.share_gpus,
                remove_unknown_partitions=self.mig_remove_unknown,
                mps=self.mps and self.share_gpus,
                all_users=self.system,
                socket_path=socket_path,
            ),
        )
        journal = Journal(state_dir / "journal.db")
        release_log = PreallocatedReleaseLog(state_dir / "releases.preallocated")
        pool, message = recover(journal, DriverAtStartup(driver), clock, release_log, self._policy())
        limits = ServiceLimits(**{name: getattr(self, name) for name in ServiceLimits._fields})
        services = PoolServices(
            pool,
            journal,
            driver,
            clock,
            release_log,
            options=ServiceOptions(self.foreign, self.scrub, self.scrub_timeout_s),
            admit=limits.admit,
            lease_groups=create_lease_groups(state_dir, clock.boot_id(), AllDeviceFiles(), close=self.close_nodes),
            driver_message=message,
        )
        asyncio.run(self._serve(services, limits, clock, socket_path, tell))
        with suppress(HostFault):  # one that hangs is left to the end of the process
            call_with_timeout(CLOSE_S, driver.close, "The driver does not close.")

    def _policy(self) -> Policy:
        memory_bytes = parse_memory(self.park_memory) if self.park_memory else machine.spec().memory_bytes // 2
        return Policy(
            idle_ms=round(1000 * self.park_idle_s) or None,
            quantum_ms=round(1000 * self.park_turn_s) or None,
            parked_bytes_max=memory_bytes,
            defragments=self.park_to_move,
            over_limit=OverLimit(self.over_limit),
            over_limit_grace_ms=round(1000 * self.over_limit_grace_s),
        )

    async def _serve(
        self,
        services: PoolServices,
        limits: ServiceLimits,
        clock: Clock,
        socket_path: Path,
        tell: Callable[[str], None],
    ) -> None:
        boot_id = clock.boot_id()
        service = PoolService(
            services.http_backend(),
            scope="system" if self.system else "user",
            currency=self.currency,
            started_at=clock.wall_ms(),
            boot_id=boot_id,
            high_priority=self.high_priority,
            discounts={"month": self.month_discount_percent, "year": self.year_discount_percent},
            limits=limits,
        )
        server = serve(service, boot_id)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stopped.set)
        await services.start()
        server.add_socket(single_instance.listen(socket_path, 0o666 if self.system else 0o600))
        ours = single_instance.inode(socket_path)
        collect_seldom()
        log = logging.getLogger("fastgpu.pool")
        log.info("Serving at %s. %s", socket_path, services.inventory.message or "")
        tell("")
        end = _End(service, socket_path, ours, self.idle_timeout_s, stopped)
        services.supervisor.run_forever("connections", server.sweep)
        services.supervisor.run_forever("idle", end.look)
        await stopped.wait()
        server.stop()
        single_instance.remove_socket(socket_path, ours)
        await server.close_all_connections()
        await services.stop()
        log.info("Ended; leases are kept and taken up again by the next pool manager.")

    def _set_up_log(self, state_dir: Path) -> None:
        logger = logging.getLogger("fastgpu")
        logger.setLevel(cast(int, self.log_level))
        handler: logging.Handler = logging.StreamHandler()
        if self.on_demand:
            handler = RotatingFileHandler(state_dir / "pool.log", maxBytes=LOG_BYTES_MAX, backupCount=1)
        handler.setFormatter(JsonFormatter() if self.log_json else HumanFormatter())
        logger.addHandler(handler)
        for name in ("asyncio", "tornado"):
            logging.getLogger(name).addHandler(handler)
            if logger.level <= logging.DEBUG:
                logging.getLogger(name).setLevel(logger.level)
        for name in ("tornado.general", "tornado.access", "tornado.application"):
            logging.getLogger(name).addFilter(without_what_clients_sent)


class _End:
    """Sees when the pool manager is to end: nobody needs it, or nobody could reach it any more."""

    def __init__(
        self, service: PoolService, socket_path: Path, ours: int | None, timeout_s: float, stopped: asyncio.Event
    ) -> None:
        self._service = service
        self._socket_path, self._ours = socket_path, ours
        self._timeout_s = timeout_s
        self._stopped = stopped
        self._idle_since_s: float | None = None

    async def look(self) -> None:
        """After a pause: whether its socket was removed or replaced, and since when it is idle."""
        await asyncio.sleep(IDLE_CHECK_S)
        now_s = asyncio.get_running_loop().time()
        if single_instance.inode(self._socket_path) != self._ours:
            logging.getLogger("fastgpu.pool").warning("The socket %s was taken away.", self._socket_path)
            self._stopped.set()
        if not await self._service.is_idle():
            self._idle_since_s = None
        elif self._idle_since_s is None:
            self._idle_since_s = now_s
        elif 0 < self._timeout_s <= now_s - self._idle_since_s:
            self._stopped.set()


def _allow_descriptors() -> None:
    """Each connection and each holder costs a descriptor: have as many as this process may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def collect_seldom() -> None:
    """Look for garbage among what is new only, and less often: what was recovered lasts as long as this process."""
    gc.freeze()
    gc.set_threshold(GARBAGE_LOOK_EVERY, 20, 20)
    gc.enable()


def _detach() -> Callable[[str], None]:
    """Go on in a child that init adopts; the caller's process stays until the child says how it went.

    Returns the function by which the child says it: with an empty text that it serves, else why it does not.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader) as pipe:
            outcome = pipe.read()
        serves = outcome == "serves"
        if not serves:
            print(outcome or "The pool manager ended before it answered.", file=sys.stderr, flush=True)
        os._exit(0 if serves else ALREADY_RUNNING if "already running" in outcome else 1)
    os.close(reader)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)

    def tell(sentence: str) -> None:
        with suppress(OSError):
            os.write(writer, (sentence or "serves").encode())
            os.close(writer)

    return tell


def main(argv: Any = None) -> None:
    """Run the pool manager from a command line."""
    FastGPUPool.launch_instance(argv)
