"""The pool manager, with the device files of its GPUs in the folder FASTGPU_TEST_DEV in place of ``/dev``.

With FASTGPU_TEST_NO_BPF it is on a machine that cannot close files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastgpu_jupyter.core.model.entities import LogicalGPU
from fastgpu_jupyter.pool.app import main
from fastgpu_jupyter.pool.devices.nvidia.driver import NvidiaDriver
from fastgpu_jupyter.pool.host import device_filter

_device_nodes = NvidiaDriver.device_nodes


def elsewhere(driver: NvidiaDriver, logical_gpu: LogicalGPU) -> Sequence[str]:
    """What the driver says, in that folder."""
    return [path.replace("/dev", os.environ["FASTGPU_TEST_DEV"], 1) for path in _device_nodes(driver, logical_gpu)]


if __name__ == "__main__":
    NvidiaDriver.device_nodes = elsewhere  # type: ignore[method-assign,assignment]  # the first argument has a name
    if "FASTGPU_TEST_NO_BPF" in os.environ:
        device_filter._BPF.clear()
    main()
