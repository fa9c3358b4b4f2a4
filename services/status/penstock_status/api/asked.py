"""What callers ask with: a name that means nothing here is refused, for it may be a slip for one that limits."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute  # noqa: TC002 -- beside what FastAPI reads at runtime
from pydantic import BaseModel, ConfigDict


class Asked(BaseModel):
    """A body; of a field that is unknown, a key without its limit could come, or a list of everybody's rows."""

    model_config = ConfigDict(extra="forbid")


async def only_known_parameters(request: Request) -> None:
    """Let only a query pass whose parameters the route has. Raises RequestValidationError."""
    route: APIRoute = request.scope["route"]
    unknown = request.query_params.keys() - {field.alias for field in route.dependant.query_params}
    if unknown:
        raise RequestValidationError(
            [{"loc": ("query", name), "msg": "there is no such parameter"} for name in sorted(unknown)]
        )
