"""Rates, the currency and the files that they are in: what is wrong is refused with its place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from traitlets.config import Config

from fastgpu_jupyter.errors import InvalidRequest
from fastgpu_jupyter.messages import text_of
from fastgpu_jupyter.pool.config_source import ConfigSource
from fastgpu_jupyter.pool.devices.registry import CATALOG
from fastgpu_jupyter.pool.rates import read_rates, require_known_models
from tests.waiting import DEADLINE_S

NOWHERE = ConfigSource((), Config())


@pytest.mark.parametrize(
    ("rates", "read"),
    [
        ({"A100-80GB": 2}, {"A100-80GB": 2.0}),
        ({"A100-80GB": "2.50", "T4-16GB": 0}, {"A100-80GB": 2.5, "T4-16GB": 0.0}),
        ({"A100-80GB": 0.000001}, {"A100-80GB": 0.000001}),
        ({}, {}),
    ],
)
def test_rates_are_read_as_numbers(rates: dict[str, Any], read: dict[str, float]) -> None:
    assert read_rates(rates, NOWHERE) == read


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (-1, "must not be negative"),
        (float("nan"), "not a finite number"),
        (float("inf"), "not a finite number"),
        ("1e400", "not a finite number"),
        (1e-9, "less than a millionth"),
        (1e12, "the highest rate is 1000000"),
        ("2,50", "not a number"),
        (None, "not a number"),
        (True, "not a finite number"),
        ([2.5], "not a number"),
    ],
)
def test_rate_that_no_bill_can_have_is_refused(value: Any, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_rates({"T4-16GB": 1, "A100-80GB": value}, NOWHERE)
    assert why in text_of(refused.value)
    assert "A100-80GB" in text_of(refused.value)


@pytest.mark.parametrize("model", ["A100-80GB", "NVIDIA A100-SXM4-80GB", "Odd Device 7", "Tesla V100-PCIE-16GB"])
def test_rate_of_a_known_model_or_device_is_accepted(model: str) -> None:
    require_known_models({model: 1.0}, CATALOG, {"Odd Device 7"}, NOWHERE)


@pytest.mark.parametrize(
    ("model", "there_are"),
    [
        ("A100", "There are A100-40GB, A100-80GB."),
        ("a100-80gb", "There are A100-80GB."),
        ("A100 80GB", "There are A100-80GB, "),
        ("Odd Device", "There are Odd Device 7."),
        ("xyz", "There are A10-24GB, "),
        ("", "There are A10-24GB, "),
    ],
)
def test_rate_of_an_unknown_model_is_refused_with_similar_ones(model: str, there_are: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        require_known_models({model: 1.0}, CATALOG, {"Odd Device 7"}, NOWHERE)
    assert there_are in text_of(refused.value)


def test_place_of_a_rate_is_the_line_that_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "first.py", tmp_path / "second.py"
    first.write_text('c.Accounting.rates_per_hour = {"T4-16GB": 1}\n')
    second.write_text("c = get_config()\nc.Accounting.rates_per_hour = {\n  'A100-80GB': 1,\n  'L4-24GB': -1,\n}\n")
    source = ConfigSource([str(first), str(second), str(tmp_path / "gone.py")], Config())
    places = {model: source.place_of("Accounting", "rates_per_hour", model) for model in ("T4-16GB", "L4-24GB", "X")}
    assert {model: place.params.get("line") for model, place in places.items()} == {"T4-16GB": 1, "L4-24GB": 4, "X": 2}
    given = ConfigSource([str(second)], Config({"Accounting": {"rates_per_hour": {"X": 1}}}))
    assert given.place_of("Accounting", "rates_per_hour", "X").code == "config.command_line"
    assert NOWHERE.place_of("Accounting", "rates_per_hour", "X").code == "config.setting"


# -- the pool manager -------------------------------------------------------------------------------------------------


def start(folder: Path, config: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a pool manager with a configuration file until it ends, which it does at once."""
    (folder / "config/jupyter_fastgpu_config.py").write_text(config)
    command = [sys.executable, "-m", "fastgpu_jupyter", "pool", "--simulate=1xA100-80GB", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "words", "why"),
    [
        ("c.Accounting.rates_per_hour = {\n 'A100-80GB': -1}\n", (), "jupyter_fastgpu_config.py, line 2: the rate of"),
        ("c.Accounting.rates_per_hour = {'A100': 1}\n", (), "line 1: there is no GPU model A100"),
        ("c.Accounting.rates_per_hour = {'A100-80GB': 2,50}\n", (), "line 1: the configuration cannot be read"),
        ("c = get_config()\nc.Accounting.rates_per_hour = rate\n", (), "line 2: the configuration cannot be read"),
        ("", ("--Accounting.rates_per_hour", "A100-80GB=2,50"), "rates_per_hour on the command line: the rate of A100"),
        ("c.Accounting.currency = ''\n", (), "Accounting.currency is ''"),
        ("c.Accounting.currency = 'US\\tD'\n", (), "1 to 8 letters or a sign"),
        ("c.FastGPUPool.idle_timeout_s = -5\n", (), "should not be less than 0"),
    ],
)
def test_pool_manager_with_a_wrong_price_does_not_start(
    isolated: Path, config: str, words: tuple[str, ...], why: str
) -> None:
    assert why in start(isolated, config, *words).stderr
