"""The handlers of the operations, by subject.

A handler takes a :class:`~..call.HttpCall` and returns the answer. The permission that the operation needs has been
checked before, except that of the tenant, which is checked with the state in which the command is decided.
"""
