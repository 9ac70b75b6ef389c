"""NVIDIA's Multi-Process Service (MPS): leases of one user on one GPU whose processes compute at the same time."""
