"""Tasks of the pool manager that watch devices, processes and health."""
