"""The status process as a whole, in this process and on a real port."""

from __future__ import annotations

import socket

import httpx
import pytest

from penstock_chassis.http import AddressTakenError
from penstock_status import main
from penstock_status.settings import StatusSettings
from tests.unit.status.fakes import TOKEN, FakeAdmin, FakeRouter, serving


@pytest.fixture
def settings(tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return StatusSettings(
        port=port,
        auth_address=f"unix:{tmp_path}/auth.sock",
        router_address=f"unix:{tmp_path}/router.sock",
        admin_token_file=token,
    )


async def test_it_serves_on_its_port_until_it_drains(tmp_path, settings):
    service = main.StatusService(settings)
    assert service.ready() == (False, "not listening yet")
    async with serving(tmp_path, FakeAdmin(), FakeRouter()), httpx.AsyncClient(trust_env=False) as client:
        await service.start()
        assert service.ready() == (True, "")
        base = f"http://127.0.0.1:{settings.port}"
        assert (await client.get(f"{base}/readyz")).status_code == 200
        listed = await client.get(f"{base}/admin/v1/plans", headers={"authorization": f"Bearer {TOKEN}"})
        assert listed.json()[0]["name"] == "team"
        await service.drain(1.0)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base}/readyz", trust_env=False)


async def test_a_drain_before_the_start_is_nothing(settings):
    await main.StatusService(settings).drain(0.1)


async def test_a_taken_port_is_told(settings):
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.port))
        other.listen()
        service = main.StatusService(settings)
        with pytest.raises(AddressTakenError, match=str(settings.port)):
            await service.start()
        await service.drain(0.1)


def test_the_environment_gives_the_settings(monkeypatch, settings):
    monkeypatch.setenv("PENSTOCK_STATUS_AUTH_ADDRESS", "unix:/run/auth.sock")
    monkeypatch.setenv("PENSTOCK_STATUS_ROUTER_ADDRESS", "unix:/run/router.sock")
    monkeypatch.setenv("PENSTOCK_STATUS_ADMIN_TOKEN_FILE", str(settings.admin_token_file))
    seen = []
    monkeypatch.setattr(main.process, "run", lambda build, given: seen.append(given) or 7)
    assert main.main() == 7
    assert seen[0].auth_address == "unix:/run/auth.sock"
    assert seen[0].name == "status-0"
