"""The store of results: what was put in comes out, or a sentence; what is in use stays, and the rest is bounded."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastgpu_jupyter.errors import FastGPUError, Forbidden, InvalidRequest, NotFound, StoreFault, VersionMismatch
from fastgpu_jupyter.jobs.results import Manifest, ResultStore, Stored, StoredValue
from fastgpu_jupyter.messages import text_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def object_file(store: ResultStore, digest: str) -> Path:
    return store.folder / "objects" / digest[:2] / digest[2:]


def put_result(store: ResultStore, content: bytes, used_s: int | None = None) -> tuple[str, str]:
    """Store a result with one file, last used at that time; return the digests of the result and of the file."""
    stored = store.put_bytes(content)
    digest = store.put_manifest(Manifest("command", files={"out": stored}))
    if used_s is not None:
        os.utime(store.folder / "manifests" / digest, (used_s, used_s))
    return digest, stored.digest


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "x"], "b": (b"y", {3})},
        np.arange(100_000, dtype=">i4"),
        np.asfortranarray(np.ones((300, 7))),
        np.arange(20_000.0)[::3],
        [np.zeros(5000, "f4"), "between", np.ones(5000, "u1"), np.array([], "c16")],
        np.array([{"o": 1}, None], dtype=object),
        bytearray(b"z" * 10_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_comes_back_as_it_was_stored(store: ResultStore, value: Any) -> None:
    stored = store.put_value(value)
    back = store.value(stored.digest)
    assert pickle.dumps(back) == pickle.dumps(value)
    assert stored.bytes == object_file(store, stored.digest).stat().st_size


def test_array_that_comes_back_is_writable_and_a_read_only_one_is_not(store: ResultStore) -> None:
    array = np.zeros(1 << 20)
    back = store.value(store.put_value(array).digest)
    back[3] = 1
    array.flags.writeable = False
    assert not store.value(store.put_value(array).digest).flags.writeable
    assert store.value(store.put_value(np.zeros(1 << 20)).digest)[3] == 0


def test_one_content_is_stored_once_and_read_only(store: ResultStore) -> None:
    one, same = store.put_bytes(b"x"), store.put_bytes(b"x")
    assert one == same
    assert store.usage()[1:] == (0, 1)
    assert object_file(store, one.digest).stat().st_mode & 0o777 == 0o400
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in store.folder.rglob("*") if path.is_dir())


def test_saved_file_keeps_its_content_and_anything_else_is_refused(store: ResultStore, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 10_000)
    stored = store.put_file(tmp_path / "f")
    assert store.content(stored.digest) == (tmp_path / "f").read_bytes()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InvalidRequest):
            store.put_file(path)


def test_manifest_comes_back_with_all_fields(store: ResultStore) -> None:
    manifest = Manifest(
        "cell", {"x": StoredValue("1" * 64, 3, "int")}, "2" * 64, "3" * 64, {"a/b.png": Stored("4" * 64, 5)},
        1_700_000_000_000, {"model": "A100", "simulated": True}, 420_000,
    )  # fmt: skip
    assert store.manifest(store.put_manifest(manifest)) == manifest


def test_manifest_of_a_newer_format_is_kept_and_refused(store: ResultStore) -> None:
    digest = store.put_manifest(Manifest("cell", version=2))
    with pytest.raises(VersionMismatch, match=r"results\.newer"):
        store.manifest(digest)


def test_store_of_a_newer_version_is_refused_and_unchanged(store: ResultStore) -> None:
    (store.folder / "format").write_text("2\n")
    with pytest.raises(VersionMismatch) as refused:
        ResultStore(store.folder)
    assert "newer FastGPU" in text_of(refused.value)
    assert (store.folder / "format").read_text() == "2\n"


# -- what is not the user's own, or not as it was stored --------------------------------------------------------------


class Planted:
    """An object whose unpickling is noticed."""

    opened: list[str] = []  # noqa: RUF012

    def __reduce__(self) -> tuple[Any, ...]:
        return Planted.opened.append, ("opened",)


@pytest.mark.parametrize("position", [0, 40, -1000, -20, -1])
def test_damaged_object_is_refused_before_anything_is_unpickled(store: ResultStore, position: int) -> None:
    digest = store.put_value([Planted(), np.ones(3000)]).digest
    path = object_file(store, digest)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    with pytest.raises(StoreFault, match=r"results\.damaged"):
        store.value(digest)
    assert Planted.opened == []


def test_flip_of_any_byte_and_any_shorter_file_is_noticed(store: ResultStore) -> None:
    digest = store.put_value({"a": np.arange(600.0), "b": "text"}).digest
    path = object_file(store, digest)
    whole = path.read_bytes()
    path.chmod(0o600)
    for damaged in (
        *(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(0, len(whole), 97)),
        *(whole[:length] for length in range(0, len(whole), 131)),
        whole + b"x",
    ):
        path.write_bytes(damaged)
        with pytest.raises(StoreFault):
            store.value(digest)


def test_damaged_object_is_replaced_when_its_content_is_stored_again(store: ResultStore) -> None:
    digest = store.put_value([1, 2]).digest
    object_file(store, digest).chmod(0o600)
    object_file(store, digest).write_bytes(b"")
    assert store.put_value([1, 2]).digest == digest
    assert store.value(digest) == [1, 2]


@pytest.mark.parametrize("kind", ["link", "group", "others", "pipe", "folder"])
def test_object_that_others_could_have_written_is_refused(store: ResultStore, tmp_path: Path, kind: str) -> None:
    digest = store.put_value(Planted()).digest
    path = object_file(store, digest)
    if kind in ("group", "others"):
        path.chmod(0o460 if kind == "group" else 0o406)
        path.chmod(0o420 if kind == "group" else 0o402)
    else:
        path.rename(tmp_path / "elsewhere")
        {"link": lambda: path.symlink_to(tmp_path / "elsewhere"), "pipe": lambda: os.mkfifo(path)}.get(
            kind, path.mkdir
        )()
    with pytest.raises(Forbidden) as refused:
        store.value(digest)
    assert "your own" in text_of(refused.value)
    assert Planted.opened == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_store_and_object_of_another_user_are_refused(store: ResultStore) -> None:
    digest = store.put_value(Planted()).digest
    os.chown(object_file(store, digest), 12345, 12345)
    with pytest.raises(Forbidden):
        store.value(digest)
    os.chown(store.folder / "objects", 12345, 12345)
    with pytest.raises(Forbidden):
        ResultStore(store.folder)
    assert Planted.opened == []


def test_folder_that_is_a_link_or_writable_for_others_is_refused(tmp_path: Path, store: ResultStore) -> None:
    (tmp_path / "link").symlink_to(store.folder)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name in ("link", "open"):
        with pytest.raises(Forbidden):
            ResultStore(tmp_path / name)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65])
def test_text_that_is_no_digest_is_no_path(store: ResultStore, digest: str) -> None:
    for read in (store.value, store.manifest, store.content):
        with pytest.raises(InvalidRequest):
            read(digest)


@pytest.mark.parametrize("value", [threading.Lock(), iter([1]).__iter__, (one for one in "ab")][::2])
def test_unpicklable_value_is_refused_with_its_type(store: ResultStore, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        store.put_value(value)
    assert type(value).__name__ in text_of(refused.value)
    assert store.usage().objects == 0


def test_value_that_cannot_be_restored_says_that_it_is_intact(store: ResultStore) -> None:
    class Breaks:
        def __reduce__(self) -> tuple[Any, ...]:
            return int, ("no number",)

    digest = store.put_value(Breaks()).digest
    with pytest.raises(InvalidRequest) as refused:
        store.value(digest)
    assert "intact" in text_of(refused.value)


def test_full_disk_leaves_nothing_behind_and_says_what_to_do(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = store.put_value("kept").digest

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for put in (store.put_value, store.put_bytes):
        with pytest.raises(StoreFault) as refused:
            put(b"more")
        assert "No space left on device" in text_of(refused.value)
        assert "prune" in text_of(refused.value)
    monkeypatch.undo()
    assert store.value(kept) == "kept"
    assert store.usage().objects == 1
    assert sorted(path.name for path in (store.folder / "sessions").glob("*/*")) == ["digests", "lock"]


# -- room -------------------------------------------------------------------------------------------------------------


def test_eviction_removes_the_least_recently_used_results_until_the_bound_holds(store: ResultStore) -> None:
    made = [put_result(store, bytes([number]) * 10_000, used_s=1000 + number) for number in range(4)]
    store.release()
    with store.reading(made[0][0]):
        pass
    evicted = store.evict(25_000)
    assert set(evicted.results) == {made[1][0], made[2][0]}
    assert evicted.bytes_left == store.usage().bytes <= 25_000
    assert store.content(made[0][1]) == bytes(10_000)
    with pytest.raises(NotFound) as gone:
        store.content(made[1][1])
    assert "Run the job again" in text_of(gone.value)


def test_eviction_keeps_an_object_that_another_result_refers_to(store: ResultStore) -> None:
    shared = store.put_bytes(b"s" * 10_000)
    old = store.put_manifest(Manifest("command", files={"a": shared}))
    new = store.put_manifest(Manifest("command", files={"b": shared}))
    os.utime(store.folder / "manifests" / old, (1, 1))
    store.release()
    assert store.evict(10_400).results == (old,)
    assert store.content(shared.digest)
    assert store.evict(0).results == (new,)
    assert store.usage() == (0, 0, 0)


def test_eviction_keeps_what_is_in_use_what_is_read_and_what_a_process_wrote(store: ResultStore) -> None:
    in_use, read, idle = (put_result(store, bytes([number]) * 1000, used_s=1) for number in range(3))
    store.release()
    writer = ResultStore(store.folder)
    written = writer.put_bytes(b"w" * 1000)
    with store.reading(read[0]) as manifest:
        evicted = store.evict(0, [in_use[0]])
        assert evicted.results == (idle[0],)
        assert store.content(manifest.files["out"].digest)
    assert store.content(in_use[1])
    assert store.content(written.digest)
    assert store.evict(0).results
    assert store.content(written.digest)
    writer.release()
    assert store.evict(0).bytes_left == 0


def test_remove_takes_the_chosen_results_and_what_only_they_refer_to(store: ResultStore) -> None:
    one, other, used = (put_result(store, bytes([number]) * 1000) for number in range(3))
    store.release()
    assert store.remove([one[0], used[0]], in_use=[used[0]]).results == (one[0],)
    assert store.usage().results == 2
    assert store.content(other[1])


def test_eviction_removes_no_object_while_a_manifest_cannot_be_read(store: ResultStore) -> None:
    newer = store.put_manifest(Manifest("cell", version=9))
    unknown = store.put_bytes(b"may belong to it")
    store.release()
    store.evict(1 << 30)
    assert store.content(unknown.digest)
    assert store.remove([newer]).results == (newer,)
    store.evict(1 << 30)
    assert store.usage() == (0, 0, 0)


WRITER = """
import sys, time
from pathlib import Path
from fastgpu_jupyter.jobs.results import ResultStore
store = ResultStore(Path(sys.argv[1]))
print(store.put_bytes(b"x" * 1000).digest, flush=True)
store._session.new_file().write_bytes(b"unfinished")
time.sleep(600)
"""


@pytest.mark.slow
def test_killed_writer_protects_nothing_and_its_unfinished_files_go(store: ResultStore) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store.folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert writer.stdout
    with writer.stdout:
        digest = writer.stdout.readline().strip()
    try:
        store.evict(0)
        assert store.content(digest)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert store.evict(0).bytes_left == 0
    assert list((store.folder / "sessions").iterdir()) == []


@pytest.mark.slow
def test_threads_that_write_read_and_evict_lose_nothing_that_is_protected(store: ResultStore) -> None:
    failures: list[str] = []
    done = threading.Event()

    def write(number: int) -> None:
        own = ResultStore(store.folder)
        for turn in range(30):
            content = bytes([number % 2, turn % 5]) * 500
            stored = own.put_bytes(content)
            digest = own.put_manifest(Manifest("command", files={"f": stored}))
            try:
                with own.reading(digest) as manifest:
                    assert own.content(manifest.files["f"].digest) == content
            except (FastGPUError, AssertionError) as error:
                failures.append(repr(error))
            if turn % 3 == 0:
                own.release()
        own.release()

    def evict() -> None:
        while not done.is_set():
            store.evict(0)

    evictor = threading.Thread(target=evict)
    evictor.start()
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    evictor.join()
    assert failures == []
    store.evict(0)
    assert store.usage() == (0, 0, 0)


def test_descriptors_are_closed_with_the_session(store: ResultStore) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    digest, _ = put_result(store, b"x")
    with store.reading(digest):
        pass
    store.release()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
