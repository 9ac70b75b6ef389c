"""What is said of a lease beside its size: the same names in a command and in metadata, and sentences for the rest."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool.http.request_parsing import lease_request
from fastgpu_jupyter.wire.client import LeaseOptions
from fastgpu_jupyter.wire.options import OPTIONS, merged, read_mapping, read_words, usage

EVERYTHING = (
    "half --priority low --hold --no-parkable --isolation none --cpu 4 --host-memory 16GiB --max-rate 2.50 --wait 10m "
    "--budget 20"
)
READ = {
    "priority": "low",
    "retention": "hold",
    "parkable": False,
    "isolation": "none",
    "cpu_milli": 4000,
    "host_memory_bytes": 16 * 2**30,
    "rate_micro_per_hour_max": 2_500_000,
    "wait_ms_max": 600_000,
    "budget_micro": 20_000_000,
}


def test_read_words_and_read_mapping_give_the_same_options() -> None:
    assert read_words(EVERYTHING.split()) == ("half", READ, None)
    metadata = {
        "priority": "low", "hold": True, "parkable": False, "isolation": "none", "cpu": 4, "host_memory": "16GiB",
        "max-rate": 2.5, "wait": "10m", "budget": 20,
    }  # fmt: skip
    assert read_mapping(metadata) == READ


def test_options_of_a_cluster_are_read_apart_and_merged_one_by_one() -> None:
    _, options, _ = read_words(["h100", "--time", "4h", "--partition", "gpu", "--constraint=a100&nvlink"])
    cluster = {"time_limit_ms": 14_400_000, "partition": "gpu", "constraint": "a100&nvlink"}
    assert options == {"cluster": cluster}
    over = read_mapping({"partition": "big", "priority": "low"})
    assert merged(options, over) == {"priority": "low", "cluster": {**cluster, "partition": "big"}}
    for name in ("--now", "a b", "$(x)", ""):
        with pytest.raises(InvalidRequest):
            read_mapping({"account": name})


def test_lease_request_accepts_all_options() -> None:
    request = lease_request({"size": "half", **READ})
    request.validate()
    assert request.cpu_milli == 4000
    assert set(READ) <= set(get_type_hints(LeaseOptions))


def test_read_words_joins_other_words_as_the_size() -> None:
    assert read_words([]) == (None, {}, None)
    assert read_words(["1.5", "GiB"]) == ("1.5 GiB", {}, None)
    assert read_words(["--priority=high", "half"]) == ("half", {"priority": "high"}, None)
    assert read_words(["--parkable", "half", "--no-hold"]) == ("half", {"parkable": True, "retention": "yield"}, None)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--colour red", "There is no option 'colour'; use one of priority, hold"),
        ("--no-priority", "There is no option 'no-priority'"),
        ("--priority", "--priority needs a value, like --priority low"),
        ("--priority --hold", "--priority needs a value"),
        ("--priority urgent", "priority: 'urgent' is none of low, normal, high"),
        ("--hold --hold", "--hold was given twice"),
        ("--hold=maybe", "hold: 'maybe' is neither yes nor no"),
        ("--wait soon", "wait: 'soon' is not a time"),
        ("--cpu many", "cpu: 'many' is not a number of processor cores"),
        ("--host-memory -1GiB", "host-memory: '-1GiB' is not an amount of memory"),
        ("--budget 5EUR", "budget: '5EUR' is not an amount of money"),
    ],
)
def test_read_words_with_an_invalid_option_names_it(words: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_words(words.split())
    assert says in text_of(refused.value)


@pytest.mark.parametrize("said", [{"hold": None}, {"cpu": []}, {"priority": 3}, {"wait": "\u0661s"}, {1: 2}])
def test_read_mapping_of_any_value_raises_only_invalid_request(said: Any) -> None:
    with pytest.raises(InvalidRequest):
        read_mapping({str(name): value for name, value in said.items()})


def test_usage_names_every_option() -> None:
    assert all(f"--{name}" in usage() for name in OPTIONS)
