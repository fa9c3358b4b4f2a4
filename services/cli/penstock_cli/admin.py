"""The admin API as commands call it; its answers as plain JSON values, its problems as errors with exit codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from penstock_cli.connection import same_machine
from penstock_cli.errors import CommandError, NotFoundError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from penstock_cli.connection import Connection

Document = dict[str, Any]
"""One JSON object of the admin API."""

TIMEOUT_SECONDS = 15.0
PAGE_ROWS = 5000
_UNREACHABLE = {401, 403, 502, 503, 504}


class Admin:
    """One connection to the admin API; a context manager."""

    def __init__(self, connection: Connection) -> None:
        self._server = connection.server
        if not self._server.lower().startswith(("http://", "https://")):
            raise UnreachableError(f"{self._server} is not an http or https URL")
        local = same_machine(self._server)
        try:
            self._client = httpx.Client(
                base_url=f"{self._server}/admin/v1/",
                headers={"authorization": f"Bearer {connection.token}"},
                timeout=TIMEOUT_SECONDS,
                # A proxy from the environment cannot reach this machine's loopback.
                trust_env=not local,
            )
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            # Not only the address: also a proxy of the environment that cannot be used.
            raise UnreachableError(f"{self._server} cannot be reached so: {error}") from error

    def __enter__(self) -> Self:
        """Use the connection."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self._client.close()

    def get(self, path: str, **params: object) -> Any:
        """Return the JSON answer of a GET; parameters that are None are left out. Raises CommandError."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self._answer("GET", path, params=given)

    def post(self, path: str, **fields: object) -> Any:
        """Return the JSON answer of a POST; fields that are None are left out. Raises CommandError."""
        return self._answer("POST", path, json={name: value for name, value in fields.items() if value is not None})

    def usage(self, limit: int | None, **params: object) -> Iterator[Document]:
        """Give usage rows page by page, at most `limit` of them. Raises CommandError."""
        token: str | None = None
        left = limit
        while left is None or left > 0:
            size = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            page = self.get("usage", limit=size, page_token=token, **params)
            yield from page["rows"]
            token = page["next_page_token"]
            if token is None or not page["rows"]:
                return
            left = None if left is None else left - len(page["rows"])

    def _answer(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except (httpx.RequestError, httpx.InvalidURL, UnicodeError) as error:
            raise UnreachableError(
                f"{self._server} does not answer ({_words(error)}); is the gateway running?"
            ) from error
        if response.is_success:
            return _json(response, self._server)
        raise _error(response, self._server)


def segment(text: str, *beside: str) -> str:
    """Return a name as one segment of a path. Raises NotFoundError for what would lead to another path.

    `beside` are the paths that stand beside names.
    """
    if text in {"", ".", "..", *beside} or "/" in text:
        raise NotFoundError(f"{text!r} is nobody's name or id; check the spelling")
    return quote(text, safe="")


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def _json(response: httpx.Response, server: str) -> Any:
    try:
        return response.json()
    except ValueError as error:
        raise UnreachableError(f"{server} does not speak the admin API; check the address") from error


def _error(response: httpx.Response, server: str) -> CommandError:
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict) or "detail" not in document:
        return UnreachableError(f"{server} answered {response.status_code}, not as the admin API does")
    said = [str(document["detail"]), *(f"{item['field']}: {item['reason']}" for item in document.get("errors", []))]
    message = "; ".join(said)
    if document.get("action"):
        message += f"\n{document['action']}"
    if response.status_code in _UNREACHABLE:
        return UnreachableError(message)
    return NotFoundError(message) if response.status_code == 404 else CommandError(message)
