"""The store of results: objects named by their SHA-256, and manifests that say what belongs to one result.

    format             the version of the store
    lock               held exclusively while objects are removed
    objects/ab/cdef…   files, values and outputs; read-only, each named by its checksum
    manifests/abcdef…  one for each result; its time of change is when the result was last used
    sessions/…         what living processes wrote or read

A file gets its name after it was synced, so that a crash or a power cut leaves whole objects or none. A store that does
not sync may lose objects in a power cut; their checksums tell.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ...errors import InvalidRequest, Message, NotFound, StoreFault, VersionMismatch
from ...wire.private_files import sync_folder
from .eviction import Evicted, StoreUsage, evict, usage_of
from .files import CHUNK_BYTES, digest_of, open_own, opened_regular, private_folder
from .manifest import Manifest, Stored
from .sessions import Session, locked, reading_session
from .values import damaged, read_value, write_value

#: The version of the layout that this code writes, and the newest that it reads.
STORE_VERSION = 1
_DIGEST = re.compile("[0-9a-f]{64}")


class ResultStore:
    """A folder of results. Any number of threads and processes of one user may use it at a time.

    What this object wrote, and what it reads in :meth:`reading`, is not evicted until :meth:`release` or the end of the
    process.
    """

    def __init__(self, folder: Path, *, synced: bool = True) -> None:
        """``synced``: what is written survives a loss of power; without it, only the end of any process."""
        self._synced = synced
        self.folder = private_folder(folder)
        self._objects = private_folder(folder / "objects")
        self._manifests = private_folder(folder / "manifests")
        self._sessions = private_folder(folder / "sessions")
        self._session: Session | None = None
        self._thread_lock = threading.RLock()
        self._require_version()

    # -- writing ----------------------------------------------------------------------------------------------------

    def put_file(self, path: Path) -> Stored:
        """Copy a file into the store. Raises :class:`InvalidRequest` where it is none, :class:`StoreFault`."""
        with opened_regular(path) as source:

            def copy(write: Callable[[Any], Any]) -> None:
                buffer = memoryview(bytearray(CHUNK_BYTES))
                while count := os.readv(source, [buffer]):
                    write(buffer[:count])

            return self._put(copy, self._object_path)

    def put_value(self, value: Any) -> Stored:
        """Store a Python object. Raises :class:`InvalidRequest` where it cannot be pickled, :class:`StoreFault`."""
        return self._put(lambda write: write_value(value, write), self._object_path)

    def put_bytes(self, content: bytes) -> Stored:
        """Store a text or a JSON document as it is. Raises :class:`StoreFault` where it cannot be written."""
        return self._put(lambda write: write(content), self._object_path)

    def put_manifest(self, manifest: Manifest) -> str:
        """Store the list of a result's parts, which are in the store already, and return the digest of the result."""
        encoded = manifest.encoded()
        return self._put(lambda write: write(encoded), self._manifest_path).digest

    # -- reading ----------------------------------------------------------------------------------------------------

    def manifest(self, digest: str, *, used: bool = False) -> Manifest:
        """Return the parts of a result; with ``used``, it counts as used now.

        Raises :class:`NotFound` where it is not kept, :class:`StoreFault`.
        """
        with self._opened(self._manifest_path(digest), digest) as file:
            encoded = file.read()
        if hashlib.sha256(encoded).hexdigest() != digest:
            raise damaged(digest, "its checksum differs")
        if used:
            os.utime(self._manifest_path(digest))
        return Manifest.decoded(digest, encoded)

    @contextmanager
    def reading(self, digest: str) -> Iterator[Manifest]:
        """Yield the parts of a result; none of them is evicted meanwhile, and the result counts as used now."""
        with locked(self.folder / "lock", exclusive=False):
            manifest = self.manifest(digest)
            os.utime(self._manifest_path(digest))
            session = reading_session(self._sessions, [digest, *manifest.digests()])
        with session:
            yield manifest

    def value(self, digest: str) -> Any:
        """Return a stored Python object; nothing is unpickled before the checksum of the whole file is verified.

        Raises :class:`NotFound`, :class:`StoreFault` where the file is damaged, and :class:`InvalidRequest` where this
        Python cannot restore it.
        """
        with self._opened(self._object_path(digest), digest) as file:
            return read_value(file.fileno(), digest)

    @contextmanager
    def open(self, digest: str) -> Iterator[IO[bytes]]:
        """Yield an object as a file at its beginning, its checksum verified. Raises as :meth:`value` does."""
        with self._opened(self._object_path(digest), digest) as file:
            if digest_of(file.fileno()) != digest:
                raise damaged(digest, "its checksum differs")
            file.seek(0)
            yield file

    def size(self, digest: str) -> int:
        """Return the size of an object in bytes. Raises as :meth:`open` does where it is not kept."""
        with self._opened(self._object_path(digest), digest) as file:
            return os.fstat(file.fileno()).st_size

    def content(self, digest: str) -> bytes:
        """Return a stored document as it is, such as the outputs of a cell. Raises as :meth:`open` does."""
        with self.open(digest) as file:
            return file.read()

    # -- room -------------------------------------------------------------------------------------------------------

    def usage(self) -> StoreUsage:
        """Return what the store holds, and how much of the disk that is."""
        return usage_of(self._objects, self._manifests)

    def evict(self, bytes_max: int, in_use: Collection[str] = ()) -> Evicted:
        """Remove the least recently used results until the store has at most ``bytes_max``, and what none refers to.

        ``in_use`` has the digests of results to keep in any case, such as those of jobs whose end is being recorded.
        What living processes wrote or read is kept, too, so that the store can remain larger than ``bytes_max``.
        """
        with locked(self.folder / "lock", exclusive=True):
            return evict(self._objects, self._manifests, self._sessions, bytes_max=bytes_max, in_use=in_use)

    def remove(self, digests: Collection[str], in_use: Collection[str] = ()) -> Evicted:
        """Remove these results and what only they refer to; what is in use stays, as in :meth:`evict`."""
        with locked(self.folder / "lock", exclusive=True):
            return evict(self._objects, self._manifests, self._sessions, bytes_max=None, in_use=in_use, chosen=digests)

    def release(self) -> None:
        """End the protection of what this object wrote. It may be evicted from now on."""
        with self._thread_lock:
            session, self._session = self._session, None
            if session:
                session.close()

    # ---------------------------------------------------------------------------------------------------------------

    def _put(self, produce: Callable[[Callable[[Any], Any]], None], place: Callable[[str], Path]) -> Stored:
        try:
            with self._thread_lock, locked(self.folder / "lock", exclusive=False):
                if self._session is None or self._session.pid != os.getpid():
                    self._session = Session(self._sessions)
                session = self._session
            return self._write(session, produce, place)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreFault(Message.of("results.not_written", path=str(self.folder), reason=reason)) from error

    def _write(
        self, session: Session, produce: Callable[[Callable[[Any], Any]], None], place: Callable[[str], Path]
    ) -> Stored:
        draft = session.new_file()
        checksum = hashlib.sha256()
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:

                def write(data: Any) -> None:
                    checksum.update(data)
                    with memoryview(data) as left:
                        done = 0
                        while done < left.nbytes:
                            done += file.write(left[done:])

                produce(write)
                size = file.tell()
                if self._synced:
                    os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o400)
            digest = checksum.hexdigest()
            target = place(digest)
            with locked(self.folder / "lock", exclusive=False):
                session.protect([digest])
                target.parent.mkdir(mode=0o700, exist_ok=True)
                # A damaged object of the same name is replaced, too.
                draft.replace(target)
            if self._synced:
                sync_folder(target.parent)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return Stored(digest, size)

    @contextmanager
    def _opened(self, path: Path, digest: str) -> Iterator[IO[bytes]]:
        try:
            descriptor = open_own(path)
        except FileNotFoundError:
            raise NotFound(Message.of("results.gone", digest=digest[:12])) from None
        except OSError as error:
            raise damaged(digest, error.strerror or str(error)) from error
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            yield file

    def _object_path(self, digest: str) -> Path:
        _require_digest(digest)
        return self._objects / digest[:2] / digest[2:]

    def _manifest_path(self, digest: str) -> Path:
        _require_digest(digest)
        return self._manifests / digest

    def _require_version(self) -> None:
        """Write the version of the store into a new one. Raises :class:`VersionMismatch` for a newer store."""
        path = self.folder / "format"
        with locked(self.folder / "lock", exclusive=True):
            try:
                descriptor = open_own(path)
            except FileNotFoundError:
                path.write_text(f"{STORE_VERSION}\n")
                path.chmod(0o600)
                return
            with os.fdopen(descriptor) as file:
                found = file.read(20).strip()
        if not found.isdigit() or int(found) > STORE_VERSION:
            raise VersionMismatch(Message.of("results.newer_store", path=str(self.folder), version=found))


def _require_digest(digest: str) -> None:
    """Raise :class:`InvalidRequest` for what is no digest, such as a path."""
    if not _DIGEST.fullmatch(digest):
        raise InvalidRequest(Message.of("results.no_digest", digest=repr(digest)[:80]))
