"""GET /setup.sh: a script that sets up Claude Code and Codex for this gateway, with its address filled in."""

from __future__ import annotations

import re
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from penstock_edge import request_id
from penstock_edge.errors import ProblemError, invalid

# Nothing of this can end a quoted word of the script. A name or an IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SCHEMES = {"http", "https"}
_PLACE = "@GATEWAY@"
_SCRIPT = files("penstock_edge.routes").joinpath("setup.sh").read_text(encoding="utf-8")


def address(host: str, scheme: str, forwarded_proto: str) -> str:
    """Return the gateway's base URL as the client sees it. Raises ProblemError (400) for a host that cannot be one."""
    if not _HOST.fullmatch(host):
        raise ProblemError(invalid("Host: a name or an address, with or without a port, is needed here"))
    first = forwarded_proto.partition(",")[0].strip().lower()
    return f"{first if first in _SCHEMES else scheme}://{host}"


def script(base_url: str) -> str:
    """Return the script for one gateway."""
    return _SCRIPT.replace(_PLACE, base_url)


def router() -> APIRouter:
    """Return the endpoint; it needs no key."""
    routes = APIRouter(tags=["clients"])

    @routes.get(
        "/setup.sh",
        summary="A script that sets up Claude Code and Codex",
        response_class=PlainTextResponse,
        responses={
            200: {"description": "A script for sh"},
            400: {"description": "The Host header is no name or address", "content": {"application/json": {}}},
        },
        openapi_extra={"security": []},
    )
    async def setup(request: Request) -> Response:
        """Give the script: `curl -fsS .../setup.sh | sh`; with `sh -s -- --undo` it takes everything back."""
        hosts = request.headers.getlist("host")
        scheme = request.scope["scheme"]
        base_url = address(hosts[0] if len(hosts) == 1 else "", scheme, request.headers.get("x-forwarded-proto", ""))
        return PlainTextResponse(
            script(base_url),
            headers={
                # A cache that looked at the path alone would send one host's clients to another.
                "cache-control": "no-store",
                "vary": "host, x-forwarded-proto",
                "x-content-type-options": "nosniff",
                "request-id": request_id.new(),
            },
        )

    return routes
