"""A request's way through the simulator: credential, record, faults, checks, answer."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from penstock_chassis import logs
from penstock_simulator import metrics
from penstock_simulator.behaviour import (
    PLAIN,
    Behaviour,
    DirectiveError,
    Fault,
    behaviour,
    parse,
    read_fields,
)
from penstock_simulator.connection import GoneError
from penstock_simulator.delivery import Delivery, retry_after
from penstock_simulator.formats import Call
from penstock_simulator.records import Record
from penstock_simulator.refusal import RefusalError

if TYPE_CHECKING:
    from penstock_simulator.accounts import Account, Accounts
    from penstock_simulator.answer import Answer
    from penstock_simulator.connection import Exchange, Request
    from penstock_simulator.faults import FaultBook
    from penstock_simulator.formats import Draft, WireFormat
    from penstock_simulator.records import Records
    from penstock_simulator.settings import SimulatorSettings

log = logs.get(__name__)

_SECRET_HEADERS = frozenset({"x-api-key", "authorization", "x-goog-api-key"})
_KEY_ARGUMENT = re.compile(r"([?&]key=)[^&]*")
_DIRECTIVE_HEADER = "x-simulator"
_REMEMBERED_TRIES = 50_000
_BILLED = frozenset({"messages", "embeddings"})


class Tries:
    """How often each request has been seen, for directives with `times`; bounded."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, int] = OrderedDict()

    def count(self, key: str) -> int:
        """Return how often the key has been seen, this time included."""
        count = self._seen.pop(key, 0) + 1
        self._seen[key] = count
        if len(self._seen) > _REMEMBERED_TRIES:
            self._seen.popitem(last=False)
        return count


class Visit:
    """One request between its arrival and its end; ends exactly once."""

    def __init__(self, record: Record, account: Account | None) -> None:
        self.record = record
        self.account = account
        self._ended = False
        # Probes and counts take no slot, neither here nor in a gateway.
        self._slot = account is not None and record.operation in _BILLED
        if account is not None:
            account.served += 1
            if self._slot:
                record.concurrent = account.enter()
        metrics.OPEN.inc()

    def client_left(self) -> None:
        """Note that the client is gone, and free its slot at once."""
        if not self._ended:
            self.record.client_left = time.monotonic()
            self.record.state = "client_left"
            metrics.LEFT.inc()
            self.end()

    def end(self) -> None:
        """Close the record and the slot."""
        if self._ended:
            return
        self._ended = True
        record = self.record
        if record.state == "open":
            record.state = "broken"
        record.ended = time.monotonic()
        record.ended_at = time.time()
        metrics.OPEN.dec()
        usage = record.usage
        if self.account is not None:
            if self._slot:
                self.account.leave()
            self.account.sent(record.relayed_tokens, record.ended)
            whole = usage.input_tokens + usage.cache_read_input_tokens
            whole += usage.cache_write_5m_input_tokens + usage.cache_write_1h_input_tokens
            metrics.told(record.account, whole, usage.output_tokens)
        metrics.ended(record.account, record.operation, record.status, record.fault, record.ended - record.arrived)


def _unary_status(error: str, wire_format: str) -> int:
    """Return the status that says what an error within a stream says."""
    if error in {"api_error", "server_error"}:
        return 500
    if error in {"rate_limit_error", "rate_limit_exceeded"}:
        return 429
    # Only Anthropic has a status of its own for overload.
    return 529 if wire_format == "anthropic" else 503


class Unread(NamedTuple):
    """A request before anything has been decided about it."""

    request: Request
    draft: Draft
    account: Account | None
    how: Behaviour
    mistake: str | None
    """What is wrong with its directives."""


class Serving:
    """Answers every request of the wire formats."""

    def __init__(
        self,
        settings: SimulatorSettings,
        formats: list[WireFormat],
        accounts: Accounts,
        faults: FaultBook,
        records: Records,
    ) -> None:
        self._settings = settings
        self._formats = formats
        self._accounts = accounts
        self._faults = faults
        self._records = records
        self._tries = Tries()
        # Ids differ between two lives of a simulator, so that ledgers can tell them apart.
        self._life = secrets.token_hex(4)

    async def serve(self, exchange: Exchange) -> bool:
        """Answer a request; False when it belongs to no wire format."""
        request = exchange.request
        for one in self._formats:
            draft = one.draft(request)
            if draft is not None:
                await self._visit(exchange, one, draft)
                return True
        return False

    async def _visit(self, exchange: Exchange, wire: WireFormat, draft: Draft) -> None:
        account = self._accounts.find(wire.credential(exchange.request))
        record = self._record(exchange.request, draft, account)
        self._records.add(record)
        visit = Visit(record, account)
        exchange.on_gone = visit.client_left
        try:
            await self._answer(exchange, wire, draft, account, record)
        except GoneError:
            visit.client_left()
            raise
        finally:
            exchange.on_gone = None
            visit.end()

    def _record(self, request: Request, draft: Draft, account: Account | None) -> Record:
        seq = self._records.next_seq()
        record = Record(
            seq=seq,
            account=account.name if account else "",
            operation=draft.operation,
            format=draft.format,
            upstream_request_id=f"req_sim_{self._life}{seq:010x}",
            request_id=request.header("x-request-id"),
            target=_KEY_ARGUMENT.sub(r"\1(blotted out)", request.target),
            model=draft.model,
            streamed=draft.streamed,
            arrived_at=request.arrived_at,
            arrived=request.arrived,
            body_bytes=len(request.body),
            body_sha256=hashlib.sha256(request.body).hexdigest(),
            header_names=tuple(name for name, _ in request.raw),
        )
        if self._settings.keep_bodies:
            record.body = request.body
            record.headers = [(n, "(blotted out)" if n in _SECRET_HEADERS else value) for n, value in request.raw]
        return record

    async def _answer(
        self, exchange: Exchange, wire: WireFormat, draft: Draft, account: Account | None, record: Record
    ) -> None:
        request = exchange.request
        how, mistake = self._behaviour(request, draft, account, record)
        record.fault = how.fault
        delivery = Delivery(exchange, record, how, silence_seconds=self._settings.silence_seconds)
        common = wire.headers(record.upstream_request_id, account)
        if not await delivery.before():
            return
        if how.fault in {Fault.HTML, Fault.NOT_JSON}:
            await delivery.page(common)
            return
        try:
            answer = self._decide(wire, Unread(request, draft, account, how, mistake), record)
        except RefusalError as refusal:
            record.error_type = refusal.code or refusal.kind
            body = wire.error_body(refusal, record.upstream_request_id)
            await delivery.plain(refusal.status, "application/json", body, [*common, *refusal.headers])
            return
        answer.headers = [*common, *answer.headers]
        await delivery.answer(answer)

    def _decide(self, wire: WireFormat, unread: Unread, record: Record) -> Answer:
        """Return the good answer; raises RefusalError for everything that ends in an error status."""
        request, account = unread.request, unread.account
        if account is None:
            raise wire.unknown_credential(request)
        if unread.mistake is not None:
            raise RefusalError(400, "invalid_request_error", f"[[sim]]: {unread.mistake}")
        now, wall = time.monotonic(), time.time()
        call = Call(request, unread.draft, account, unread.how, record.upstream_request_id, now, wall)
        self._refuse_by_fault(wire, call)
        if request.oversized:
            raise wire.refusal(413, call)
        return wire.answer(call)

    def _refuse_by_fault(self, wire: WireFormat, call: Call) -> None:
        how = call.how
        hint = tuple(retry_after(how.retry_after, call.wall))
        if how.fault.isdigit():
            usual = wire.refusal(int(how.fault), call)
        elif how.fault == Fault.CREDIT:
            usual = wire.credit_too_low()
        elif how.fault in {Fault.STREAM_ERROR_BEFORE, Fault.STREAM_ERROR_AFTER} and not call.draft.streamed:
            usual = wire.refusal(_unary_status(how.error, call.draft.format), call)
        else:
            return
        raise usual.altered(how.error, how.message, hint)

    def _behaviour(
        self, request: Request, draft: Draft, account: Account | None, record: Record
    ) -> tuple[Behaviour, str | None]:
        """Gather what the request will meet; also what is wrong with its own directives.

        Standing rules win over the request's header, that over its prompt, that over its model's name.
        """
        name = account.name if account else ""
        header = request.header(_DIRECTIVE_HEADER)
        try:
            hints = [parse(hint) for hint in ([*draft.hints, header] if header else draft.hints)]
            parts = [read_fields(hint) for hint in hints if self._meant(hint, name, record)]
        except DirectiveError as error:
            return PLAIN, str(error)
        return behaviour([*parts, *self._faults.strike(name, draft.model, draft.operation)]), None

    def _meant(self, hint: dict[str, Any], account: str, record: Record) -> bool:
        """Whether a directive is for this account and this try of its request; takes these two words out of it."""
        wanted = hint.pop("account", None)
        times = hint.pop("times", None)
        if wanted is not None and account not in wanted.split("|"):
            return False
        if times is None:
            return True
        if not times.isdigit():
            raise DirectiveError(f"times: not a number: {times!r}")
        return self._tries.count(record.request_id or record.body_sha256) <= int(times)
