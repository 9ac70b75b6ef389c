"""The options of a job as words."""

from __future__ import annotations

from typing import Any

import pytest

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.jobs.words import names, read, split, usage
from fastgpu_jupyter.messages import text_of


def options_of(line: str, kind: str = "cell") -> Any:
    """Return the options in a line that has nothing else."""
    options, plain = read(split(line), kind)
    assert plain == []
    return options


def test_read_understands_every_option_of_the_documentation() -> None:
    found = options_of(
        '--size half --priority high --in x,y --in=z --out model --cache --numeric --seed 7 --file "my data.csv" '
        '--env DATA --timeout 1h --retries 2 --after 17,18 --save "out/*.png" --refresh --key v2 --explain --as big'
    )
    assert (found.size, found.lease, found.inputs, found.outputs) == (
        "half",
        {"priority": "high"},
        ["x", "y", "z"],
        ["model"],
    )
    assert (found.cache, found.numeric, found.seed, found.files) == (True, True, 7, ["my data.csv"])
    assert (found.variables, found.timeout_ms, found.retries, found.after) == (["DATA"], 3_600_000, 2, [17, 18])
    assert (found.save, found.refresh, found.key, found.explain) == (["out/*.png"], True, "v2", True)
    assert found.variable == "big"


def test_read_leaves_what_is_not_said_to_the_settings() -> None:
    found = options_of("")
    assert (found.size, found.cache, found.lease, found.timeout_ms) == (None, None, {}, None)
    assert options_of("--no-cache").cache is False
    assert options_of("--budget 2 --hold").lease == {"budget_micro": 2_000_000, "retention": "hold"}


def test_read_returns_the_words_that_are_no_options() -> None:
    options, plain = read(split("half full --priority low  # a comment"))
    assert (plain, options.lease) == (["half", "full"], {"priority": "low"})


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("--sise half", "did you mean --size?"),
        ("--zzz", "choose from size, in, out"),
        ("--size", "--size needs a value, such as half|needs a value"),
        ("--in 2x", "'2x' is not the name of a variable"),
        ("--seed -1", "not a whole number"),
        ("--seed 1 --seed 2", "more than once|twice"),
        ("--after cell", "is not the number of a job"),
        ("--timeout soon", "timeout: "),
        ("--timeout 0", "timeout: '0' is no time"),
        ("--save /etc/passwd", "save: '/etc/passwd' is outside"),
        ("--save ../a", "outside of the working folder"),
        ("--priority urgent", "priority: "),
        ("--idle-park 1h", "no option --idle-park"),
        ('--save "out', "quote is not closed"),
    ],
)
def test_read_refuses_with_a_sentence(line: str, says: str) -> None:
    import re

    with pytest.raises(InvalidRequest) as refused:
        read(split(line))
    assert re.search(says, text_of(refused.value))


def test_options_of_a_cell_are_none_of_a_command() -> None:
    assert {"in", "out", "as", "seed"} & set(names("command")) == set()
    with pytest.raises(InvalidRequest):
        options_of("--in x", "command")
    assert "[--timeout 1h]" in usage("command")
