"""A whole gateway in one process: the real plane before scripted upstreams, with books that only remember."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from types import SimpleNamespace

import httpx
import pytest
import uvloop
from prometheus_client import CollectorRegistry

from penstock_catalog import api_key
from penstock_chassis.http import HttpServer, listen
from penstock_edge.app import EdgeApp
from penstock_edge.dispatch import Dispatcher, Pace
from penstock_edge.estimates import Estimates
from penstock_edge.key_facts import KeyFacts
from penstock_edge.limits import LimitState
from penstock_edge.metrics import EdgeMetrics
from penstock_edge.passage import NativeFollower
from penstock_edge.plane import Plane
from penstock_edge.price import Price
from penstock_edge.protocol import EdgeProtocol
from penstock_edge.records import Admitted, Refused
from penstock_edge.snapshot import Model
from penstock_edge.spool import SpoolFull
from penstock_edge.upstream import UpstreamClient
from penstock_routing import AccountFacts, Policy, Pool, Timeouts

KEY = api_key.generate("psk_", secrets.token_bytes).text
OTHER_KEY = api_key.generate("psk_", secrets.token_bytes).text

PRICE = Price(
    digest="0123456789abcdef",
    effective_at_ms=0,
    input=3_000_000,
    output=15_000_000,
    cache_write_5m=3_750_000,
    cache_write_1h=6_000_000,
    cache_read=300_000,
    long_context_above=0,
    long_context_input=0,
    long_context_output=0,
    long_context_cache_write_5m=0,
    long_context_cache_write_1h=0,
    long_context_cache_read=0,
)


def model(name="claude-sonnet-4-6", **changes):
    facts = {
        "name": name,
        "aliases": ("anthropic/claude-sonnet-4.6",),
        "owned_by": "anthropic",
        "display_name": "Claude Sonnet 4.6",
        "context_tokens": 200_000,
        "max_output_tokens": 64_000,
        "created_at_ms": 1_770_000_000_000,
        "retires_at_ms": 0,
        "prices": (PRICE,),
        "fallbacks": (),
        "upstream_names": {},
    }
    return Model(**(facts | changes))


def key_facts(**changes):
    facts = {
        "key_id": "key-1",
        "project": "demo",
        "plan": "team",
        "models": ("*",),
        "over_budget": "Settled",
        "on_store_outage": "Closed",
        "credit_required": False,
        "translation": "Allow",
        "messages_translation": "Deny",
        "error_profile": "Default",
        "price_multiplier_ppm": 1_000_000,
        "max_concurrent_requests": 64,
        "expires_at_ms": 0,
        "key_prefix": "psk_abc",
    }
    return KeyFacts(**(facts | changes))


class Limits:
    def limit_states(self):
        return [
            LimitState("per-minute", "Requests", 100, 97, 30_000, 60_000, "Key"),
            LimitState("per-day", "Requests", 1000, 900, 3_000_000, 86_400_000, "Key"),
            LimitState("five-hours", "TotalTokens", 50_000, 40_000, 18_000_000, 18_000_000, "Project"),
            LimitState("slots", "ConcurrentRequests", 64, 60, 0, 0, "Key"),
        ]


class Books:
    """Admission, spool, settlement and reporter that remember what they were told."""

    def __init__(self):
        self.key = key_facts()
        self.refusal = None
        self.asks_auth = False
        self.admit_seconds = 0.0
        self.full = False
        self.holds = 0
        self.slots = 0
        self.opened_records = {}
        self.finished = []
        self.outcomes = []
        self.urgent = []
        self.needs = []
        self.order = []
        self.wanted = {}
        self.most_wanted = 0

    # Admission
    def known(self, digest):
        return self.key if digest == api_key.digest(KEY) and not self.asks_auth else None

    def _answer(self, digest, need):
        if digest != api_key.digest(KEY):
            return Refused("UNKNOWN_KEY")
        if self.refusal is not None:
            return self.refusal
        self.needs.append(need)
        self.holds += 1
        self.slots += 1
        return Admitted(self.key, 1_790_000_000_000, need, _source=Limits())

    def try_admit(self, digest, need, now):
        return None if self.asks_auth or digest != api_key.digest(KEY) else self._answer(digest, need)

    async def admit(self, digest, need, deadline):
        await asyncio.sleep(self.admit_seconds)
        return self._answer(digest, need)

    async def identify(self, digest, deadline):
        if digest != api_key.digest(KEY):
            return Refused("UNKNOWN_KEY")
        return self.key

    def ended(self, admitted):
        self.slots -= 1

    def settled(self, admitted, *, recorded=False):
        self.holds -= 1

    # Spool
    def open(self, opened):
        if self.full:
            raise SpoolFull("full")
        self.opened_records[opened.request_id] = opened
        self.order.append("open")

    # Settlement
    def finish(self, opened, closed, admitted):
        self.finished.append(closed)
        self.settled(admitted, recorded=True)

    def pending(self, request_id):
        for closed in self.finished:
            if closed.request_id == request_id:
                return closed
        return self.opened_records.get(request_id)

    def opened(self, request_id):
        return self.opened_records.get(request_id)

    # Reporter
    def outcome(self, outcome, *, urgent=False):
        self.outcomes.append(outcome)
        self.urgent.append(urgent)

    def waiting(self, account, change):
        self.wanted[account] = self.wanted.get(account, 0) + change
        self.most_wanted = max(self.most_wanted, self.wanted[account])

    async def settled_count(self, count, seconds=5.0):
        async with asyncio.timeout(seconds):
            while len(self.finished) < count:
                await asyncio.sleep(0.005)
        return self.finished


class View:
    def __init__(self, pool, models):
        self.pool = pool
        self._models = tuple(models)

    def resolve(self, name):
        for known in self._models:
            if name == known.name or name in known.aliases:
                return known
        return None

    def models(self):
        return self._models

    def price(self, known, now_ms):
        return known.prices[-1] if known.prices else None

    def account(self, name):
        return self.pool.account(name)

    def accounts(self):
        return tuple(name for name in "abcdefgh" if self.pool.account(name) is not None)


class Upstream:
    """A raw HTTP/1.1 server that plays one script per request; the last one again and again."""

    def __init__(self):
        self.scripts = []
        self.requests = []
        self.connections = 0
        self.gone = 0
        self._server = None
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self):
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode().split("\r\n")
                headers = {}
                for line in lines[1:]:
                    if line:
                        name, _, value = line.partition(": ")
                        headers.setdefault(name.lower(), []).append(value)
                body = await reader.readexactly(int(headers.get("content-length", ["0"])[0]))
                request = SimpleNamespace(
                    line=lines[0], headers=headers, body=body, head=head, reader=reader, writer=writer
                )
                self.requests.append(request)
                script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
                if await script(request) is False:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            # uvloop raises RuntimeError for a transport that the other side has closed.
            self.gone += 1
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


def answer(status=200, body=None, headers=None, *, delay=0.0):
    """Script: one answer with a content length."""
    if body is None:
        body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-6",
            "content": [{"type": "text", "text": "Hello"}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 5},
        }
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def play(request):
        if delay:
            await asyncio.sleep(delay)
        fields = {"content-type": "application/json", "request-id": "req_up", **(headers or {})}
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        request.writer.write(head.encode() + f"content-length: {len(raw)}\r\n\r\n".encode() + raw)
        await request.writer.drain()

    return play


def failure(status, kind="api_error", message="boom", **headers):
    """Script: an error answer."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer(status, {"type": "error", "error": {"type": kind, "message": message}}, fields)


def event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def start(tokens=10):
    usage = {"input_tokens": tokens, "output_tokens": 1}
    return event("message_start", message={"id": "msg_1", "type": "message", "content": [], "usage": usage})


BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
STOP = event("message_stop")


def text(words):
    return event("content_block_delta", index=0, delta={"type": "text_delta", "text": words})


def ending(tokens=5):
    return event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": tokens})


def whole_stream(words=("Hel", "lo"), tokens=5):
    return [start(), BLOCK, *[text(w) for w in words], event("content_block_stop", index=0), ending(tokens), STOP]


def stream(pieces=None, *, pause=0.0, end="close", delay=0.0):
    """Script: a chunked event stream. A number among `pieces` is a pause; `end`: close | cut | hang."""

    async def play(request):
        if delay:
            await asyncio.sleep(delay)
        w = request.writer
        w.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in whole_stream() if pieces is None else pieces:
            if isinstance(piece, (int, float)):
                await asyncio.sleep(piece)
                continue
            w.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await w.drain()
            await asyncio.sleep(pause)
        if end == "close":
            w.write(b"0\r\n\r\n")
            await w.drain()
            return True
        if end == "hang":
            await request.reader.read(1)
            raise ConnectionError
        w.transport.abort()
        return False

    return play


async def cut(request):
    """Script: the connection ends without an answer."""
    request.writer.transport.abort()
    return False


async def hang(request):
    """Script: no answer until the other side goes."""
    await request.reader.read(1)
    raise ConnectionError


class Gateway:
    def __init__(self, upstreams, books, **options):
        self.upstreams = upstreams
        self.books = books
        self._options = options

    async def begin(self):
        options = self._options
        pool = Pool(options.get("policy", Policy()))
        timeouts = options.get("timeouts", Timeouts(connect=2, first_byte=2, idle=2, response=2))
        models = options.get("models", [model()])
        names = tuple(m.name for m in models)
        accounts = [
            AccountFacts(
                name="abcdefgh"[index],
                provider=options.get("providers", ["Anthropic"] * 8)[index],
                base_url=f"http://127.0.0.1:{upstream.port}{options.get('base_path', '')}",
                api_key=f"sk-upstream-{index}",
                models=names,
                tier=index if options.get("tiers") else 0,
                timeouts=timeouts,
                allow_private_address=True,
            )
            for index, upstream in enumerate(self.upstreams)
        ]
        now = time.monotonic()
        pool.load(accounts, now)
        pool.router_seen(now)
        self.pool = pool
        self.view = View(pool, models)
        self.client = UpstreamClient()
        self.metrics = EdgeMetrics(CollectorRegistry())
        self.estimates = Estimates()
        rng = options.get("rng", lambda: 0.5)
        self.dispatcher = Dispatcher(
            view=self.view,
            client=self.client,
            admission=self.books,
            spool=self.books,
            settlement=self.books,
            reporter=self.books,
            estimates=self.estimates,
            metrics=self.metrics,
            policy=options.get("policy", Policy()),
            pace=options.get("pace", Pace(wait=0.2)),
            rng=rng,
            tracing=options.get("tracing"),
        )
        self.ready = (True, "")
        plane = Plane(
            view=self.view,
            admission=self.books,
            settlement=self.books,
            dispatcher=self.dispatcher,
            estimates=self.estimates,
            auth=options.get("auth"),
            session="es_test",
            ready=lambda: self.ready,
            max_body_bytes=options.get("max_body_bytes", 32 * 1024 * 1024),
            admit_seconds=2.0,
            tracing=options.get("tracing"),
        )
        self.app = plane.app()
        assert isinstance(self.app, EdgeApp)
        self.server = HttpServer(self.app, [listen("127.0.0.1", 0)], http=options.get("http", EdgeProtocol))
        await self.server.begin()
        self.url = f"http://127.0.0.1:{self.server.port}"
        self.http = httpx.AsyncClient(base_url=self.url, headers={"x-api-key": KEY}, timeout=10)
        return self

    async def end(self):
        await self.http.aclose()
        await self.server.end(2.0)
        await self.client.close()

    def body(self, **fields):
        return {
            "model": "claude-sonnet-4-6",
            "max_tokens": 100,
            "messages": [{"role": "user", "content": "Hi"}],
            **fields,
        }

    async def post(self, path="/v1/messages", headers=None, **fields):
        return await self.http.post(path, json=self.body(**fields), headers=headers)

    async def events(self, **fields):
        """Return (status, [event names], whole text) of a streamed request."""
        answer = await self.post(stream=True, **fields)
        names = [line[7:] for line in answer.text.split("\n") if line.startswith("event: ")]
        return answer, names


def pytest_asyncio_loop_factories(config, item):
    # The loop that serves is uvloop; its transports differ from asyncio's.
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
def books():
    return Books()


@pytest.fixture
async def gateway(books):
    """Make a gateway: `await gateway([script, ...], [script, ...], option=...)`, one list of scripts per account."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(*scripts, **options):
            upstreams = []
            for plays in scripts:
                upstream = await Upstream().start()
                upstream.scripts = list(plays)
                stack.push_async_callback(upstream.stop)
                upstreams.append(upstream)
            made = await Gateway(upstreams, books, **options).begin()
            stack.push_async_callback(made.end)
            return made

        yield make


@pytest.fixture
async def upstream():
    """One scripted upstream."""
    server = await Upstream().start()
    server.scripts = [answer()]
    yield server
    await server.stop()


@pytest.fixture
def crashing(monkeypatch):
    """Let whatever reads an event of a stream crash where the event says so."""
    honest = NativeFollower.take

    def take(self, raw):
        if b"crash" in raw:
            raise RuntimeError("bug")
        return honest(self, raw)

    monkeypatch.setattr(NativeFollower, "take", take)


@pytest.fixture
def play():
    """The scripts and events that tests write upstreams with."""
    return SimpleNamespace(
        answer=answer,
        failure=failure,
        event=event,
        start=start,
        block=BLOCK,
        stop=STOP,
        text=text,
        ending=ending,
        whole_stream=whole_stream,
        stream=stream,
        cut=cut,
        hang=hang,
        key=KEY,
        other_key=OTHER_KEY,
        key_facts=key_facts,
        model=model,
        price=PRICE,
    )
