"""Run the dispatcher: ``python -P -m fastgpu_jupyter.jobs.dispatcher``; it detaches once it serves."""

from __future__ import annotations

from .app import main

if __name__ == "__main__":
    main()
