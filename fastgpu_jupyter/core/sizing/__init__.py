"""Sizing: the sizes that a request or a lease can have on the devices there are, and what choosing one does.

    devices ── kinds ──> kinds of device ── steps ──> sizes ── options ──> each with rate, effect and reason
                                                               ▲
                     deciders, scheduler, preemption planner ──┘

Nothing here decides anything: a size has the effect that the decider of the request or of the resize, the scheduler and
the preemption planner give it, which are asked without a change of the state.
"""
