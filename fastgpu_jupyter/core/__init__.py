"""The rules of the pool, pure: no clock, no input or output, no randomness.

``pool.execute(state, command, at)`` is the whole story: a command is decided against the state, which gives events or
a refusal; events are applied to the state; effects say what the shell must then do. Recovery is the same ``apply``.
"""
