"""The handle of a job: its state, its log, and its results as variables."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator, MutableMapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Conflict, Message, NotFound
from ..messages import say, sentences_of
from ..wire.job_states import ENDED
from .failures import JobFailed, JobLost, readable
from .rendering import bundle, state_name, title_of

if TYPE_CHECKING:
    from ..wire.schemas.jobs import JobView
    from .call_failures import RemoteTraceback
    from .client import JobsClient
    from .results import Manifest, ResultStore

#: Bytes of the log that one call asks for.
LOG_PART_BYTES = 256 * 1024
#: How long one call waits for the end of a job, so that an interrupt of the notebook is noticed.
STEP_S = 0.5


class Job:
    """A job of this user. It lives without this object, and :func:`job` returns another handle of it.

    ``namespace``: where :meth:`result` puts the named outputs, such as the variables of a notebook.
    """

    def __init__(self, view: JobView, client: JobsClient, namespace: MutableMapping[str, Any] | None = None) -> None:
        self._view, self._client, self._namespace = view, client, namespace
        #: The expression by which the notebook has this handle, for what the view suggests.
        self.expression = "job"
        #: Called with each view that another call of this handle sees; a display updates itself with it.
        self.on_change: Callable[[JobView], None] | None = None

    @property
    def id(self) -> int:
        """The number of the job."""
        return self._view["id"]

    @property
    def name(self) -> str:
        """The name of the job; it need not be unique."""
        return self._view["name"]

    @property
    def last_view(self) -> JobView:
        """What this handle has seen last, without a call."""
        return self._view

    @property
    @readable()
    def view(self) -> JobView:
        """All that is known of the job now, as a dictionary."""
        return self._see(self._client.job(self.id))

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``done``, ``failed``, ``cancelled`` or ``lost``, as of now."""
        return self.view["state"]

    def done(self) -> bool:
        """Return whether the job is over, whatever its end."""
        return self.state in ENDED

    @readable()
    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the job is over; return False where it is not after ``timeout`` seconds."""
        until = None if timeout is None else time.monotonic() + timeout
        while self._view["state"] not in ENDED:
            step_s = STEP_S if until is None else min(STEP_S, until - time.monotonic())
            if step_s <= 0:
                return False
            self._see(self._client.wait(self.id, step_s))
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end and return the result.

        Of a cell the named outputs: they become variables of the notebook, and are returned, one as it is and several
        as a dictionary. Of a call what it returned, or its exception; of a notebook the executed notebook; of a command
        its exit status.

        Raises :class:`TimeoutError` where the job is not over after ``timeout`` seconds, :class:`JobFailed` with the
        traceback of the job where it failed, :class:`~concurrent.futures.CancelledError` where it was cancelled, and
        :class:`JobLost` where it is lost.
        """
        if not self.wait(timeout):
            raise TimeoutError(say("job.not_over", job=self.id))
        return self._take()

    def __await__(self) -> Generator[Any, None, Any]:
        """Wait for the end without blocking the event loop, and return what :meth:`result` returns."""
        return self._await().__await__()

    async def _await(self) -> Any:
        loop = asyncio.get_running_loop()
        while not await loop.run_in_executor(None, self.wait, STEP_S):
            pass
        return await loop.run_in_executor(None, self._take)

    @readable()
    def cancel(self) -> JobView:
        """Cancel the job, whether it is queued or running; a job that is over stays as it is."""
        return self._see(self._client.cancel(self.id))

    @readable()
    def rerun(self, *, refresh: bool = False) -> Job:
        """Submit the same job again and return the new one; with ``refresh`` a cached result is not used."""
        return Job(self._client.rerun(self.id, refresh), self._client, self._namespace)

    @readable()
    def log(self, lines: int | None = None) -> str:
        """Return what the job has written, or the last ``lines`` lines of it."""
        text = "".join(log_parts(self._client, self.id))
        return text if lines is None else "".join(text.splitlines(keepends=True)[-lines:])

    @readable()
    def explain(self) -> str:
        """Return why the result is or is not from the cache."""
        return sentences_of(self._client.explain(self.id)["messages"]) or ""

    def show(self) -> None:
        """Display the outputs of the job's cell here."""
        from IPython.display import publish_display_data

        for output in self.outputs:
            if output["output_type"] == "stream":
                print(output["text"], end="")  # noqa: T201 (what the cell printed)
            elif output["output_type"] == "error":
                print("\n".join(output["traceback"]))  # noqa: T201
            else:
                publish_display_data(output["data"], output.get("metadata") or {})  # type: ignore[no-untyped-call]

    @property
    @readable()
    def outputs(self) -> list[dict[str, Any]]:
        """The outputs of the job's cell, as a notebook has them."""
        with self._kept() as (manifest, store):
            return [] if manifest.outputs is None else list(json.loads(store.content(manifest.outputs)))

    @readable()
    def files(self, folder: Path | str | None = None) -> list[str]:
        """Return the paths of the files that the job saved, below its working folder; copy them into ``folder``.

        A file that is there already is replaced.
        """
        with self._kept() as (manifest, store):
            if folder is not None:
                for name, stored in manifest.files.items():
                    _copy(store, stored.digest, _inside(Path(folder), name))
            return list(manifest.files)

    @readable()
    def save_notebook(self, folder: Path) -> list[str]:
        """Write the executed notebook of the job into ``folder``; return its path, or nothing where there is none."""
        with self._kept() as (manifest, store):
            if manifest.notebook is None:
                return []
            path = _inside(folder, f"{self.name or 'notebook'}-{self.id}.ipynb")
            _copy(store, manifest.notebook, path)
            return [str(path)]

    def __repr__(self) -> str:
        """Return number, name and last known state, without a call."""
        return f"<{title_of(self._view)}: {state_name(self._view)}>"

    def _repr_mimebundle_(self, **_more: Any) -> dict[str, Any]:
        """Return the live view of the job."""
        return bundle(self.view, self.expression)

    # ---- inside --------------------------------------------------------------------------------------------------

    def _see(self, view: JobView) -> JobView:
        changed, self._view = view["version"] != self._view["version"], view
        if changed and self.on_change is not None:
            self.on_change(view)
        return view

    @readable()
    def _take(self) -> Any:
        view = self._view
        if view["kind"] == "function":
            return self._take_call(view)
        self._require_done(view)
        if view["kind"] == "command":
            return view["exit_status"]
        with self._kept() as (manifest, store):
            if view["kind"] == "notebook":
                import nbformat

                return nbformat.reads(store.content(manifest.notebook or "").decode(), as_version=4)
            values = {name: store.value(stored.digest) for name, stored in manifest.values.items()}
        if self._namespace is not None:
            self._namespace.update(values)
        return next(iter(values.values())) if len(values) == 1 else values or None

    def _take_call(self, view: JobView) -> Any:
        """Return what the call of a function returned, or raise what it raised."""
        from .call_result import result_of
        from .places import results_folder
        from .results import ResultStore

        found = result_of(view, lambda: ResultStore(results_folder()))
        if found.exception is not None:
            raise found.exception
        return found.value

    def _require_done(self, view: JobView) -> None:
        if view["state"] == "cancelled":
            raise CancelledError(title_of(view))
        if view["state"] == "lost":
            raise JobLost(Message.of("job.lost", job=view["id"], notes=sentences_of(view["notes"]) or ""))
        if view["state"] == "failed":
            error = view["error"] or {"name": "", "text": ""}
            message = Message.of("job.failed", job=view["id"], name=error["name"], text=error["text"])
            raise JobFailed(message, name=error["name"], text=error["text"]) from _remote_traceback(view["id"])

    @contextmanager
    def _kept(self) -> Iterator[tuple[Manifest, ResultStore]]:
        """Yield what the result consists of, which is not evicted meanwhile, and the store.

        Raises :class:`Conflict` where the job is not over, and :class:`JobLost` where its result is not kept.
        """
        from .places import results_folder
        from .results import ResultStore

        view = self._view if self._view["state"] in ENDED else self.view
        if view["state"] not in ENDED:
            raise Conflict(Message.of("job.not_over", job=self.id))
        if view["result"] is None:
            raise JobLost(Message.of("job.no_result", job=self.id))
        store = ResultStore(results_folder())
        with ExitStack() as stack:
            try:
                manifest = stack.enter_context(store.reading(view["result"]["digest"]))
            except NotFound:
                raise JobLost(Message.of("job.no_result", job=self.id)) from None
            yield manifest, store


def _inside(folder: Path, name: str) -> Path:
    """Return the path of ``name`` in ``folder``. Raises :class:`Conflict` where it would be outside."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Conflict(Message.of("job.file_outside", path=name))
    return path


def _copy(store: ResultStore, digest: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.open(digest) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _remote_traceback(job_id: int) -> RemoteTraceback | None:
    """Return the traceback of a job that failed; None where it left none."""
    from .call_failures import RemoteTraceback
    from .places import outcome_file

    try:
        lines = json.loads(outcome_file(job_id).read_text("utf-8"))["error"]["traceback"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return RemoteTraceback("\n".join(map(str, lines))) if lines else None


def log_parts(client: JobsClient, job_id: int, offset: int = 0) -> Generator[str, None, int]:
    """Yield the log of a job from ``offset`` on in parts; return the offset after it."""
    while True:
        part = client.log(job_id, offset, LOG_PART_BYTES)
        if part["text"]:
            yield part["text"]
        if part["end"] >= part["size"] or not part["text"]:
            return int(part["end"])
        offset = part["end"]


@readable()
def job(job_id: int) -> Job:
    """Return the handle of a job of this user. Raises :class:`~fastgpu_jupyter.errors.NotFound` where there is none."""
    from .client import ensure_dispatcher

    client = ensure_dispatcher()
    return Job(client.job(job_id), client, notebook_namespace())


@readable()
def list_jobs(limit: int = 100) -> list[Job]:
    """Return handles of this user's jobs, the newest first."""
    from .client import ensure_dispatcher

    client, namespace = ensure_dispatcher(), notebook_namespace()
    return [Job(view, client, namespace) for view in client.jobs(limit=limit)]


def notebook_namespace() -> MutableMapping[str, Any] | None:
    """Return the variables of the notebook whose kernel this process is; None elsewhere."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return None if shell is None else shell.user_ns
