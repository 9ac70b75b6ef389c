"""``python -m fastgpu_jupyter.kernel -f {connection_file}``: what the FastGPU kernelspec runs."""

import signal

# Restart and shutdown begin with an interrupt. One that arrives before ipykernel ignores it, during the imports below,
# would end the process, and with it the lease and the place in the queue.
signal.signal(signal.SIGINT, signal.SIG_IGN)

from .app import main  # noqa: E402

if __name__ == "__main__":
    main()
