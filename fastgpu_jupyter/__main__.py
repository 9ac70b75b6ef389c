"""``python -m fastgpu_jupyter …`` is ``jupyter fastgpu …``: it works where no script is on the path."""

from .cli import main

if __name__ == "__main__":
    main()
