"""What the tests of the upstream client share."""

from __future__ import annotations

import asyncio

import pytest
import trustme

from penstock_edge.upstream import UpstreamClient, UpstreamLimits


@pytest.fixture
async def client():
    made = UpstreamClient(UpstreamLimits(connections=4, waiters=4))
    yield made
    await made.close()
    await asyncio.sleep(0)


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
async def trusting(ca_file):
    made = UpstreamClient(ca_file=ca_file)
    yield made
    await made.close()
    await asyncio.sleep(0)
