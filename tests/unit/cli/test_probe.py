import httpx
import pytest

from penstock_cli.local.probe import Health, readyz


@pytest.mark.parametrize(
    ("answer", "health"),
    [
        (httpx.Response(200), Health(ready=True)),
        (httpx.Response(503, json={"reason": "no snapshot"}), Health(ready=False, reason="no snapshot")),
        (httpx.Response(503, text="<html>"), Health(ready=False, reason="answers 503")),
        (httpx.Response(404, json=[]), Health(ready=False, reason="answers 404")),
        (httpx.ConnectError("refused"), Health(ready=False, reason="does not answer yet")),
    ],
)
async def test_health(answer, health):
    def handler(request):
        assert request.url.path == "/readyz"
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        assert await readyz(client, "http://x") == health
