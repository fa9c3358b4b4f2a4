"""How a route reaches what `create_app` was given."""

from typing import Annotated, cast

from fastapi import Depends, Request

from penstock_status.peers import Peers

ACTOR = "admin-token"
"""Who is written into the audit: all holders of the one token are the same actor."""


def _peers(request: Request) -> Peers:
    return cast("Peers", request.app.state.peers)


PeersDep = Annotated[Peers, Depends(_peers)]
