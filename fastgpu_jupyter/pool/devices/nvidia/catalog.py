"""NVIDIA's models of GPUs, with their memory and a list price.

Prices are rounded on-demand prices of large clouds per GPU and hour in US dollars.
"""

from __future__ import annotations

from ....units import GIB
from ..catalog import Catalog, CatalogModel

CATALOG = Catalog(
    {
        "B200-180GB": CatalogModel(180 * GIB, 6_250_000, ("B200",)),
        "H200-141GB": CatalogModel(141 * GIB, 4_500_000, ("H200",)),
        "H100-94GB": CatalogModel(94 * GIB, 3_900_000, ("H100", "NVL")),
        "H100-80GB": CatalogModel(80 * GIB, 3_900_000, ("H100",)),
        "A100-80GB": CatalogModel(80 * GIB, 2_500_000, ("A100", "80GB")),
        "A100-40GB": CatalogModel(40 * GIB, 1_800_000, ("A100",)),
        "L40S-48GB": CatalogModel(48 * GIB, 1_900_000, ("L40S",)),
        "A40-48GB": CatalogModel(48 * GIB, 1_300_000, ("A40",)),
        "A30-24GB": CatalogModel(24 * GIB, 1_000_000, ("A30",)),
        "A10-24GB": CatalogModel(24 * GIB, 1_000_000, ("A10",)),
        "L4-24GB": CatalogModel(24 * GIB, 700_000, ("L4",)),
        "V100-32GB": CatalogModel(32 * GIB, 2_200_000, ("V100", "32GB")),
        "V100-16GB": CatalogModel(16 * GIB, 2_000_000, ("V100",)),
        "T4-16GB": CatalogModel(16 * GIB, 350_000, ("T4",)),
        "RTX4090-24GB": CatalogModel(24 * GIB, 450_000, ("RTX 4090",)),
        "RTX3090-24GB": CatalogModel(24 * GIB, 300_000, ("RTX 3090",)),
    }
)
