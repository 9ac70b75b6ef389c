"""NVIDIA GPUs: everything that is specific to NVML, CUDA, MIG and MPS."""
