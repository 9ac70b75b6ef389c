"""The faults of the pool manager that stop new grants. Running kernels and releases continue during all of them."""

from __future__ import annotations

import logging

from ..protocols import ChangePublisher

log = logging.getLogger("fastgpu.pool")


class FaultState:
    """Why the pool grants nothing new, if it does not."""

    def __init__(self, changes: ChangePublisher, unwritable: str | None = None) -> None:
        self._changes = changes
        #: An internal error, or damage to the journal: lasts until the pool manager is started again.
        self._internal: str | None = None
        #: The journal cannot be written: lasts until it can.
        self._unwritable = unwritable
        #: Memory may not be what the disk has, so the journal must not be continued from it.
        self.memory_ahead = False

    @property
    def message(self) -> str | None:
        """A sentence that says why nothing new is granted, or ``None``."""
        return self._internal or self._unwritable

    @property
    def unwritable(self) -> bool:
        """Whether the last write to the journal failed."""
        return self._unwritable is not None

    @property
    def only_releases(self) -> bool:
        """Whether nothing but releases is accepted, because the journal cannot be continued."""
        return self.unwritable or self.memory_ahead

    def stop_grants(self, why: str, error: BaseException | None = None) -> None:
        """Stop new grants until the pool manager is started again."""
        self._internal = f"{why} Running kernels go on and releases are accepted, but nothing new is granted."
        log.error(self._internal, exc_info=error)
        self._changes.publish_pool()

    def report_job_failure(self, error: BaseException) -> None:
        """Stop new grants because a job that runs once failed: its work is lost."""
        self.stop_grants(f"A job of the pool manager failed ({error!r}).", error)

    def begin_unwritable(self, why: str) -> None:
        """Stop new grants until :meth:`end_unwritable`; the caller publishes the change."""
        self._unwritable = f"{why} Until then releases are accepted, but nothing new is granted."
        log.error("%s", self._unwritable)

    def end_unwritable(self) -> None:
        """Record that the journal can be written again."""
        self._unwritable = None
        log.warning("The journal can be written again.")
        self._changes.publish_pool()
