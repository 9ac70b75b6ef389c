"""What the registry of device drivers has of NVIDIA's."""

from __future__ import annotations

from ..registration import DriverRegistration
from .catalog import CATALOG
from .device_files import NvidiaDeviceFiles
from .doctor import NvidiaDoctor
from .driver import NvidiaDriver
from .env import HIDDEN_ENV
from .visibility import RESTRICTING_VARIABLES

NVIDIA = DriverRegistration(
    name="nvidia",
    create=NvidiaDriver,
    hidden_env=HIDDEN_ENV,
    programs=(
        *("nvidia-persistenced", "nvidia-fabricmanager", "nv-fabricmanager", "nvidia-powerd", "nvidia-imex"),
        *("nv-hostengine", "dcgmi", "dcgm-exporter", "nvidia-smi", "nvidia-settings"),
        *("nvidia-cuda-mps-control", "nvidia-cuda-mps-server"),
    ),
    restricting_variables=RESTRICTING_VARIABLES,
    device_files=NvidiaDeviceFiles(),
    catalog=CATALOG,
    doctor=NvidiaDoctor(),
)
