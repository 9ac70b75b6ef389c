"""The operations of the pool manager's interface on its Unix socket."""

from __future__ import annotations

from .. import schemas
from ..ids import IDEMPOTENCY_KEY, LEASE_ID
from ..schemas.common import GROUP, TENANT
from .operation import AFTER, DEVICE, FROM, LEASE, MONTH, RESOLUTION, SIZES, WAIT, Operation, Parameter, Permission

_TENANT = Parameter("tenant", "path", {"type": "string", "pattern": TENANT}, "The tenant, by key or by name.")
_GROUP = Parameter("group", "path", {"type": "string", "pattern": GROUP}, "The group.")
_RESERVATION = Parameter(
    "reservation_id", "path", {"type": "string", "pattern": LEASE_ID}, "The reservation, by an id of your choice."
)
_KEY = Parameter(
    "Idempotency-Key",
    "header",
    {"type": "string", "pattern": IDEMPOTENCY_KEY},
    "Makes a repeated call find the first one's answer.",
)
_SINCE = Parameter(
    "since", "query", {"type": "integer"}, "`seq` of the last message that was seen: send what was missed."
)
_ONE = Parameter("lease", "query", {"type": "string", "pattern": LEASE_ID}, "Only this lease.")

_LEASE_KEY = (LEASE, _KEY)
_TENANT_ONLY, _TOKEN, _ADMIN = Permission.TENANT, Permission.LEASE, Permission.ADMINISTRATOR

OPERATIONS = (
    Operation("GET", "/v1/health", "Say whether the pool manager serves; never refused", schemas.HealthView),
    Operation("GET", "/v1/status", "Return pool manager, devices, leases and queue at one instant", schemas.StatusView),
    Operation("GET", "/v1/pool", "Return the pool manager itself", schemas.PoolView),
    Operation("GET", "/v1/devices", "Return all devices", schemas.DeviceList),
    Operation("PUT", "/v1/devices/{device_id}", "Drain a device, or return it to service", schemas.DeviceView,
              schemas.DrainBody, (DEVICE, _KEY), problems=(403, 409, 507), permission=_ADMIN),
    Operation("PUT", "/v1/driver", "Release the driver, so that a GPU can be reset, or use it again",
              schemas.DeviceList, schemas.DriverBody, (_KEY,), problems=(403, 502, 507), permission=_ADMIN),
    Operation("DELETE", "/v1/devices/{device_id}", "Give a missing device up, and end its leases", schemas.DeviceList,
              None, (DEVICE, _KEY), problems=(403, 409, 507), permission=_ADMIN),
    Operation("GET", "/v1/devices/{device_id}/history", "Return the usage of a device since the pool manager started",
              schemas.HistoryView, None, (DEVICE, RESOLUTION, FROM)),
    Operation("GET", "/v1/devices/{device_id}/mig", "Return MIG mode, and what a switch of it would disturb",
              schemas.PartitionModeView, None, (DEVICE,), problems=(403, 502), permission=_ADMIN),
    Operation("PUT", "/v1/devices/{device_id}/mig", "Switch MIG mode of an unused device", schemas.PartitionModeView,
              schemas.PartitionModeBody, (DEVICE,), problems=(403, 409, 502, 507), permission=_ADMIN),
    Operation("GET", "/v1/queue", "Return the waiting requests in order of grant", schemas.QueueList),
    Operation("GET", "/v1/sizes", "Return the sizes to choose from, with rates, and what choosing one does now",
              schemas.SizeOptions, None, SIZES, problems=(403,)),
    Operation("GET", "/v1/leases", "Return the caller's leases", schemas.LeaseList),
    Operation("POST", "/v1/leases", "Request a lease, held by the calling process", schemas.LeaseView,
              schemas.LeaseBody, (_KEY,), status=201, problems=(403, 422, 507)),
    Operation("GET", "/v1/leases/{lease_id}", "Return one lease, at once or as soon as it changes", schemas.LeaseView,
              None, (LEASE, WAIT, AFTER), permission=_TENANT_ONLY),
    Operation("DELETE", "/v1/leases/{lease_id}", "Release a lease", schemas.LeaseView, None, _LEASE_KEY,
              problems=(507,), permission=_TENANT_ONLY),
    Operation("GET", "/v1/leases/{lease_id}/history", "Return the usage of a lease since the pool manager started",
              schemas.HistoryView, None, (LEASE, RESOLUTION, FROM), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/bind", "Make a process the holder of a lease", schemas.LeaseView,
              schemas.BindBody, _LEASE_KEY, problems=(403, 409, 507), permission=_TOKEN),
    Operation("POST", "/v1/leases/{lease_id}/kernel", "Start a kernel on the host of a lease of a cluster",
              schemas.KernelConnectionView, schemas.KernelBody, (LEASE,), problems=(403, 409, 502), permission=_TOKEN),
    Operation("POST", "/v1/leases/{lease_id}/kernel/signal", "Send a signal to all processes of that kernel",
              schemas.LeaseView, schemas.KernelSignalBody, (LEASE,), problems=(403, 409, 502), permission=_TOKEN),
    Operation("DELETE", "/v1/leases/{lease_id}/kernel", "End that kernel; the lease stays", schemas.LeaseView, None,
              (LEASE,), problems=(403, 409, 502), permission=_TOKEN),
    Operation("POST", "/v1/leases/{lease_id}/resize", "Change the size of a lease", schemas.LeaseView,
              schemas.ResizeBody, _LEASE_KEY, problems=(409, 422, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/migrate", "Move a lease off an unhealthy device; see `health.migration`",
              schemas.LeaseView, None, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/libraries", "Report the effect of a change of size in the kernel",
              schemas.LeaseView, schemas.LibrariesBody, _LEASE_KEY, problems=(403, 507), permission=_TOKEN),
    Operation("POST", "/v1/leases/{lease_id}/park", "Move the device memory of a lease to host memory",
              schemas.LeaseView, None, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/resume", "Let a parked lease wait for a device", schemas.LeaseView, None,
              _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/pin", "Pin a lease, or let it be parked while idle", schemas.LeaseView,
              schemas.PinBody, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/snooze", "Put off the steps of the idle policy", schemas.LeaseView,
              schemas.SnoozeBody, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/end_idle", "End a lease whose kernel is shut down by the idle policy",
              schemas.LeaseView, None, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("GET", "/v1/leases/{lease_id}/advice", "Return the advice on the size of a lease", schemas.AdviceView,
              None, (LEASE,), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/advice/silence", "Give no advice for the notebook of a lease",
              schemas.AdviceView, schemas.SilenceBody, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/cpu_meanwhile", "Let cells run without a device until the grant",
              schemas.LeaseView, schemas.CpuMeanwhileBody, _LEASE_KEY, problems=(409, 507),
              permission=_TENANT_ONLY),
    Operation("POST", "/v1/leases/{lease_id}/activity", "Report that a cell begins or ends", schemas.LeaseView,
              schemas.ActivityBody, _LEASE_KEY, problems=(403, 409, 507), permission=_TOKEN),
    Operation("POST", "/v1/leases/{lease_id}/rename", "Report that the notebook of a lease has another name",
              schemas.LeaseView, schemas.RenameBody, _LEASE_KEY, problems=(403, 409, 507), permission=_TOKEN),
    Operation("POST", "/v1/leases/{lease_id}/transfer", "Bill another tenant for a lease", schemas.LeaseView,
              schemas.TransferBody, _LEASE_KEY, problems=(403, 409, 507), permission=_ADMIN),
    Operation("POST", "/v1/leases/{lease_id}/budget", "Set the budget of a lease", schemas.LeaseView,
              schemas.LeaseBudgetBody, _LEASE_KEY, problems=(409, 507), permission=_TENANT_ONLY),
    Operation("GET", "/v1/tenants", "Return entitlements of tenants", schemas.TenantList),
    Operation("PUT", "/v1/tenants/{tenant}", "Set the entitlement of a tenant", schemas.TenantView, schemas.TenantBody,
              (_TENANT, _KEY), problems=(403, 507), permission=_ADMIN),
    Operation("PUT", "/v1/tenants/{tenant}/budget", "Set the monthly budget of a tenant", schemas.TenantView,
              schemas.BudgetBody, (_TENANT, _KEY), problems=(403, 507), permission=_ADMIN),
    Operation("GET", "/v1/reservations", "Return reservations", schemas.ReservationList),
    Operation("PUT", "/v1/reservations/{reservation_id}", "Reserve capacity for a tenant", schemas.ReservationView,
              schemas.ReservationBody, (_RESERVATION, _KEY), problems=(403, 422, 507), permission=_ADMIN),
    Operation("DELETE", "/v1/reservations/{reservation_id}", "Cancel a reservation", schemas.ReservationView, None,
              (_RESERVATION, _KEY), problems=(403, 507), permission=_ADMIN),
    Operation("GET", "/v1/groups", "Return entitlements of groups", schemas.GroupList),
    Operation("PUT", "/v1/groups/{group}", "Set the entitlement of a group", schemas.GroupView, schemas.GroupBody,
              (_GROUP, _KEY), problems=(403, 507), permission=_ADMIN),
    Operation("GET", "/v1/statements/{month}", "Return the statements of a month", schemas.StatementList, None,
              (MONTH,), problems=(404, 502, 507)),
    Operation("GET", "/v1/rates", "Return the rates of devices", schemas.RateList),
    Operation("GET", "/v1/standby", "Return the standby kernels of the caller's user", schemas.StandbyList),
    Operation("PUT", "/v1/standby", "Report the calling server's standby kernels; return which may stay",
              schemas.StandbyAnswer, schemas.StandbyBody),
    Operation("GET", "/v1/events", "Return the event stream: one JSON message a line, without an end",
              "application/x-ndjson", None, (_ONE, _SINCE)),
    Operation("GET", "/v1/metrics", "Return metrics in the format of Prometheus", "text/plain"),
    Operation("GET", "/v1/openapi.json", "Return this document", dict),
)  # fmt: skip

#: Messages of the event stream, which no operation has as its answer.
MESSAGES = (schemas.SnapshotMessage, schemas.ChangedMessage, schemas.UsageMessage, schemas.KeepaliveMessage)
