"""The table of routes below ``{base_url}fastgpu/api/``."""

from __future__ import annotations

from jupyter_server.utils import url_path_join

from .handlers.base import FastGPUHandler
from .handlers.devices import DeviceHistoryHandler, DevicesHandler
from .handlers.events import EventsHandler
from .handlers.intents import IntentHandler
from .handlers.jobs import (
    CancelJobHandler,
    JobExplanationHandler,
    JobFileHandler,
    JobImageHandler,
    JobListHandler,
    JobLogHandler,
    JobNotebookHandler,
    JobResultHandler,
    JobsUsageHandler,
    PruneJobsHandler,
    RerunJobHandler,
)
from .handlers.kept_kernels import KeptKernelHandler, KeptKernelsHandler
from .handlers.kernels import KernelLeaseHandler
from .handlers.leases import (
    LEASE_ACTIONS,
    AdviceHandler,
    AdviceSilenceHandler,
    LeaseActionHandler,
    LeaseHandler,
    LeaseHistoryHandler,
    LeasesHandler,
    QueueHandler,
    SizesHandler,
)
from .handlers.pool import PoolHandler, QuotaHandler, UnknownHandler
from .handlers.requests import RequestHandler
from .handlers.spending import SpendingHandler, StatementHandler

PREFIX = "fastgpu/api"
# Any text, so that the client can refuse what is no id with a sentence.
_DEVICE_ID = "(?P<device_id>[^/]+)"
_LEASE_ID = "(?P<lease_id>[^/]+)"
_JOB_ID = "(?P<job_id>[0-9]{1,15})"
_MONTH = "(?P<month>[0-9]{4}-(?:0[1-9]|1[0-2]))"


def routes(base_url: str) -> list[tuple[str, type[FastGPUHandler]]]:
    """Return every route with its handler, below ``base_url``."""
    table: list[tuple[str, type[FastGPUHandler]]] = [
        ("pool", PoolHandler),
        ("devices", DevicesHandler),
        ("leases", LeasesHandler),
        ("queue", QueueHandler),
        ("sizes", SizesHandler),
        (f"devices/{_DEVICE_ID}/history", DeviceHistoryHandler),
        (f"leases/{_LEASE_ID}", LeaseHandler),
        (f"leases/{_LEASE_ID}/history", LeaseHistoryHandler),
        (f"leases/{_LEASE_ID}/advice", AdviceHandler),
        (f"leases/{_LEASE_ID}/advice/silence", AdviceSilenceHandler),
        *((f"leases/{_LEASE_ID}/(?P<action>{action})", LeaseActionHandler) for action in LEASE_ACTIONS),
        ("intents/(?P<kernel_id>[^/]+)", IntentHandler),
        ("kernels/(?P<kernel_id>[^/]+)/lease", KernelLeaseHandler),
        ("requests/(?P<kernel_id>[^/]+)", RequestHandler),
        ("kept_kernels", KeptKernelsHandler),
        ("kept_kernels/(?P<kernel_id>[^/]+)", KeptKernelHandler),
        ("quota", QuotaHandler),
        ("spending", SpendingHandler),
        (rf"statements/{_MONTH}\.csv", StatementHandler),
        ("jobs", JobListHandler),
        ("jobs/usage", JobsUsageHandler),
        ("jobs/prune", PruneJobsHandler),
        (f"jobs/{_JOB_ID}/cancel", CancelJobHandler),
        (f"jobs/{_JOB_ID}/rerun", RerunJobHandler),
        (f"jobs/{_JOB_ID}/log", JobLogHandler),
        (f"jobs/{_JOB_ID}/explanation", JobExplanationHandler),
        (f"jobs/{_JOB_ID}/result", JobResultHandler),
        (f"jobs/{_JOB_ID}/result/outputs/(?P<index>[0-9]{{1,6}})", JobImageHandler),
        (f"jobs/{_JOB_ID}/result/file", JobFileHandler),
        (f"jobs/{_JOB_ID}/result/notebook", JobNotebookHandler),
        ("events", EventsHandler),
        ("(.*)", UnknownHandler),
    ]
    return [(url_path_join(base_url, PREFIX, path), handler) for path, handler in table]
