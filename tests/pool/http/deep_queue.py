"""A pool with many waiting requests, of the calling user and of others."""

from __future__ import annotations

import asyncio
import os

from fastgpu_jupyter.core.model import commands as c
from fastgpu_jupyter.core.model.entities import LeaseRequest
from fastgpu_jupyter.pool.host.process import holder_of
from fastgpu_jupyter.pool.http.limits import ServiceLimits
from fastgpu_jupyter.pool.identity import key_of_uid
from tests.pool.served import ServedPool

SIZES = ("full", "half", "quarter", "eighth", "24GiB")
#: One request in this number is that of the calling user; the others have as many tenants besides.
TENANTS = 20
NO_LIMITS = ServiceLimits(
    waiting_max_per_tenant=10_000, leases_max_per_tenant=10_000, requests_per_s_per_tenant=1e6
)._asdict()


def fill_queue(pool: ServedPool, count: int) -> None:
    """Let ``count`` requests of this process wait for the devices of a pool, which all are held already."""
    holder = holder_of(os.getpid(), pool.service.facts.boot_id)

    async def fill() -> None:
        for first in range(0, count, 200):
            await asyncio.gather(*(submit(number) for number in range(first, min(first + 200, count))))

    async def submit(number: int) -> None:
        tenant = key_of_uid(os.getuid() + number % TENANTS)
        request = LeaseRequest(SIZES[number % len(SIZES)], None, None, f"{number}.ipynb")
        command = c.RequestLease(f"filler-{number}", tenant, request, holder, "0" * 64)
        await pool.services.commands.submit(command)

    pool.run(fill())
