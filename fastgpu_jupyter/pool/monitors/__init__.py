"""The monitors of devices, processes and health, and what they measure."""
