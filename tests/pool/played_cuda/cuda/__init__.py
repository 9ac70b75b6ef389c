"""Stands in for NVIDIA's package where a pool manager of a test is to park; see :mod:`tests.pool.test_over_limit`."""
