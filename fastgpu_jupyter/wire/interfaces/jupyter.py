"""The operations of the Jupyter server's interface for the browser, below ``{base_url}fastgpu/api``."""

from __future__ import annotations

from .. import schemas
from ..ids import KERNEL_ID
from .operation import DEVICE, FROM, LEASE, MONTH, RESOLUTION, SIZES, Operation, Parameter

_KERNEL = Parameter("kernel_id", "path", {"type": "string", "pattern": KERNEL_ID}, "A kernel that does not run yet.")

OPERATIONS = (
    Operation("GET", "/pool", "Return the pool manager itself", schemas.PoolView),
    Operation("GET", "/devices", "Return all devices", schemas.DeviceList),
    Operation("GET", "/devices/{device_id}/history", "Return the usage of a device", schemas.HistoryView, None,
              (DEVICE, RESOLUTION, FROM), problems=(400,)),
    Operation("GET", "/leases", "Return the user's leases", schemas.LeaseList),
    Operation("GET", "/leases/{lease_id}", "Return one lease", schemas.LeaseView, None, (LEASE,)),
    Operation("DELETE", "/leases/{lease_id}", "Release a lease; its kernel goes on without a GPU", schemas.LeaseView,
              None, (LEASE,)),
    Operation("GET", "/leases/{lease_id}/history", "Return the usage of a lease", schemas.HistoryView, None,
              (LEASE, RESOLUTION, FROM), problems=(400,)),
    Operation("POST", "/leases/{lease_id}/park", "Move the device memory of a lease to host memory", schemas.LeaseView,
              None, (LEASE,), problems=(409,)),
    Operation("POST", "/leases/{lease_id}/resume", "Let a parked lease wait for a device", schemas.LeaseView, None,
              (LEASE,), problems=(409,)),
    Operation("POST", "/leases/{lease_id}/resize", "Change the size of a lease", schemas.LeaseView, schemas.ResizeBody,
              (LEASE,), problems=(400, 409, 422)),
    Operation("POST", "/leases/{lease_id}/migrate", "Move a lease off an unhealthy device; see `health.migration`",
              schemas.LeaseView, None, (LEASE,), problems=(409,)),
    Operation("POST", "/leases/{lease_id}/pin", "Pin a lease, or let it be parked while idle", schemas.LeaseView,
              schemas.PinBody, (LEASE,), problems=(400, 409)),
    Operation("POST", "/leases/{lease_id}/snooze", "Put off the steps of the idle policy", schemas.LeaseView,
              schemas.SnoozeBody, (LEASE,), problems=(400, 409)),
    Operation("GET", "/leases/{lease_id}/advice", "Return the advice on the size of a lease", schemas.AdviceView, None,
              (LEASE,)),
    Operation("POST", "/leases/{lease_id}/advice/silence", "Give no advice for the notebook of a lease",
              schemas.AdviceView, schemas.SilenceBody, (LEASE,), problems=(400, 409)),
    Operation("POST", "/leases/{lease_id}/budget", "Set what a lease may cost in all", schemas.LeaseView,
              schemas.LeaseBudgetBody, (LEASE,), problems=(400, 409)),
    Operation("POST", "/leases/{lease_id}/cpu_meanwhile", "Let cells run without a device until the grant",
              schemas.LeaseView, schemas.CpuMeanwhileBody, (LEASE,), problems=(400, 409)),
    Operation("GET", "/sizes", "Return the sizes to choose from, with rates, and what choosing one does now",
              schemas.SizeOptions, None, SIZES, problems=(400,)),
    Operation("GET", "/queue", "Return the waiting requests in order of grant", schemas.QueueList),
    Operation("PUT", "/intents/{kernel_id}", "Register what the user chose for a kernel that is started next",
              schemas.IntentView, schemas.IntentBody, (_KERNEL,), problems=(400, 409, 429)),
    Operation("POST", "/kernels/{kernel_id}/lease", "Request a lease for a kernel that runs without one",
              schemas.LeaseView, schemas.IntentBody, (_KERNEL,), problems=(400, 409, 422)),
    Operation("GET", "/quota", "Return the entitlements of the user and of the user's group", schemas.QuotaView),
    Operation("GET", "/spending", "Return what the user has spent", schemas.SpendingView, None, (FROM,),
              problems=(400,)),
    Operation("GET", "/statements/{month}.csv", "Return the user's statement of a month", "text/csv", None, (MONTH,),
              problems=(404, 502, 507)),
    Operation("GET", "/events", "Return the event stream (server-sent events): one JSON message an event",
              "text/event-stream"),
)  # fmt: skip

#: Messages of the event stream, which no operation has as its answer.
MESSAGES = (schemas.SnapshotMessage, schemas.ChangedMessage, schemas.UsageMessage, schemas.KeepaliveMessage,
            schemas.UnreachableMessage)  # fmt: skip
