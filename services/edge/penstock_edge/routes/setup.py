"""GET /setup.sh: a script that sets up Claude Code and Codex for this gateway, with its address filled in."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

from penstock_edge.errors import ProblemError, invalid
from penstock_edge.routes.route import Answer, Route

if TYPE_CHECKING:
    from penstock_edge.routes.route import Asked

# Nothing of this can end a quoted word of the script. A name or an IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_SCHEMES = {"http", "https"}
_PLACE = "@GATEWAY@"
_HEADERS = (
    # A cache that looked at the path alone would send one host's clients to another.
    (b"cache-control", b"no-store"),
    (b"vary", b"host, x-forwarded-proto"),
    (b"x-content-type-options", b"nosniff"),
    (b"content-type", b"text/plain; charset=utf-8"),
)
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


async def _give(asked: Asked) -> Answer:
    hosts = asked.header(b"host")
    forwarded = asked.header(b"x-forwarded-proto") or [""]
    base_url = address(hosts[0] if len(hosts) == 1 else "", asked.scheme, forwarded[0])
    return Answer(200, script(base_url).encode(), list(_HEADERS))


def routes() -> list[Route]:
    """Return the endpoint; it needs no key."""
    return [
        Route(
            path="/setup.sh",
            give=_give,
            summary="A script that sets up Claude Code and Codex",
            description="Give the script: `curl -fsS .../setup.sh | sh`; "
            "with `sh -s -- --undo` it takes everything back.",
            tag="clients",
            operation_id="setup_setup_sh_get",
            open_to_all=True,
            answers={
                "200": {"description": "A script for sh", "content": {"text/plain": {"schema": {"type": "string"}}}},
                "400": {"description": "The Host header is no name or address", "content": {"application/json": {}}},
            },
        )
    ]
