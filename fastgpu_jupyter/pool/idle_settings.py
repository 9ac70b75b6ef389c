"""The settings of the idle policy, a section of :mod:`.settings`."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Float, Integer, TraitError, validate
from traitlets.config import Configurable

from ..core.model.entities import IdlePolicy, IdleStep, IdleTimes
from ..core.model.size import parse_size
from ..errors import InvalidRequest
from ..messages import say

_IDLE_STEPS = tuple(f"{step.value}_s" for step in IdleStep)


class Idle(Configurable):
    """What happens to leases that nothing uses, whether requests wait or not.

    A lease is idle while no cell runs and each reading of its GPU in the last window_s seconds is below
    utilization_percent. The time counts from then on. 0 never takes a step; pinned leases are notified only.
    """

    notify_s = Float(1800.0, min=0, help="Notify the user of a lease that is idle for so many seconds.").tag(
        config=True
    )
    park_s = Float(0.0, min=0, help="Park a lease that is idle for so many seconds.").tag(config=True)
    release_s = Float(
        0.0, min=0, help="Release a lease that is idle for so many seconds; its kernel goes on without a GPU."
    ).tag(config=True)
    shut_down_s = Float(
        0.0,
        min=0,
        help="Let the Jupyter server shut down the kernel of a lease that is idle for so many seconds. Kernels of "
        "servers without the extension go on.",
    ).tag(config=True)
    by_size = Dict(
        help="Other times for leases of some sizes, like {'full': {'park_s': 900, 'release_s': 7200}}; steps that are "
        "not named are as above.",
    ).tag(config=True)
    utilization_percent = Integer(
        5, min=1, max=100, help="A reading below so many percent of utilization shows no use of the GPU."
    ).tag(config=True)
    window_s = Float(60.0, min=2, help="For how many seconds all readings must show no use.").tag(config=True)
    warning_s = Float(
        300.0, min=0, help="How many seconds before a step its user is warned; at most half of the time of the step."
    ).tag(config=True)
    snooze_max_s = Float(
        8 * 3600.0, min=0, help="For how many seconds a user may put steps off in all, while a lease stays idle."
    ).tag(config=True)

    @validate("by_size")
    def _require_times(self, proposal: Any) -> dict[str, dict[str, float]]:
        found = dict(proposal["value"])
        for size, times in found.items():
            try:
                parse_size(size)
            except InvalidRequest as error:
                raise TraitError(say("config.of_setting", setting="Idle.by_size", reason=error.message)) from None
            unknown = set(times) - set(_IDLE_STEPS) if isinstance(times, dict) else {repr(times)[:40]}
            if unknown:
                given, steps = ", ".join(unknown), ", ".join(_IDLE_STEPS)
                raise TraitError(say("config.idle_steps", size=repr(size), given=given, steps=steps))
            if not all(isinstance(time, int | float) and time >= 0 for time in times.values()):
                raise TraitError(say("config.idle_times", size=repr(size)))
        return found

    def policy(self) -> IdlePolicy:
        """Return the settings as the core uses them."""
        common = {name: float(getattr(self, name)) for name in _IDLE_STEPS}
        by_size = {str(parse_size(size)): _idle_times({**common, **times}) for size, times in self.by_size.items()}
        return IdlePolicy(
            times=_idle_times(common),
            by_size=by_size or None,
            window_ms=round(1000 * self.window_s),
            utilization_percent=self.utilization_percent,
            warning_ms=round(1000 * self.warning_s),
            snooze_ms_max=round(1000 * self.snooze_max_s),
        )


def _idle_times(seconds: dict[str, float]) -> IdleTimes:
    return IdleTimes(**{f"{step.value}_ms": round(1000 * seconds[f"{step.value}_s"]) or None for step in IdleStep})
