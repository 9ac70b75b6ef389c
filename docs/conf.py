"""Configuration of the documentation: ``make docs`` builds it with Sphinx and MyST, warnings are errors."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from fastgpu_jupyter import __version__  # noqa: E402

project = "FastGPU for Jupyter"
author = "FastGPU for Jupyter contributors"
copyright = author  # noqa: A001 (Sphinx names it so)
version = release = __version__
language = "en"

extensions = ["myst_parser", "reference_pages"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["build"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = project
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_show_sourcelink = False
