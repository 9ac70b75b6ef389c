"""Shadow prices are what the cutting-stock problem says, whatever the history."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings

from fastgpu_jupyter.core.placement.cutting_stock import BINS
from fastgpu_jupyter.core.placement.demand import Demand
from fastgpu_jupyter.core.placement.shadow_prices import DEVICE_VALUE, estimate_shadow_prices
from tests.core.placement.demands import HISTORIES, History


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(history=HISTORIES)
def test_shadow_prices_of_any_history_are_ordered_and_do_not_depend_on_its_order(history: History) -> None:
    prices = estimate_shadow_prices(history, 1000)
    assert prices.packing_value[0] == 0 <= prices.packing_value[1]
    assert prices.packing_value[BINS] == pytest.approx(DEVICE_VALUE, abs=2)
    assert all(a <= b for a, b in pairwise(prices.packing_value))
    assert len(prices.cpu_cost) == len(prices.cpu_relief) == len(prices.cpu_thresholds) + 1
    assert list(prices.cpu_cost) == sorted(prices.cpu_cost, reverse=True)
    assert (prices.cpu_cost[-1], prices.cpu_relief[-1]) == (0, 0)
    assert estimate_shadow_prices(dict(reversed(list(history.items()))), 1000) == prices


def test_packing_value_of_a_size_is_the_part_of_a_device_that_it_uses_up() -> None:
    history = {Demand(units=810): 10, Demand(units=650): 5, Demand(units=320): 9, Demand(units=470): 8, Demand(): 30}
    prices = estimate_shadow_prices(history, 1000)
    values = {
        n: Fraction(prices.packing_value[n], DEVICE_VALUE).limit_denominator(60) for n in (190, 320, 470, 650, 810)
    }
    assert values == {190: 0, 320: Fraction(1, 3), 470: Fraction(1, 2), 650: Fraction(2, 3), 810: 1}
