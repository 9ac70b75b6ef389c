"""Everything that is specific to NVIDIA devices: NVML, CUDA, MIG and MPS."""
