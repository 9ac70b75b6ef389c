"""What a mutation is: edits that break one guarantee, and the failure that must reveal them."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.mutations.edits import Edit

ROOT = Path(__file__).resolve().parents[3]
#: Errors of a program that does not fit together. Any program has them after a careless edit, so they prove nothing.
PROGRAMMING_ERRORS = frozenset(
    {
        "TypeError",
        "NameError",
        "UnboundLocalError",
        "AttributeError",
        "ImportError",
        "ModuleNotFoundError",
        "SyntaxError",
    }
)
_NAMES_PROGRAMMING_ERROR = re.compile(rf"\b(?:{'|'.join(sorted(PROGRAMMING_ERRORS))})\b")


class Guarantee(enum.StrEnum):
    """The guarantee that a mutation breaks. A sample has at least one mutation of each."""

    DURABILITY = "durability"  #: what was acknowledged is on disk, and memory is never ahead of it
    DOUBLE_GRANT = "double grant"  #: capacity is granted once
    BILLING = "billing"  #: each second of each lease is billed once or not at all
    IDENTITY = "identity"  #: a process is the recorded one
    AUTHORIZATION = "authorization"  #: a caller changes only what it may change
    QUEUE_ORDER = "queue order"  #: requests are granted in their order, within limits and reservations
    VISIBILITY = "visibility"  #: what cannot be seen on a device is not taken for absent
    SCRUB = "scrub"  #: memory of one tenant is not read by the next
    PARTITION = "partition"  #: partitions are made and destroyed with their leases
    LIFECYCLE = "lifecycle"  #: a lease goes through its states for stated reasons
    KERNEL = "kernel"  #: a kernel does what one of ipykernel does, and its cells wait only for a GPU
    NAMES = "names"  #: a name that a user chose is shown, never obeyed, and hides nothing of another name
    AVAILABILITY = "availability"  #: what hangs or runs out delays no other; what is not known is not done
    CACHE = "cache"  #: a job gets the result of the same computation, whole, or is computed
    JOBS = "jobs"  #: a job that was accepted ends once, runs in its order, and leaves no lease and no process
    ENFORCEMENT = "enforcement"  #: limits are enforced as they are shown


@dataclass(frozen=True)
class Failure:
    """One failed test, or one simulation that broke an invariant."""

    test: str  #: the node id of the test, or the seed of the simulation
    phase: str  #: "call" of a test; anything else is no failure of what it asserts
    errors: tuple[str, ...]  #: the type of the exception and of those that caused it
    message: str

    @property
    def is_programming_error(self) -> bool:
        """Whether the edited program did not fit together, here or in a part that reported it."""
        return not PROGRAMMING_ERRORS.isdisjoint(self.errors) or bool(_NAMES_PROGRAMMING_ERROR.search(self.message))


@dataclass(frozen=True)
class Fails:
    """The expectation that a test fails with a message and an exception of a type."""

    test: Callable[..., object]  #: the function of the test
    message: str = ""  #: regular expression, searched in the message
    error: str = "AssertionError"  #: name of the type of the exception
    parameters: str = ""  #: the part of the node id in brackets; without it all are run

    @property
    def node_id(self) -> str:
        """Return the node id of the test, relative to the root of the project."""
        path = Path(inspect.getfile(self.test)).relative_to(ROOT)
        return f"{path}::{self.test.__name__}" + (f"[{self.parameters}]" if self.parameters else "")

    def is_met_by(self, failure: Failure) -> bool:
        """Return whether ``failure`` is the expected one."""
        return (
            failure.phase == "call"
            and (failure.test == self.node_id or failure.test.startswith(f"{self.node_id}["))
            and failure.errors[0] == self.error
            and re.search(self.message, failure.message, re.DOTALL) is not None
        )


@dataclass(frozen=True)
class Violates:
    """The expectation that the simulator reports that an invariant is broken."""

    invariant: str  #: regular expression, searched in the report
    seeds: int = 60  #: simulations that are run at most
    steps: int = 200  #: of each story
    first: int = 0  #: seed of the first one

    def is_met_by(self, failure: Failure) -> bool:
        """Return whether ``failure`` is the expected one."""
        return failure.errors[0] == "InvariantViolation" and re.search(self.invariant, failure.message) is not None


@dataclass(frozen=True)
class Mutation:
    """A broken build: what is edited, the guarantee that it breaks, and the failure that must reveal it."""

    name: str
    guarantee: Guarantee
    edits: tuple[Edit, ...]
    expected: Fails | Violates
    #: Whether the test starts processes that import the package, so that the edits must be on disk, too.
    in_processes: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a run of the test or of the simulator with a mutation came to."""

    caught: bool
    explanation: str  #: the failure that caught it, or why it is not caught
    failures: tuple[Failure, ...] = ()
    cpu_s: float = 0.0  #: processor time that the run took


def judge(mutation: Mutation, failures: Sequence[Failure], cpu_s: float = 0.0) -> Outcome:
    """Return whether ``failures`` reveal ``mutation`` for the reason that it states."""
    errors = [failure for failure in failures if failure.is_programming_error]
    met = [failure for failure in failures if mutation.expected.is_met_by(failure)]
    if errors:
        explanation = f"a programming error is no catch: {describe(errors[0])}"
    elif met:
        explanation = describe(met[0])
    elif failures:
        explanation = f"it fails for another reason: {describe(failures[0])}"
    else:
        explanation = "nothing fails"
    return Outcome(bool(met) and not errors, explanation, tuple(failures), cpu_s)


def describe(failure: Failure) -> str:
    """Return the failure on one line."""
    lines = [line.strip() for line in failure.message.splitlines() if line.strip()]
    where = failure.test if failure.phase == "call" else f"{failure.test} ({failure.phase})"
    return f"{where}: {failure.errors[0]}: {' '.join(lines)[:300]}"
