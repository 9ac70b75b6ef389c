"""Private parts of other libraries that have no public equivalent, one module per library.

Each module names what it uses, why there is no public way, and what the caller gets where a version of the library
lacks it. ``tests/compat`` has a test for each; ``make test-versions`` runs those tests on the oldest and the newest
versions that the project allows. Nothing here imports another package of the project.
"""
