"""``python -m fastgpu_jupyter.kernel -f {connection_file}``: what the FastGPU kernelspec runs."""

import gc
import signal

# Restart and shutdown begin with an interrupt. One that arrives before ipykernel ignores it, during the imports below,
# would end the process, and with it the lease and the place in the queue.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# The imports make many objects and hardly any garbage: looking for it costs more of a start than FastGPU does.
# FastGPUKernel.start() turns the collector on again.
gc.disable()

from .app import main  # noqa: E402

if __name__ == "__main__":
    main()
