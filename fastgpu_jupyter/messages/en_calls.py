"""The English sentences about calls of an executor; see :mod:`.en`."""

from __future__ import annotations

MESSAGES: dict[str, str | dict[str, str]] = {
    "call.argument": (
        "The argument {name} ({type}) cannot be sent to another process: {reason}. Nothing was submitted. Pass what it "
        "is made from, such as a path or an array, and make it inside the function."
    ),
    "call.function": (
        "The function {name} uses something that cannot be sent to another process: {reason}. Nothing was submitted. "
        "Make it inside the function instead of outside, or pass it as an argument."
    ),
    "call.damaged": (
        "The file of the call, {path}, is missing or was changed after it was submitted, so it was not opened. Submit "
        "the call again."
    ),
    "call.not_unpickled": (
        "The function or its arguments cannot be read in the process of the job: {reason}. Install what is missing in "
        "the environment {interpreter}, and submit the call again."
    ),
    "call.unreadable": "Job {job} is done and its result is kept. {reason}",
    "call.exception": "The call raised {name}: {text} (that exception itself cannot be sent between processes)",
    "call.cancelled": "Job {job} was cancelled while its call ran. Submit the call again to run it.",
    "call.timeout": (
        "Job {job} was ended after {limit_ms}, its time limit. Its log is kept. Submit the call again with a longer "
        "timeout, or with less to do."
    ),
    "call.died": (
        "The process of job {job} ended before the call did. {why} Other calls go on; submit the call again."
    ),
    "call.lost": (
        "Job {job} is lost: it ended with the processes that ran it. {why} Other calls go on. Submit the call again, "
        "or use retries=1 to have such calls run again."
    ),
    "call.removed": "Job {job} was removed before its result was read. Submit the call again.",
}
