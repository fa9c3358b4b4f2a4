"""/simulator: rules, records and accounts, for tests and game days. Not part of any wire format."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from penstock_simulator.delivery import chunk, head
from penstock_simulator.faults import RuleSpec

if TYPE_CHECKING:
    from penstock_simulator.accounts import Accounts
    from penstock_simulator.connection import Exchange, Request
    from penstock_simulator.faults import FaultBook
    from penstock_simulator.records import Record, Records

PREFIX = "/simulator"
# Records are written out in portions, so that a long list does not hold up the streams being served.
_PORTION = 500


class Control:
    """Answers the requests under /simulator."""

    def __init__(self, accounts: Accounts, faults: FaultBook, records: Records) -> None:
        self._accounts = accounts
        self._faults = faults
        self._records = records

    async def serve(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        parts = request.path.removeprefix(PREFIX).strip("/").split("/", 1)
        topic, name = parts[0], parts[1] if len(parts) > 1 else None
        if topic == "records" and request.method == "GET":
            await self._send_records(exchange)
            return
        status, document = self._answer(request, topic, name)
        body = msgspec.json.encode(document)
        length = ("content-length", str(len(body)))
        await exchange.send(head(status, [("content-type", "application/json"), length]) + body)

    def _answer(self, request: Request, topic: str, name: str | None) -> tuple[int, Any]:
        match request.method, topic:
            case "GET", "accounts":
                return 200, [account.shown(time.monotonic()) for account in self._accounts.all()]
            case "GET", "faults":
                return 200, self._faults.shown(name)
            case "PUT", "faults":
                return self._put(request, name or "*")
            case "DELETE", "faults":
                self._faults.clear(name)
                return 200, []
            case "DELETE", "records":
                self._records.clear()
                self._accounts.reset_peaks()
                return 200, {"dropped": 0, "kept": 0}
        return 404, {"error": "there are faults[/ACCOUNT], records and accounts here"}

    def _put(self, request: Request, account: str) -> tuple[int, Any]:
        try:
            given = msgspec.json.decode(request.body)
            specs = msgspec.convert(given if isinstance(given, list) else [given], list[RuleSpec])
        except msgspec.ValidationError as error:
            return 400, {"error": str(error)}
        except msgspec.DecodeError as error:
            return 400, {"error": f"not JSON: {error}"}
        known = {one.name for one in self._accounts.all()} | {"*"}
        if account not in known:
            return 404, {"error": f"no such account: {account}"}
        self._faults.replace(account, specs)
        return 200, self._faults.shown(account)

    def _selected(self, request: Request) -> list[Record]:
        after = request.argument("after") or "0"
        return self._records.select(
            account=request.argument("account"),
            request_id=request.argument("request_id"),
            operation=request.argument("operation"),
            format=request.argument("format"),
            after=int(after) if after.isdigit() else 0,
        )

    async def _send_records(self, exchange: Exchange) -> None:
        chosen = self._selected(exchange.request)
        headers = [("content-type", "application/x-ndjson"), ("transfer-encoding", "chunked")]
        dropped = ("simulator-records-dropped", str(self._records.dropped))
        await exchange.send(head(200, [*headers, dropped]))
        encoder = msgspec.json.Encoder()
        for start in range(0, len(chosen), _PORTION):
            await exchange.send(chunk(encoder.encode_lines(chosen[start : start + _PORTION])))
            await asyncio.sleep(0)
        await exchange.send(b"0\r\n\r\n")
