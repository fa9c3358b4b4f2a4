"""What the tests of the upstream client share."""

from __future__ import annotations

import asyncio

import pytest

from penstock_edge.upstream import UpstreamClient, UpstreamLimits


@pytest.fixture
async def client():
    made = UpstreamClient(UpstreamLimits(connections=4, waiters=4))
    yield made
    await made.close()
    await asyncio.sleep(0)
