"""``python -m fastgpu_jupyter.kernel.probe`` prints a marker if this interpreter can run FastGPU's kernel.

``jupyter fastgpu kernelspec install`` runs it by the command of a kernelspec, with all arguments of the kernel.
"""

import sys

from . import app

#: The same as ``kernelspec.command.MARKER``, which this package cannot import; a test compares the two.
MARKER = "FASTGPU_KERNEL_CAN_RUN"

if __name__ == "__main__" and app.main is not None:
    sys.stdout.write(f"{MARKER}\n")
