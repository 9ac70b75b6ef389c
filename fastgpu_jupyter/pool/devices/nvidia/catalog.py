"""NVIDIA's models of GPUs, with their memory and a list price.

Prices are rounded on-demand prices per GPU and hour in US dollars, as published in 2026-05: of large clouds (A100 80 GB
1.50 to 3.00, H100 3.50 to 5.00, H200 4.50 to 7.00), and of rental markets for models that they do not have. They are a
start for ``Accounting.rates_per_hour``. A device whose memory is the host's (GB10) has the price of the whole machine.
"""

from __future__ import annotations

from ....units import GIB
from ..catalog import Catalog, CatalogModel

CATALOG = Catalog(
    {
        "GB300-288GB": CatalogModel(268 * GIB, 8_500_000, ("GB300",)),
        "B300-288GB": CatalogModel(268 * GIB, 7_500_000, ("B300",)),
        "GB200-186GB": CatalogModel(186 * GIB, 7_000_000, ("GB200",)),
        "B200-180GB": CatalogModel(180 * GIB, 6_250_000, ("B200",)),
        "GH200-144GB": CatalogModel(144 * GIB, 3_900_000, ("GH200", "144G")),
        "GH200-96GB": CatalogModel(96 * GIB, 3_000_000, ("GH200",)),
        "H200-141GB": CatalogModel(141 * GIB, 4_500_000, ("H200",)),
        "H100-94GB": CatalogModel(94 * GIB, 3_900_000, ("H100", "NVL")),
        "H100-80GB": CatalogModel(80 * GIB, 3_900_000, ("H100",)),
        "H20-96GB": CatalogModel(96 * GIB, 2_000_000, ("H20",)),
        "A100-80GB": CatalogModel(80 * GIB, 2_500_000, ("A100", "80GB")),
        "A100-40GB": CatalogModel(40 * GIB, 1_800_000, ("A100",)),
        "RTXPRO6000-96GB": CatalogModel(96 * GIB, 1_900_000, ("RTX PRO 6000",)),
        "RTXPRO5000-48GB": CatalogModel(48 * GIB, 1_000_000, ("RTX PRO 5000",)),
        "RTXPRO4500-32GB": CatalogModel(32 * GIB, 700_000, ("RTX PRO 4500",)),
        "RTX6000Ada-48GB": CatalogModel(48 * GIB, 900_000, ("RTX 6000 Ada",)),
        "L40S-48GB": CatalogModel(48 * GIB, 1_900_000, ("L40S",)),
        "L40-48GB": CatalogModel(48 * GIB, 1_200_000, ("L40",)),
        "A40-48GB": CatalogModel(48 * GIB, 1_300_000, ("A40",)),
        "RTXA6000-48GB": CatalogModel(48 * GIB, 700_000, ("RTX A6000",)),
        "A30-24GB": CatalogModel(24 * GIB, 1_000_000, ("A30",)),
        "A10G-24GB": CatalogModel(24 * GIB, 1_000_000, ("A10G",)),
        "A10-24GB": CatalogModel(24 * GIB, 1_000_000, ("A10",)),
        "A16-16GB": CatalogModel(16 * GIB, 500_000, ("A16",)),
        "L4-24GB": CatalogModel(24 * GIB, 700_000, ("L4",)),
        "GB10-128GB": CatalogModel(128 * GIB, 700_000, ("GB10",)),
        "V100-32GB": CatalogModel(32 * GIB, 2_200_000, ("V100", "32GB")),
        "V100-16GB": CatalogModel(16 * GIB, 2_000_000, ("V100",)),
        "P100-16GB": CatalogModel(16 * GIB, 700_000, ("P100",)),
        "T4-16GB": CatalogModel(16 * GIB, 350_000, ("T4",)),
        "RTX5090-32GB": CatalogModel(32 * GIB, 700_000, ("RTX 5090",)),
        "RTX4090-24GB": CatalogModel(24 * GIB, 450_000, ("RTX 4090",)),
        "RTX3090-24GB": CatalogModel(24 * GIB, 300_000, ("RTX 3090",)),
    }
)
