"""Stands in for NVIDIA's package where a pool manager of a test is to park; see ``test_over_limit.py``."""
