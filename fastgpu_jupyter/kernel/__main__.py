"""``python -m fastgpu_jupyter.kernel -f {connection_file}``: what the FastGPU kernelspec runs."""

from .app import main

if __name__ == "__main__":
    main()
