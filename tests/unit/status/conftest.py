"""A client of the admin API, on top of fakes."""

from __future__ import annotations

import httpx
import pytest

from tests.unit.status.fakes import TOKEN, FakeAdmin, FakeRouter, serving


@pytest.fixture
def admin():
    return FakeAdmin()


@pytest.fixture
def router():
    return FakeRouter()


@pytest.fixture
async def client(tmp_path, admin, router):
    async with (
        serving(tmp_path, admin, router, deadline=1.0, probe=0.5) as (app, servers),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://admin",
            headers={"authorization": f"Bearer {TOKEN}"},
        ) as client,
    ):
        client.servers = servers
        client.app = app
        yield client
