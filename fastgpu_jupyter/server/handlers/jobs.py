"""The handlers of jobs: the list, the requests that change one, its log, and what it has left."""

from __future__ import annotations

import hashlib
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jupyter_server.auth.decorator import authorized
from tornado import web
from tornado.iostream import StreamClosedError

from ...errors import InvalidRequest, Message
from .. import job_results
from ..jobs_connector import JobsConnector, has_jobs
from .base import JOBS, FastGPUHandler

if TYPE_CHECKING:
    from ...wire.schemas import JobView

#: The most bytes of a log in one answer.
LOG_BYTES_MAX = 256 * 1024
#: So many bytes of a file are read and sent at a time.
CHUNK_BYTES = 1024 * 1024
#: The largest number that a request can name: no job has a higher one.
_INTEGER_MAX = 2**53 - 1


class JobsHandler(FastGPUHandler):
    """The base class of the handlers of jobs."""

    @property
    def jobs(self) -> JobsConnector:
        """Return the extension's connection to the dispatcher."""
        found: JobsConnector = self.settings["fastgpu_jobs"]
        return found

    async def job(self, job_id: str) -> JobView:
        """Return one job. Raises :class:`~fastgpu_jupyter.errors.NotFound`."""
        return await self.jobs.call(lambda client: client.job(int(job_id)))

    def whole_number(self, name: str, default: int) -> int:
        """Return a number of the query. Raises :class:`InvalidRequest`."""
        given = self.get_query_argument(name, None)
        try:
            number = default if given is None else int(given)
        except ValueError:
            raise InvalidRequest(Message.of("request.not_integer", field=name)) from None
        return max(-_INTEGER_MAX, min(number, _INTEGER_MAX))

    def download_headers(self, name: str) -> None:
        """Let the browser save what follows, and never show or run it as a page of this server."""
        ascii_name = "".join(one if (one.isalnum() and one.isascii()) or one in "._-" else "_" for one in name)
        self.set_header("Content-Type", "application/octet-stream")
        encoded = quote(name, safe="", errors="replace")
        self.set_header("Content-Disposition", f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{encoded}")
        self.safe_headers()

    def safe_headers(self) -> None:
        """Let the browser take the type as it is stated, and give what is sent no rights."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Cache-Control", "no-store")


class JobListHandler(JobsHandler):
    """The jobs of the user."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with the newest jobs, the newest first."""
        found = await self.jobs.call(lambda client: client.jobs()) if has_jobs() else []
        self.answer({"jobs": found})


class JobsUsageHandler(JobsHandler):
    """The disk that jobs take."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self) -> None:
        """Answer with the number of jobs, and the bytes of their folders and results."""
        self.answer(await self.jobs.call(lambda client: client.usage()))


class PruneJobsHandler(JobsHandler):
    """The removal of old jobs and results."""

    @web.authenticated
    @authorized(action="write", resource=JOBS)  # type: ignore[untyped-decorator]
    async def post(self) -> None:
        """Remove what the body describes, and answer with what was removed."""
        body = self.json_object()
        older_ms, bytes_max = _count_in(body, "older_ms"), _count_in(body, "bytes_max")
        self.answer(await self.jobs.call(lambda client: client.prune(older_ms, bytes_max)))


class CancelJobHandler(JobsHandler):
    """The end of a job before it is done."""

    @web.authenticated
    @authorized(action="write", resource=JOBS)  # type: ignore[untyped-decorator]
    async def post(self, job_id: str) -> None:
        """Cancel the job, and answer with it; a running job ends soon after."""
        self.answer(await self.jobs.call(lambda client: client.cancel(int(job_id))))


class RerunJobHandler(JobsHandler):
    """The repetition of a job."""

    @web.authenticated
    @authorized(action="write", resource=JOBS)  # type: ignore[untyped-decorator]
    async def post(self, job_id: str) -> None:
        """Submit the job again, and answer with the new one, which is the same for a repeated request."""
        refresh = self.json_object().get("refresh", False)
        if not isinstance(refresh, bool):
            raise InvalidRequest(Message.of("request.not_boolean", field="refresh"))
        submission = hashlib.sha256(self.idempotency_key().encode()).hexdigest()
        self.answer(await self.jobs.call(lambda client: client.rerun(int(job_id), refresh, submission=submission)))


class JobLogHandler(JobsHandler):
    """What a job has printed."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self, job_id: str) -> None:
        """Answer with a part of the log; a negative offset counts from the end."""
        offset = self.whole_number("offset", 0)
        limit = max(1, min(self.whole_number("limit", LOG_BYTES_MAX), LOG_BYTES_MAX))
        self.answer(await self.jobs.call(lambda client: client.log(int(job_id), offset, limit)))


class JobExplanationHandler(JobsHandler):
    """Why a job was, or was not, computed."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self, job_id: str) -> None:
        """Answer with sentences, and what the key of the job is made of."""
        self.answer(await self.jobs.call(lambda client: client.explain(int(job_id))))


class JobResultHandler(JobsHandler):
    """What a job has left."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self, job_id: str) -> None:
        """Answer with facts, and the outputs that can be shown without running code."""
        job = await self.job(job_id)
        self.answer(await self.jobs.in_thread(lambda: job_results.details_of(job)))


class JobImageHandler(JobsHandler):
    """The image of an output."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self, job_id: str, index: str) -> None:
        """Answer with the image, which the browser shows in a page of this extension."""
        job = await self.job(job_id)
        media_type, image = await self.jobs.in_thread(lambda: job_results.image_of(job, int(index)))
        self.safe_headers()
        self.finish(image, set_content_type=media_type)


class JobDownloadHandler(JobsHandler):
    """The base class of the handlers of files that a job has left."""

    async def send(self, job_id: str, path: str | None) -> None:
        """Send a file of the result in parts, after its checksum was verified."""
        job = await self.job(job_id)
        over = threading.Event()
        with ExitStack() as stack:
            stack.callback(over.set)

            def open_file() -> job_results.Download:
                download = stack.enter_context(job_results.file_of(job, path))
                if over.is_set():  # the checksum took longer than an answer may
                    stack.close()
                return download

            download = await self.jobs.in_thread(open_file)
            self.download_headers(download.name)
            self.set_header("Content-Length", str(download.size))
            try:
                while chunk := await self.jobs.in_thread(lambda: download.file.read(CHUNK_BYTES)):
                    self.write(chunk)
                    await self.flush()
            except StreamClosedError:
                return  # the browser disconnected
        self.finish(set_content_type="application/octet-stream")


class JobFileHandler(JobDownloadHandler):
    """A file that a job has left."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self, job_id: str) -> None:
        """Answer with the file that ``path`` names in the result."""
        await self.send(job_id, self.get_query_argument("path"))


class JobNotebookHandler(JobDownloadHandler):
    """The notebook that a job has executed."""

    @web.authenticated
    @authorized(action="read", resource=JOBS)  # type: ignore[untyped-decorator]
    async def get(self, job_id: str) -> None:
        """Answer with the notebook."""
        await self.send(job_id, None)


def _count_in(body: dict[str, Any], name: str) -> int | None:
    value = body.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _INTEGER_MAX):
        raise InvalidRequest(Message.of("request.not_integer", field=name))
    return value
