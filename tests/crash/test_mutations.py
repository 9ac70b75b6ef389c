"""Every mutation still applies, and a sample of them is revealed by the failure that each one names.

The sample is drawn by the current commit, so that a run of the same commit fails again. ``FASTGPU_MUTATIONS_SEED``
draws another one, ``FASTGPU_MUTATIONS=all`` runs all of them. See :mod:`tests.crash.mutations`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastgpu_jupyter.core.lease.lookup import find_granted
from fastgpu_jupyter.pool.journal.store import Journal
from tests.crash.mutations.catalogue import MUTATIONS, SAMPLE_SIZE, selected
from tests.crash.mutations.edits import Edit, NoSuchCode, apply, edited_sources
from tests.crash.mutations.model import Fails, Failure, Guarantee, Mutation, Violates, judge
from tests.crash.mutations.runner import Runner
from tests.crash.mutations.sampling import sample, sample_seed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_mutation_applies(mutation: Mutation) -> None:
    for path, source in edited_sources(mutation.edits).items():
        compile(source, str(path), "exec")
    expected = mutation.expected
    re.compile(expected.message if isinstance(expected, Fails) else expected.invariant)


def test_mutation_names_are_unique() -> None:
    assert max(Counter(mutation.name for mutation in MUTATIONS).values()) == 1


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """A process that runs mutations."""
    one = Runner()
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutation", selected(), ids=lambda mutation: mutation.name)
def test_mutation_is_revealed_by_the_failure_that_it_names(mutation: Mutation, runner: Runner) -> None:
    outcome = runner.run(mutation)
    if outcome.failures and all(failure.phase == "skip" for failure in outcome.failures):
        pytest.skip(outcome.failures[0].message)
    again = f"FASTGPU_MUTATIONS_SEED={sample_seed()}, or python -m tests.crash.mutations {mutation.name!r}"
    assert outcome.caught, f"{outcome.explanation} ({again})"


# -- the rules by which a mutation counts as revealed -----------------------------------------------------------------


def test_sample_has_each_guarantee_and_follows_the_seed() -> None:
    samples = [sample(MUTATIONS, seed, SAMPLE_SIZE) for seed in ("a", "a", "b")]
    assert samples[0] == samples[1] != samples[2]
    for one in samples:
        assert len(one) == SAMPLE_SIZE
        assert {mutation.guarantee for mutation in one} == set(Guarantee)


@pytest.mark.parametrize(
    ("failure", "caught"),
    [
        (("tests/crash/test_mutations.py::test_mutation_applies[a]", "call", ("AssertionError",), "1 == 2"), True),
        (("tests/crash/test_mutations.py::test_mutation_applies[a]", "call", ("AssertionError",), "3 == 2"), False),
        (("tests/crash/test_mutations.py::test_mutation_applies[a]", "teardown", ("AssertionError",), "1 == 2"), False),
        (("tests/crash/test_mutations.py::test_mutation_applies_too", "call", ("AssertionError",), "1 == 2"), False),
        (("tests/crash/test_mutations.py::test_mutation_applies[a]", "call", ("ValueError",), "1 == 2"), False),
        (
            (
                "tests/crash/test_mutations.py::test_mutation_applies[a]",
                "call",
                ("AssertionError", "TypeError"),
                "1 == 2",
            ),
            False,
        ),
        (
            (
                "tests/crash/test_mutations.py::test_mutation_applies[a]",
                "call",
                ("AssertionError",),
                "1 == 2 NameError('a')",
            ),
            False,
        ),
    ],
)
def test_judge_accepts_only_the_named_failure(failure: tuple[str, str, tuple[str, ...], str], caught: bool) -> None:
    mutation = Mutation("m", Guarantee.BILLING, (), Fails(test_mutation_applies, "^1 == 2"))
    assert judge(mutation, [Failure(*failure)]).caught is caught


def test_judge_rejects_a_programming_error_beside_the_named_failure() -> None:
    mutation = Mutation("m", Guarantee.BILLING, (), Violates("not billed"))
    failure = Failure("seed 1", "call", ("InvariantViolation",), "not billed")
    assert judge(mutation, [failure]).caught
    assert not judge(mutation, [failure, Failure("log", "", ("AttributeError",), "")]).caught
    assert not judge(mutation, []).caught


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("return nothing_like_it", "pass", "0 places"),
        ("lease", "None", "places match"),
        ("state.leases.get(...)", "state.leases.get(lease_id)", "changes nothing"),
    ],
)
def test_edit_without_one_place_or_without_effect_is_refused(old: str, new: str, why: str) -> None:
    with pytest.raises(NoSuchCode, match=why):
        apply([Edit(find_granted, old, new)])


def test_journal_syncs_every_commit(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2, (
        "an acknowledged command must survive a power cut"
    )
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    journal.close()
