"""Choice of devices for a request: capacity index, placement policy, MIG geometry, mechanisms."""
