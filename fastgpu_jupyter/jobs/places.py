"""Where the files of a user's jobs are.

    <user_state_dir>/jobs/                   0700
        jobs.db                              what is known of every job; the dispatcher is the only writer
        store-id                             a name that no other store has
        drafts/<name>/                       what a client has written for a job that is not submitted yet
        <id>/                                a job
            payload/                         the draft of the submitted job
            start.json                       what the runner is to do
            work.json                        which attempt has begun to work; the runner writes it before it starts it
            outcome.json                     how the last attempt ended; the runner writes it
            log                              what the job has printed
            runner.lock                      locked while a runner of the job lives
            outcome.reserve                  space for the outcome, so that it can be written on a full disk
            opened.log                       what forked processes of a job that is to be cached have opened
            progress.sock                    where its processes report how far they are
            runner.log                       what the runner itself has printed, such as the reason for which it ended
        dispatcher.lock, dispatcher.log      locked while a dispatcher serves; what it has logged
        results/                             the content-addressed store of results
    <user_runtime_dir>/jobs.sock             the dispatcher's socket

The state folder outlives a reboot, the runtime folder does not have to.
"""

from __future__ import annotations

from pathlib import Path

from ..wire.locate import user_runtime_dir, user_state_dir

#: The variable that each process of a job has; its value is :func:`mark_of` the job.
MARK_VARIABLE = "FASTGPU_JOB"

DATABASE = "jobs.db"
STORE_ID = "store-id"
DRAFTS = "drafts"
RESULTS = "results"
LOG_OF_DISPATCHER = "dispatcher.log"
PAYLOAD = "payload"
OUTCOME = "outcome.json"
START = "start.json"
WORK = "work.json"
LOG = "log"
RUNNER_LOCK = "runner.lock"
RUNNER_LOG = "runner.log"


def jobs_dir() -> Path:
    """Return the folder of this user's jobs, whether or not it exists."""
    return user_state_dir() / "jobs"


def socket_path() -> Path:
    """Return the path of the socket of this user's dispatcher, whether or not it exists."""
    return user_runtime_dir() / "jobs.sock"


def job_folder(job_id: int, folder: Path | None = None) -> Path:
    """Return the folder of a job, in the user's own jobs or in ``folder``."""
    return (folder or jobs_dir()) / str(int(job_id))


def drafts_folder(folder: Path | None = None) -> Path:
    """Return the folder of drafts."""
    return (folder or jobs_dir()) / DRAFTS


def results_folder(folder: Path | None = None) -> Path:
    """Return the folder of the store of results."""
    return (folder or jobs_dir()) / RESULTS


def payload_folder(job_id: int, folder: Path | None = None) -> Path:
    """Return the folder with the files that came with a job."""
    return job_folder(job_id, folder) / PAYLOAD


def outcome_file(job_id: int, folder: Path | None = None) -> Path:
    """Return the file that says how the last attempt of a job ended."""
    return job_folder(job_id, folder) / OUTCOME


def start_file(job_id: int, folder: Path | None = None) -> Path:
    """Return the file that says what the runner of a job is to do."""
    return job_folder(job_id, folder) / START


def work_file(job_id: int, folder: Path | None = None) -> Path:
    """Return the file that says which attempt of a job has begun to work."""
    return job_folder(job_id, folder) / WORK


def log_file(job_id: int, folder: Path | None = None) -> Path:
    """Return the file with what a job has printed."""
    return job_folder(job_id, folder) / LOG


def mark_of(store_id: str, job_id: int) -> str:
    """Return the value of :data:`MARK_VARIABLE` in the environment of every process of a job."""
    return f"{job_id}@{store_id}"
