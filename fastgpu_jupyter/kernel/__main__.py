"""``python -m fastgpu_jupyter.kernel -f {connection_file}``: what the FastGPU kernelspec runs."""

import os
import sys

# Python puts the current folder, which is the notebook's, in front of sys.path. A queue.py or signal.py there must not
# replace the standard library's in the imports below. IPython adds the folder again, behind the standard library.
# (os and sys are loaded already: this finds no file.)
if not sys.path[0] or sys.path[0] == os.getcwd():  # noqa: PTH109 (pathlib would be searched for in that folder)
    del sys.path[0]

import gc
import signal

# Restart and shutdown begin with an interrupt. If it arrives during the imports below, before ipykernel ignores it,
# it would end the process, and with it the lease or the position in the queue.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# The imports create many objects and hardly any garbage: collecting it would cost more time than FastGPU itself.
# FastGPUKernel.start() enables the collector again.
gc.disable()

if __name__ == "__main__":
    if "FASTGPU_STANDBY" in os.environ:
        from . import standby

        standby.wait()
    from .app import main

    main()
