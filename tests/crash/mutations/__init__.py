"""Mutations: builds that are broken on purpose, each with the failure that must reveal it.

A test that cannot fail proves nothing. Each mutation breaks one guarantee by an edit of one or two functions
(:mod:`.edits`) and names the test and the failure, or the invariant of the simulator, that must reveal it
(:mod:`.model`). A run whose test fails for another reason does not count, and neither does one with a programming
error such as a TypeError. ``python -m tests.crash.mutations [NAME ...]`` runs them (:mod:`.runner`).
"""
