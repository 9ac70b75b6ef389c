"""The operations of the Jupyter server's interface for the browser, below ``{base_url}fastgpu/api``."""

from __future__ import annotations

from .. import schemas
from ..ids import KERNEL_ID
from .operation import DEVICE, FROM, LEASE, MONTH, RESOLUTION, SIZES, Operation, Parameter

_KERNEL = Parameter("kernel_id", "path", {"type": "string", "pattern": KERNEL_ID}, "A kernel that does not run yet.")
_KEPT = Parameter("kernel_id", "path", {"type": "string", "pattern": KERNEL_ID}, "A kernel without a server.")
_JOB = Parameter("job_id", "path", {"type": "integer", "minimum": 1}, "The job, by its number.")
_OFFSET = Parameter("offset", "query", {"type": "integer"}, "From this byte on; a negative one counts from the end.")
_LIMIT = Parameter("limit", "query", {"type": "integer", "minimum": 1}, "At most so many bytes.")
_OUTPUT = Parameter("index", "path", {"type": "integer", "minimum": 0}, "The output, by its `index` in the result.")
_PATH = Parameter("path", "query", {"type": "string"}, "The file, by its path in the result.")

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
    Operation("POST", "/requests/{kernel_id}", "Request the lease of a kernel that is started when it is granted",
              schemas.RequestedView, schemas.RequestBody, (_KERNEL,), problems=(400, 409, 422, 429)),
    Operation("GET", "/kept_kernels", "Return the kernels that run on without a server, and that none has adopted",
              schemas.KeptKernelList),
    Operation("DELETE", "/kept_kernels/{kernel_id}", "End such a kernel, and return those that are left",
              schemas.KeptKernelList, None, (_KEPT,), problems=(404, 409)),
    Operation("GET", "/quota", "Return the entitlements of the user and of the user's group", schemas.QuotaView),
    Operation("GET", "/spending", "Return what the user has spent", schemas.SpendingView, None, (FROM,),
              problems=(400,)),
    Operation("GET", "/statements/{month}.csv", "Return the user's statement of a month", "text/csv", None, (MONTH,),
              problems=(404, 502, 507)),
    Operation("GET", "/jobs", "Return the newest jobs of the user", schemas.JobList),
    Operation("GET", "/jobs/usage", "Return how much disk the jobs and their results take", schemas.JobsUsage),
    Operation("POST", "/jobs/prune", "Remove old jobs and results", schemas.PruneReport, schemas.PruneBody,
              problems=(400,)),
    Operation("POST", "/jobs/{job_id}/cancel", "Cancel a job; harmless where it is over", schemas.JobView, None,
              (_JOB,)),
    Operation("POST", "/jobs/{job_id}/rerun", "Submit a job again, as a new one", schemas.JobView, schemas.RerunBody,
              (_JOB,), problems=(400, 409, 422, 429)),
    Operation("GET", "/jobs/{job_id}/log", "Return a part of the log of a job", schemas.JobLog, None,
              (_JOB, _OFFSET, _LIMIT), problems=(400,)),
    Operation("GET", "/jobs/{job_id}/explanation", "Return why a job was, or was not, computed",
              schemas.JobExplanation, None, (_JOB,)),
    Operation("GET", "/jobs/{job_id}/result", "Return the facts of a result, and the outputs that can be shown",
              schemas.JobDetailsView, None, (_JOB,), problems=(409, 507)),
    Operation("GET", "/jobs/{job_id}/result/outputs/{index}", "Return the image of an output", "image/*", None,
              (_JOB, _OUTPUT), problems=(409, 507)),
    Operation("GET", "/jobs/{job_id}/result/file", "Return a file that a job left", "application/octet-stream", None,
              (_JOB, _PATH), problems=(400, 409, 507)),
    Operation("GET", "/jobs/{job_id}/result/notebook", "Return the notebook that a job executed",
              "application/octet-stream", None, (_JOB,), problems=(409, 507)),
    Operation("GET", "/events", "Return the event stream (server-sent events): one JSON message an event",
              "text/event-stream"),
)  # fmt: skip

#: Messages of the event stream, which no operation has as its answer.
MESSAGES = (schemas.SnapshotMessage, schemas.ChangedMessage, schemas.UsageMessage, schemas.KeepaliveMessage,
            schemas.UnreachableMessage, schemas.JobsMessage, schemas.JobsUnreachableMessage)  # fmt: skip
