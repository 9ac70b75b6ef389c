"""The models of GPU of which simulated machines consist, and how MIG divides them.

Placements and the multiprocessors marked *real* were read on real devices; the others are only plausible. So a test may
rely on what the stub answers, and never on a number of this table: code has to query the driver.
"""

from __future__ import annotations

from typing import NamedTuple

MIB = 1024 * 1024


class Profile(NamedTuple):
    """A way to divide a GPU. ``enumerated`` and ``id`` are the two numbers that NVML has for it."""

    name: str
    enumerated: int
    id: int
    slices: int
    starts: tuple[int, ...]
    size: int
    most: int
    multiprocessors: int
    memory_mib: int
    media_engines: int = 0


class Model(NamedTuple):
    """A model of GPU."""

    name: str
    memory_bytes: int
    reserved_bytes: int
    architecture: int
    capability: tuple[int, int]
    multiprocessors: int
    idle_w: float
    profiles: tuple[Profile, ...] = ()


def _eighths(gb: tuple[int, ...], mib: tuple[int, ...], multiprocessors: tuple[int, ...]) -> tuple[Profile, ...]:
    """A device of seven compute and eight memory slices. Placements and numbers are real (A100, H100).

    ``gb``, ``mib``: of 1g, the double 1g, 3g and 7g; ``multiprocessors``: of 1g, 2g, 3g, 4g and 7g.
    """
    one, two, three, four, seven = multiprocessors
    sevenths = tuple(range(7))
    return (
        Profile(f"1g.{gb[0]}gb", 0, 19, 1, sevenths, 1, 7, one, mib[0]),
        Profile(f"1g.{gb[0]}gb+me", 7, 20, 1, sevenths, 1, 1, one, mib[0], media_engines=1),
        Profile(f"1g.{gb[1]}gb", 9, 15, 1, (0, 2, 4, 6), 2, 4, one, mib[1]),
        Profile(f"2g.{gb[1]}gb", 1, 14, 2, (0, 2, 4), 2, 3, two, mib[1]),
        Profile(f"3g.{gb[2]}gb", 2, 9, 3, (0, 4), 4, 2, three, mib[2], media_engines=0),
        Profile(f"4g.{gb[2]}gb", 3, 5, 4, (0,), 4, 1, four, mib[2], media_engines=0),
        Profile(f"7g.{gb[3]}gb", 4, 0, 7, (0,), 8, 1, seven, mib[3], media_engines=1),
    )


# Multiprocessors of the A100 are real; of the H100 those of 3g.
_A100 = (14, 28, 42, 56, 98)
_HOPPER = (16, 32, 60, 64, 132)

MODELS = {
    "A100-SXM4-40GB": Model(
        "NVIDIA A100-SXM4-40GB", 40960 * MIB, 500 * MIB, 7, (8, 0), 108, 52,
        _eighths((5, 10, 20, 40), (4864, 9856, 19968, 40192), _A100),
    ),
    "A100-SXM4-80GB": Model(
        "NVIDIA A100-SXM4-80GB", 81920 * MIB, 600 * MIB, 7, (8, 0), 108, 60,
        _eighths((10, 20, 40, 80), (9728, 19968, 40192, 80640), _A100),
    ),
    "A30": Model(
        "NVIDIA A30", 24576 * MIB, 450 * MIB, 7, (8, 0), 56, 30,
        (
            Profile("1g.6gb", 0, 14, 1, (0, 1, 2, 3), 1, 4, 14, 5952),
            Profile("1g.6gb+me", 7, 21, 1, (0, 1, 2, 3), 1, 1, 14, 5952, media_engines=1),
            Profile("2g.12gb", 1, 5, 2, (0, 2), 2, 2, 28, 11968),
            Profile("4g.24gb", 3, 0, 4, (0,), 4, 1, 56, 24064, media_engines=1),
        ),
    ),
    "H100-80GB": Model(
        "NVIDIA H100 80GB HBM3", 81559 * MIB, 550 * MIB, 9, (9, 0), 132, 70,
        _eighths((10, 20, 40, 80), (9984, 20096, 40448, 81152), _HOPPER),
    ),
    "H200-141GB": Model(
        "NVIDIA H200", 143771 * MIB, 600 * MIB, 9, (9, 0), 132, 75,
        _eighths((18, 35, 71, 141), (16384, 33280, 70912, 143360), _HOPPER),
    ),
    "L4": Model("NVIDIA L4", 23034 * MIB, 400 * MIB, 8, (8, 9), 58, 12),
    "T4": Model("Tesla T4", 15360 * MIB, 300 * MIB, 5, (7, 5), 40, 9),
}  # fmt: skip
