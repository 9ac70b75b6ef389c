"""The rates that an administrator sets: checked before the pool manager serves, because bills follow from them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from ..errors import InvalidRequest, Message
from ..units import MICRO
from .config_source import ConfigSource
from .devices.catalog import Catalog, similar_names

#: The highest price of one GPU for an hour, in units of the currency; more does not fit the wire's integers for long.
RATE_MAX = 1_000_000
_SECTION, _SETTING = "Accounting", "rates_per_hour"


def read_rates(given: Mapping[Any, Any], source: ConfigSource) -> dict[str, float]:
    """Return the rates by model as numbers. Raises :class:`InvalidRequest` with the place of the first wrong one."""
    rates = {}
    for model, value in given.items():
        rate, problem = _read(value)
        if problem is not None:
            raise InvalidRequest(
                Message.of(
                    "rates.wrong",
                    place=source.place_of(_SECTION, _SETTING, str(model)),
                    model=str(model)[:60],
                    value=repr(value)[:40],
                    reason=problem,
                )
            )
        rates[str(model)] = rate
    return rates


def require_known_models(
    rates: Mapping[str, float], catalog: Catalog, device_names: Collection[str], source: ConfigSource
) -> None:
    """Raise :class:`InvalidRequest` for a rate of a model that the catalog does not have, unless a device is named so.

    Such a rate would never be used, and its device would be billed at its list price.
    """
    for model in rates:
        if model in device_names or catalog.names_model_or_device(model):
            continue
        models = ", ".join(similar_names(model, sorted({*catalog.models, *device_names})))
        place = source.place_of(_SECTION, _SETTING, model)
        raise InvalidRequest(Message.of("rates.unknown_model", place=place, model=model[:60], models=models))


def _read(value: Any) -> tuple[float, Message | None]:
    try:
        rate = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return 0.0, Message.of("rates.no_number")
    if not math.isfinite(rate):
        return 0.0, Message.of("rates.not_finite")
    if rate < 0:
        return 0.0, Message.of("rates.negative")
    if 0 < rate < 1 / MICRO:
        return 0.0, Message.of("rates.too_small")
    if rate > RATE_MAX:
        return 0.0, Message.of("rates.too_large", most=RATE_MAX)
    return rate, None
