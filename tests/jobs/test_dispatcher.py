"""The dispatcher as a process: submit, list, cancel, follow; killed, stopped, started by several at once."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from fastgpu_jupyter.errors import DispatcherUnreachable, InvalidRequest, NotFound, StoreFault
from fastgpu_jupyter.jobs import places
from fastgpu_jupyter.jobs.client import JobsClient, has_unfinished_jobs, running_dispatcher
from fastgpu_jupyter.jobs.frames import FrameSocket
from fastgpu_jupyter.messages import text_of
from tests.helpers import alive
from tests.jobs.bodies import command, function
from tests.jobs.conftest import kill_dispatcher
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_jobs_survive_a_kill_of_the_dispatcher_in_their_order(jobs: JobsClient) -> None:
    assert not has_unfinished_jobs()
    ids = [jobs.submit(command(name=f"n{number}"))["id"] for number in range(3)]
    ids.append(jobs.submit(command(priority="high"))["id"])
    before = [jobs.job(job_id) for job_id in ids]
    assert [view["jobs_before"] for view in before] == [1, 2, 3, 0]
    assert jobs.cancel(ids[1])["state"] == "cancelled"
    kill_dispatcher(jobs)
    assert has_unfinished_jobs()
    after = {view["id"]: view for view in jobs.jobs()}
    assert [after[job_id]["state"] for job_id in ids] == ["queued", "cancelled", "queued", "queued"]
    assert [after[job_id]["jobs_before"] for job_id in ids] == [1, None, 2, 0]
    assert all(after[view["id"]]["version"] > view["version"] for view in before)
    assert jobs.submit(command())["id"] == ids[-1] + 1


def test_submission_sent_twice_is_one_job(jobs: JobsClient) -> None:
    body = command(submission="ab" * 16)
    first = jobs.submit(body)
    kill_dispatcher(jobs)
    assert jobs.submit(body)["id"] == first["id"]
    assert len(jobs.jobs()) == 1


def test_submissions_at_the_same_time_are_one_job_each(jobs: JobsClient) -> None:
    clients = [JobsClient() for _ in range(4)]
    bodies = [command(submission=f"{number:032x}", size="half") for number in (1, 1, 2, 2)]
    with ThreadPoolExecutor(len(clients)) as threads:
        found = list(threads.map(lambda client, body: client.submit(body)["id"], clients, bodies))
    assert (found[0], found[2]) == (found[1], found[3])
    assert {view["id"] for view in jobs.jobs()} == set(found)
    assert len(set(found)) == 2
    for client in clients:
        client.close()


def test_call_that_is_none_is_refused_and_garbage_ends_its_connection_only(jobs: JobsClient) -> None:
    job_id = jobs.submit(command())["id"]
    connection = FrameSocket(places.socket_path(), 30)
    assert connection.receive()["event"] == "serving"
    for call, arguments in (("destroy", {}), ("cancel", {"id": "all"}), ("cancel", {"id": job_id, "force": True})):
        connection.send({"id": 5, "call": call, "arguments": arguments})
        answer = connection.receive()
        assert (answer["id"], answer["refusal"]["code"]) == (5, "invalid_request")
    connection._sock.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(EOFError):
        connection.receive()
    connection.close()
    assert jobs.job(job_id)["state"] == "queued"


def test_draft_becomes_the_payload_and_a_rerun_has_the_same_files(jobs: JobsClient) -> None:
    draft = jobs.new_draft()
    (draft / "call.pickle").write_bytes(b"call")
    job_id = jobs.submit(function(draft.name))["id"]
    assert not draft.exists()
    again = jobs.rerun(job_id)["id"]
    assert again != job_id
    for one in (job_id, again):
        assert (places.payload_folder(one) / "call.pickle").read_bytes() == b"call"


def test_refused_submission_leaves_the_draft(jobs: JobsClient) -> None:
    draft = jobs.new_draft()
    (draft / "other.pickle").write_bytes(b"call")
    with pytest.raises(InvalidRequest) as refused:
        jobs.submit(function(draft.name))
    assert "call.pickle" in text_of(refused.value)
    assert (draft / "other.pickle").exists()
    assert jobs.jobs() == []


def test_bad_bodies_are_refused_with_what_is_wrong(jobs: JobsClient) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"kind": "picture"}, "picture"),
        ({"after": [9999]}, "9999"),
        ({"program": {"argv": []}}, "argv"),
        ({"options": {"priority": "urgent"}}, "urgent"),
        ({"draft": "ab" * 16}, "abab"),
        ({"retries": -1}, "retries"),
        ({"program": {"argv": ["x" * 400_000] * 3}}, "MiB"),
    ]
    for change, says in wrong:
        with pytest.raises((InvalidRequest, NotFound)) as refused:
            jobs.submit(command(**change))
        assert says in text_of(refused.value)
    assert jobs.jobs() == []


def test_job_cancels_those_that_follow_it(jobs: JobsClient) -> None:
    first = jobs.submit(command())["id"]
    second = jobs.submit(command(after=[first]))
    third = jobs.submit(command(after=[second["id"], first]))["id"]
    assert second["reason"] is not None
    assert second["reason"]["code"] == "jobs.waits_for_jobs"
    jobs.cancel(first)
    views = [jobs.wait(one, timeout_s=5) for one in (second["id"], third)]
    assert [view["state"] for view in views] == ["cancelled", "cancelled"]
    assert [view["notes"][-1]["params"]["number"] for view in views] == [first, first]
    with pytest.raises(InvalidRequest):
        jobs.submit(command(after=[first]))


def test_followers_get_changes_only_and_go_on_after_a_kill(jobs: JobsClient) -> None:
    first = jobs.submit(command())["id"]
    stream = jobs.follow()
    events = iter(stream)
    event = next(events)
    assert (event["reset"], [view["id"] for view in event["jobs"]], event["queue"]) == (True, [first], [first])
    second = jobs.submit(command())["id"]
    event = next(event for event in events if event["queue"])
    assert (event["reset"], event["queue"]) == (False, [first, second])
    assert second in {view["id"] for view in event["jobs"]}
    jobs.cancel(first)
    event = next(event for event in events if event["queue"])
    assert (event["reset"], event["queue"]) == (False, [second])
    assert {view["id"]: view["state"] for view in event["jobs"]}[first] == "cancelled"
    kill_dispatcher(jobs)
    event = next(event for event in events if event["reset"])
    assert {view["id"] for view in event["jobs"]} == {first, second}
    stream.close()
    assert list(events) == []


def test_stream_of_a_client_that_starts_no_dispatcher_ends_with_it(jobs: JobsClient) -> None:
    jobs.submit(command())
    other = running_dispatcher()
    assert other is not None
    events = iter(other.follow())
    next(events)
    kill_dispatcher(jobs)
    with pytest.raises(DispatcherUnreachable):
        next(events)
    assert running_dispatcher() is None
    other.close()


def test_several_clients_start_one_dispatcher(jobs: JobsClient) -> None:
    kill_dispatcher(jobs)
    clients = [JobsClient() for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as threads:
        pids = set(threads.map(lambda client: client.ping()["pid"], clients))
    assert pids == {jobs.ping()["pid"]}
    for client in clients:
        client.close()


def test_store_of_a_newer_version_is_refused_and_stays_as_it_is(own_jobs: JobsClient) -> None:
    own_jobs.submit(command())
    kill_dispatcher(own_jobs)
    path = places.jobs_dir() / places.DATABASE
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 99")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    with pytest.raises(StoreFault) as refused:
        own_jobs.jobs()
    assert "newer version" in text_of(refused.value)
    assert path.read_bytes() == before


def test_setting_that_does_not_exist_is_refused(isolated: Path, own_jobs: JobsClient) -> None:
    (isolated / "config" / "jupyter_fastgpu_jobs_config.py").write_text("c.Jobs.runner_max = 3\n")
    with pytest.raises(InvalidRequest) as refused:
        own_jobs.ping()
    assert "Jobs.runner_max" in text_of(refused.value)


def test_dispatcher_ends_when_idle(isolated: Path, own_jobs: JobsClient) -> None:
    (isolated / "config" / "jupyter_fastgpu_jobs_config.json").write_text('{"Jobs": {"idle_exit_s": 0}}')
    pid = own_jobs.ping()["pid"]
    wait_until(lambda: not alive(pid), "The idle dispatcher ends.")
    assert own_jobs.ping()["pid"] != pid
