"""An executor whose calls are jobs: each runs on a logical GPU, and goes on when the process that submitted it ends."""

from __future__ import annotations

import itertools
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor as BaseExecutor
from concurrent.futures import wait as wait_for
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec, TypeVar

from ..units import parse_duration
from ..wire.options import read_mapping
from .call_file import name_of
from .calls import ExecutorCalls
from .failures import readable
from .future import Future
from .words import JobOptions

P = ParamSpec("P")
T = TypeVar("T")


#: The options of a job that are given by their names; ``timeout`` is one more, and the others are those of a request.
_OWN = (
    "size", "cache", "numeric", "refresh", "seed", "key", "files", "variables", "save", "after", "retries", "name",
)  # fmt: skip


def _changed(options: JobOptions, given: Mapping[str, Any]) -> JobOptions:
    """Return options with those of the user instead. Raises :class:`InvalidRequest` for one that is unknown."""
    lease = dict(given)
    own = {name: lease.pop(name) for name in _OWN if name in lease}
    if "timeout" in lease:
        own["timeout_ms"] = _milliseconds(lease.pop("timeout"))
    for name in ("files", "variables", "save"):
        if name in own:
            own[name] = list(map(str, own[name]))
    if "after" in own:
        own["after"] = [one.job_id if isinstance(one, Future) else int(one) for one in own["after"]]
    with readable():
        return replace(options, lease={**options.lease, **read_mapping(lease)}, **own)


class Executor(BaseExecutor):
    """Runs calls as jobs, each on a logical GPU, as :class:`concurrent.futures.Executor` does in processes.

        with fastgpu_jupyter.Executor(size="24GiB", priority="low", max_workers=4) as pool:
            future = pool.submit(train, lr=0.1)

    ``size``: of the logical GPU, as in ``%fastgpu request``. ``max_workers``: the most calls of this executor that run
    at once; ``None`` sets no limit beside those of the pool. ``timeout``: seconds, or a text such as ``"2h"``, after
    which a call that runs is ended; its result is then :class:`TimeoutError`. ``retries``: how often a call is run
    again that was lost with the processes that ran it. ``after``: futures, or ids of jobs, that must be done first.
    ``name``: shown for its jobs instead of the function's name. ``variables``: names, or patterns such as ``"MY_*"``,
    of environment variables that the calls get beside the usual ones. ``save``: patterns of files below the working
    folder that become a part of the result. Other options are those of ``%fastgpu request``, such as ``priority``,
    ``isolation`` or ``budget``.

    ``cache=True``: the result of an equal call is taken from the cache, and kept there. ``files`` are the files that
    the call reads; ``seed`` seeds its random numbers; ``numeric=True`` makes the model of the GPU count, and ``key``
    any text; with ``refresh=True`` it is computed again. A call that is cached runs in a new process.

    A call is a job: ``future.job`` is listed, cancelled and explained like every other one. It goes on when this
    process ends, and its result can be had later by its id. ``shutdown``, or the end of the ``with`` block, waits for
    the calls of this executor; a process that ends without it leaves them running.

    The functions, their arguments and their results are pickled with cloudpickle; what ``__main__`` and local modules
    define goes along by value. A worker process is kept for the next call of the same size and environment. While it
    is kept, its lease is billed. It is kept for ten seconds (``c.Jobs.worker_idle_s``), and ended at once where another
    request waits for its GPU.
    """

    def __init__(self, size: str | None = None, *, max_workers: int | None = None, **options: Any) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        self._options = _changed(JobOptions(), {"size": size, **options})
        self._calls = ExecutorCalls(max_workers)
        self._owner = _Owner()
        weakref.finalize(self._owner, self._calls.shut_down).atexit = False

    def options(self, **options: Any) -> Executor:
        """Return a view of this executor whose calls have other options: those of the constructor but ``max_workers``.

        The view shares everything else with the executor: the limit of calls that run at once, and the shutdown.
        """
        return _View(_changed(self._options, options), self._calls, self._owner)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit ``fn(*args, **kwargs)`` as a job and return its future.

        Raises :class:`RuntimeError` after a shutdown, :class:`UnpicklableCall` where the call cannot be sent to another
        process, and a :class:`FastGPUError` where it is refused; nothing is submitted then.
        """
        return self._calls.submit(self._options, fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., T],
        /,
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Return an iterator of ``fn`` applied to the items, in their order, as :func:`map` does.

        ``timeout``: seconds from this call on, after which the iterator raises :class:`TimeoutError`. ``chunksize``:
        how many items make one job. ``buffersize``: the most jobs that are submitted before their results are taken;
        without it all are submitted at once. The first exception ends the iteration; calls that have not begun are
        cancelled.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        deadline = None if timeout is None else time.monotonic() + timeout
        items: Iterator[tuple[Any, ...]] = zip(*iterables, strict=False)
        submissions: Iterator[Future[Any]]
        if chunksize == 1:
            submissions = (self.submit(fn, *one) for one in items)
            return _results(submissions, buffersize, deadline)
        work = partial(_run_chunk, fn)
        named = self.options(name=self._options.name or name_of(fn))
        submissions = (named.submit(work, chunk) for chunk in _chunks(items, chunksize))
        return itertools.chain.from_iterable(_results(submissions, buffersize, deadline))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accept no more calls; wait for those that were submitted, or cancel those that have not begun."""
        pending = self._calls.shut_down()
        if cancel_futures:
            for future in reversed(pending):  # the last first: else the next one begins meanwhile
                future.cancel()
        if wait:
            wait_for(pending)
            self._calls.join()


class _Owner:
    """What an executor and its views hold; when it is collected, there are no more calls."""


class _View(Executor):
    """An executor with the calls of another one."""

    def __init__(self, options: JobOptions, calls: ExecutorCalls, owner: _Owner) -> None:
        self._options, self._calls, self._owner = options, calls, owner


def _results(submissions: Iterator[Future[T]], buffersize: int | None, deadline: float | None) -> Iterator[T]:
    """Submit the first ``buffersize`` calls, or all, and return an iterator of the results in order."""
    futures = deque(itertools.islice(submissions, buffersize))

    def results() -> Iterator[T]:
        try:
            while futures:
                left_s = None if deadline is None else deadline - time.monotonic()
                result = [futures[0].result(left_s)]
                futures.popleft()
                futures.extend(itertools.islice(submissions, 1))
                yield result.pop()  # no reference to it stays here
        finally:
            for future in reversed(futures):
                future.cancel()

    return results()


def _chunks(items: Iterator[tuple[Any, ...]], size: int) -> Iterator[tuple[tuple[Any, ...], ...]]:
    while chunk := tuple(itertools.islice(items, size)):
        yield chunk


def _run_chunk(fn: Callable[..., T], chunk: Iterable[tuple[Any, ...]]) -> list[T]:
    """Return the results of several calls: the work of one job of :meth:`Executor.map`."""
    return [fn(*one) for one in chunk]


def _milliseconds(timeout: float | str | None) -> int | None:
    if timeout is None or isinstance(timeout, str):
        return None if timeout is None else parse_duration(timeout)
    return max(1, round(timeout * 1000))
