"""A client's connection, byte by byte: hot requests and others in one line, whatever the pieces they come in."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import weakref

import httptools
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.server import ServerState

from penstock_edge.app import EdgeApp
from penstock_edge.bodies import ClientLeftError
from penstock_edge.corking import Cork
from penstock_edge.errors import ProblemError
from penstock_edge.protocol import EdgeProtocol
from penstock_edge.routes.plain import answer
from penstock_edge.routes.route import Route

DATE = (b"date", b"Sat, 21 Nov 2026 22:30:00 GMT")


class Transport:
    """Remembers what is written; says whether more may be fed."""

    def __init__(self):
        self.writes = []
        self.closing = self.aborted = False
        self.patient = False
        """Its client goes on after we have said that nothing more follows."""
        self.reading = True
        self.unread = 0
        self.protocol = None

    def get_extra_info(self, name, default=None):
        return default

    def is_closing(self):
        return self.closing

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def get_write_buffer_size(self):
        return self.unread

    def write(self, data):
        self.writes.append(bytes(data))

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def can_write_eof(self):
        return True

    def write_eof(self):
        if not self.patient:
            self.close()

    def close(self):
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.lose)

    def abort(self):
        self.aborted = True
        self.close()

    def lose(self):
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self.closing = True
            protocol.connection_lost(None)

    @property
    def written(self):
        return b"".join(self.writes)


async def echo(turn):
    """Answer with what was asked."""
    try:
        body = await turn.body(1000)
    except ProblemError as error:
        await turn.early(error.problem.status, [(b"content-length", b"2")], b"no")
        await turn.drain()
        await turn.end()
        return
    except ClientLeftError:
        return
    if turn.query == b"stream":
        await turn.begin(200, [(b"x", b"stream")])
        for index in range(len(body)):
            await turn.piece(body[index : index + 1])
        await turn.end(b"!")
        return
    said = b"%s?%s:%s" % (turn.path.encode(), turn.query, body)
    await turn.whole(200, [(b"content-length", b"%d" % len(said))], said)


def model(path, query):
    return echo if path.startswith("/models/") else None


async def cold(asked):
    return answer({"cold": True})


class App(EdgeApp):
    """The edge's app, and a path that answers what was posted through ASGI."""

    async def __call__(self, scope, receive, send):
        if (scope["method"], scope["path"]) != ("POST", "/cold"):
            await super().__call__(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Connection:
    """A protocol before a transport that goes nowhere."""

    def __init__(self, serve=echo, stall_seconds=120.0, soon_seconds=1.0, cork=None, **options):
        app = App({"/hot": serve}, model, [Route(path="/cold", give=cold)])
        config = Config(app, log_config=None, ws="none", lifespan="off", proxy_headers=False, **options)
        config.load()
        self.state = ServerState()
        self.state.default_headers = [DATE]
        self.transport = Transport()
        loop = asyncio.get_running_loop()
        # By this clock a second passes between any two writes, so that none waits for another.
        cork = cork or Cork(loop, itertools.count().__next__)
        seconds = {"stall_seconds": stall_seconds, "soon_seconds": soon_seconds}
        self.protocol = EdgeProtocol(config, self.state, {}, loop, cork=cork, **seconds)
        self.transport.protocol = self.protocol
        self.protocol.connection_made(self.transport)

    async def feed(self, *pieces):
        for piece in pieces:
            for _ in range(1000):
                if self.transport.reading:
                    break
                await asyncio.sleep(0)
            else:
                pytest.fail("nobody reads on")
            if self.transport.closing:
                break
            self.protocol.data_received(piece)
        await self.settle()

    async def settle(self):
        """Let everything happen that can."""
        idle = 0
        for _ in range(1000):
            await asyncio.sleep(0)
            idle = 0 if self.state.tasks else idle + 1
            if idle > 2:
                break


def answers(data):
    """Return the (status, body) of every whole answer."""
    found = []

    class Callbacks:
        def on_message_begin(self):
            self.body = b""

        def on_body(self, body):
            self.body += body

        def on_message_complete(self):
            found.append((parser.get_status_code(), self.body))

    parser = httptools.HttpResponseParser(Callbacks())
    parser.feed_data(data)
    return found


def hot(body=b"hello", target=b"/hot", headers=b"", version=b"1.1"):
    return b"POST %s HTTP/%s\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (
        target,
        version,
        headers,
        len(body),
        body,
    )


def chunked(*pieces, target=b"/hot"):
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (target, framed)


def asked(path, query=b"", body=b"hello"):
    return 200, b"%s?%s:%s" % (path, query, body)


COLD = b"GET /cold HTTP/1.1\r\nHost: x\r\n\r\n"
POSTED = b'POST /cold HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"a":"b"}'
KINDS = [
    (hot(), asked(b"/hot")),
    (hot(b""), asked(b"/hot", body=b"")),
    (hot(target=b"/hot?a=b"), asked(b"/hot", b"a=b")),
    (hot(target=b"/models/a%3Ab?c"), asked(b"/models/a:b", b"c")),
    (hot(b"abc", target=b"/hot?stream"), (200, b"abc!")),
    (chunked(b"ab", b"c"), asked(b"/hot", body=b"abc")),
    (hot(headers=b"Expect: 100-continue\r\n"), asked(b"/hot")),
    (
        hot(headers=b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"),
        asked(b"/hot"),
    ),
    (
        chunked(b"ab", b"c").replace(b"Host", b"Connection: upgrade\r\nUpgrade: h2c\r\nHost"),
        asked(b"/hot", body=b"abc"),
    ),
    (COLD.replace(b"Host", b"Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\nHost"), (200, b'{"cold":true}')),
    (COLD, (200, b'{"cold":true}')),
    (POSTED, (200, b'{"a":"b"}')),
    (b"OPTIONS /hot HTTP/1.1\r\nHost: x\r\n\r\n", (405, None)),
    (hot(target=b"/nowhere"), (404, None)),
]


def check(data, expected):
    found = [one for one in answers(data) if one[0] != 100]
    assert [status for status, _ in found] == [status for status, _ in expected]
    for (_, body), (_, wanted) in zip(found, expected, strict=True):
        if wanted is None:
            json.loads(body)
        else:
            assert body == wanted


@pytest.mark.parametrize(("request_", "answer"), KINDS)
async def test_a_request_may_be_cut_anywhere(request_, answer):
    for cut in range(1, len(request_)):
        connection = Connection()
        await connection.feed(request_[:cut])
        await connection.feed(request_[cut:])
        check(connection.transport.written, [answer])
        connection.transport.lose()


async def test_bytes_may_come_one_by_one():
    connection = Connection()
    data = b"".join(request for request, _ in KINDS)
    await connection.feed(*[data[index : index + 1] for index in range(len(data))])
    check(connection.transport.written, [answer for _, answer in KINDS])
    assert not connection.transport.closing
    connection.transport.lose()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(KINDS), min_size=1, max_size=6),
    st.lists(st.integers(min_value=1, max_value=900), max_size=12),
)
def test_pipelined_mixtures_are_answered_in_order(kinds, cuts):
    data = b"".join(request for request, _ in kinds)
    edges = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]

    async def run():
        connection = Connection()
        await connection.feed(*[data[a:b] for a, b in itertools.pairwise(edges)])
        for _ in range(len(kinds)):
            await connection.settle()
        written = connection.transport.written
        connection.transport.lose()
        return written

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        check(runner.run(run()), [answer for _, answer in kinds])


# What is written, and when


async def test_an_answer_is_one_write():
    connection = Connection()
    await connection.feed(hot(), hot())
    assert [answers(data) for data in connection.transport.writes] == [[asked(b"/hot")]] * 2
    assert all(b"date: " in data for data in connection.transport.writes)


async def test_a_piece_is_one_write_and_the_head_goes_with_the_first():
    connection = Connection()
    await connection.feed(hot(b"ab", target=b"/hot?stream"))
    first, second, last = connection.transport.writes
    assert first.startswith(b"HTTP/1.1 200 OK\r\ndate: ")
    assert first.endswith(b"transfer-encoding: chunked\r\n\r\n1\r\na\r\n")
    assert (second, last) == (b"1\r\nb\r\n", b"1\r\n!\r\n0\r\n\r\n")


async def test_an_answer_given_before_its_client_half_closed_still_goes_out():
    """Though it waits for the turn's end: the transport closes itself before that."""

    def at_once(turn):
        turn.try_whole(200, [(b"content-length", b"2")], turn.try_body(100))

    connection = Connection(at_once, cork=Cork(asyncio.get_running_loop(), lambda: 0.0))
    # The first write of all waits for nothing.
    connection.protocol.data_received(hot(b"ab"))
    connection.protocol.data_received(hot(b"cd"))
    assert answers(connection.transport.written) == [(200, b"ab")]
    connection.protocol.eof_received()
    connection.transport.close()
    await connection.settle()
    assert answers(connection.transport.written) == [(200, b"ab"), (200, b"cd")]


async def test_a_large_answer_is_whole_too():
    async def serve(turn):
        await turn.whole(200, [(b"content-length", b"200000")], b"x" * 200_000)

    connection = Connection(serve)
    await connection.feed(hot())
    assert answers(connection.transport.written) == [(200, b"x" * 200_000)]


async def test_a_client_that_reads_slowly_is_waited_for():
    async def serve(turn):
        await turn.begin(200, [])
        await turn.piece(b"a")
        connection.protocol.pause_writing()
        await turn.piece(b"b")
        await turn.end()

    connection = Connection(serve)
    await connection.feed(hot())
    assert connection.transport.written.endswith(b"1\r\na\r\n")
    connection.protocol.resume_writing()
    await connection.settle()
    assert connection.transport.written.endswith(b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n")


async def test_nothing_is_written_for_a_client_that_left_while_it_was_waited_for():
    ended = []

    async def serve(turn):
        turn.listen(lambda: ended.append("left"))
        connection.protocol.pause_writing()
        await turn.whole(200, [(b"content-length", b"1")], b"a")
        ended.append("over")

    connection = Connection(serve)
    await connection.feed(hot())
    connection.transport.lose()
    await connection.settle()
    assert (ended, connection.transport.writes) == (["left", "over"], [])


@pytest.mark.parametrize("target", [b"/hot", b"/cold"])
async def test_connection_close_is_obeyed(target):
    connection = Connection()
    await connection.feed(hot(b"{}", target=target, headers=b"Connection: close\r\n") + hot())
    head, _, _ = connection.transport.written.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert connection.transport.closing
    assert len(answers(connection.transport.written)) == 1


async def test_a_wish_to_close_outlives_a_wish_to_upgrade():
    connection = Connection()
    await connection.feed(hot(headers=b"Connection: close, upgrade\r\nUpgrade: h2c\r\n") + hot())
    assert answers(connection.transport.written) == [asked(b"/hot")]
    assert connection.transport.closing


async def test_nothing_can_be_connected_to():
    connection = Connection()
    await connection.feed(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert [status for status, _ in answers(connection.transport.written)] == [400]
    assert connection.transport.closing


@pytest.mark.parametrize("wish", [b"", b"Connection: keep-alive\r\n", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize(("target", "body"), [(b"/hot", b"/hot?:hello"), (b"/hot?stream", b"hello!")])
async def test_http_1_0_knows_no_chunks_and_ends_the_connection(target, body, wish):
    connection = Connection()
    await connection.feed(hot(target=target, headers=wish, version=b"1.0"))
    head, _, rest = connection.transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert rest == body
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert connection.transport.closing


@pytest.mark.parametrize("request_", [COLD, POSTED])
async def test_http_1_0_ends_the_connection_on_other_paths_too(request_):
    connection = Connection()
    await connection.feed(request_.replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert answers(connection.transport.written)[0][0] == 200
    assert b"transfer-encoding" not in connection.transport.written
    assert connection.transport.closing


@pytest.mark.parametrize("bad", [(b"a", b"b\r\nc: d"), (b"a", b"b\nc: d"), (b"a\rb", b"c"), (b"a", b"\0")])
@pytest.mark.parametrize("streamed", [False, True])
async def test_headers_that_are_more_than_one_are_never_written(bad, streamed):
    async def serve(turn):
        if streamed:
            await turn.begin(200, [bad])
        else:
            await turn.whole(200, [bad, (b"content-length", b"1")], b"a")

    connection = Connection(serve)
    await connection.feed(hot())
    assert [status for status, _ in answers(connection.transport.written)] == [500]
    assert connection.transport.closing


async def test_a_crash_before_the_answer_is_told_and_one_after_it_cuts():
    async def serve(turn):
        if turn.query:
            await turn.begin(200, [])
            await turn.piece(b"a")
        raise RuntimeError("secret")

    connection = Connection(serve)
    await connection.feed(hot())
    ((status, body),) = answers(connection.transport.written)
    assert (status, json.loads(body)["error"]["type"]) == (500, "api_error")
    assert b"secret" not in body
    assert connection.transport.closing
    connection = Connection(serve)
    await connection.feed(hot(target=b"/hot?a"))
    assert connection.transport.written.endswith(b"1\r\na\r\n")
    assert connection.transport.closing


@pytest.mark.parametrize("cut", [None, -2], ids=["whole", "body after its head"])
async def test_a_crash_before_there_is_a_task_is_told_too(cut):
    def serve(turn):
        raise RuntimeError("secret")

    connection = Connection(serve)
    await connection.feed(*([hot()] if cut is None else [hot()[:cut], hot()[cut:]]))
    ((status, body),) = answers(connection.transport.written)
    assert (status, json.loads(body)["error"]["type"]) == (500, "api_error")
    assert b"secret" not in body
    assert connection.transport.closing


async def test_a_client_that_does_not_read_is_cut_off_with_what_it_has_not_read():
    async def serve(turn):
        await turn.begin(200, [])
        await turn.piece(b"a")
        connection.protocol.pause_writing()

    connection = Connection(serve)
    await connection.feed(hot())
    assert connection.transport.aborted


MALFORMED = b"POST\x00/hot HTTP/1.1\r\n"


@pytest.mark.parametrize("request_", [MALFORMED, b"POST /hot HTTP/1.1\r\nx: " + b"a" * 400_000, hot() + MALFORMED])
async def test_what_comes_after_a_refusal_is_passed_over_within_bounds(monkeypatch, request_):
    monkeypatch.setattr("penstock_edge.client_timers.DRAIN_SECONDS", 0.1)
    monkeypatch.setattr("penstock_edge.protocol.DRAIN_BYTES", 1_000_000)
    for much in (False, True):
        connection = Connection()
        connection.transport.patient = True
        half = len(request_) // 2
        await connection.feed(request_[:half], request_[half:])
        said = connection.transport.written
        assert said
        for _ in range(7):
            connection.protocol.data_received(b"a" * 100_000)
        assert not connection.transport.closing
        if much:
            connection.protocol.data_received(b"a" * 300_001)
        else:
            await asyncio.sleep(0.2)
        assert connection.transport.aborted
        await connection.settle()
        assert connection.transport.written == said
        assert not connection.state.connections


async def test_a_request_that_is_served_ends_with_the_refusal_of_what_follows_it():
    ended = asyncio.Event()

    async def serve(turn):
        turn.listen(ended.set)
        await ended.wait()
        await turn.whole(200, [(b"content-length", b"1")], b"a")

    connection = Connection(serve)
    connection.transport.patient = True
    await connection.feed(hot(), MALFORMED)
    assert ended.is_set()
    assert [status for status, _ in answers(connection.transport.written)] == [400]
    connection.protocol.shutdown()
    assert connection.transport.closing


# Bodies


async def test_a_body_that_nobody_reads_yet_holds_the_client_up():
    reads = asyncio.Event()

    async def serve(turn):
        await reads.wait()
        body = await turn.body(10_000_000)
        await turn.whole(200, [(b"content-length", b"1")], b"%d" % (len(body) // 1_000_000))

    connection = Connection(serve)
    whole = chunked(b"x" * 3_000_000)
    await connection.feed(whole[:500_000])
    assert connection.transport.reading
    connection.protocol.data_received(whole[500_000:1_100_000])
    assert not connection.transport.reading
    reads.set()
    await connection.feed(whole[1_100_000:])
    assert answers(connection.transport.written) == [(200, b"3")]


@pytest.mark.parametrize("announced", [True, False])
async def test_an_answer_may_come_before_the_body_is_whole(announced):
    connection = Connection()
    whole = hot(b"x" * 2_000_000) if announced else chunked(*[b"x" * 500] * 10)
    await connection.feed(whole[:3000])
    if announced:
        assert answers(connection.transport.written) == [(413, b"no")]
        assert not connection.transport.closing
    await connection.feed(whole[3000:])
    assert answers(connection.transport.written) == [(413, b"no")]
    assert b"connection: close\r\n" in connection.transport.written
    assert connection.transport.closing


async def test_what_comes_after_an_answer_is_thrown_away_up_to_the_next_request():
    async def serve(turn):
        await turn.whole(200, [(b"content-length", b"1")], b"a")

    connection = Connection(serve)
    whole = hot(b"x" * 5000)
    await connection.feed(whole[:3000])
    await connection.feed(whole[3000:] + hot())
    assert answers(connection.transport.written) == [(200, b"a")] * 2


async def test_a_body_that_does_not_come_is_a_408():
    seen = []

    async def serve(turn):
        with pytest.raises(ProblemError) as error:
            await turn.body(1000, 0.02)
        seen.append(error.value.problem.status)
        await turn.whole(408, [(b"content-length", b"0")], b"")

    connection = Connection(serve, soon_seconds=0.01)
    connection.protocol.data_received(hot()[:-2])
    await asyncio.sleep(0.06)
    assert seen == [408]


async def test_a_client_that_leaves_before_its_body_is_whole():
    seen = []

    async def serve(turn):
        try:
            await turn.body(1000)
        except ClientLeftError:
            seen.append("left")

    connection = Connection(serve, soon_seconds=0.0)
    connection.protocol.data_received(hot()[:-2])
    await asyncio.sleep(0.01)
    connection.transport.lose()
    await connection.settle()
    assert seen == ["left"]
    assert connection.transport.writes == []


def counting(seen):
    """Return what notes whether a body is there, and answers then."""

    def serve(turn):
        body = turn.try_body(10_000_000)
        seen.append(None if body is None else len(body))
        if body is not None:
            turn.try_whole(200, [(b"content-length", b"1")], b"a")
            return None
        return echo(turn)

    return serve


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "cut"])
@pytest.mark.parametrize("length", [2, 5, 300_000, 1024 * 1024])
async def test_a_body_that_comes_soon_after_its_head_needs_no_task(length, apart):
    seen = []
    connection = Connection(counting(seen))
    whole = hot(b"x" * length)
    begun = whole.index(b"\r\n\r\n") + 4 + (0 if apart else (length - 1) // 2)
    for _ in range(2):
        connection.protocol.data_received(whole[:begun])
        await asyncio.sleep(0)
        assert connection.transport.reading
        for start in range(begun, len(whole), 100_000):
            connection.protocol.data_received(whole[start : start + 100_000])
            assert connection.transport.reading
            assert not connection.state.tasks
    assert seen == [length] * 2
    assert answers(connection.transport.written) == [(200, b"a")] * 2


@pytest.mark.parametrize("request_", [hot(b"x" * (1024 * 1024 + 1)), chunked(b"x" * 20)], ids=["large", "chunked"])
async def test_a_body_that_may_be_long_in_coming_is_waited_for_in_a_task(request_):
    seen = []
    connection = Connection(counting(seen))
    connection.protocol.data_received(request_[:-10])
    assert seen == [None]
    await connection.feed(request_[-10:])
    assert len(answers(connection.transport.written)) == 1


async def test_a_body_that_comes_late_is_waited_for_in_a_task():
    seen = []
    connection = Connection(counting(seen), soon_seconds=0.01)
    connection.protocol.data_received(hot()[:-2])
    assert seen == []
    await asyncio.sleep(0.05)
    assert seen == [None]
    await connection.feed(hot()[-2:])
    await connection.feed(hot()[:-2], hot()[-2:])
    assert seen == [None, 5]
    assert answers(connection.transport.written) == [asked(b"/hot"), (200, b"a")]


async def test_a_client_that_leaves_right_after_its_head_leaves_nothing_behind():
    seen = []
    connection = Connection(counting(seen), soon_seconds=0.01)
    connection.protocol.data_received(hot()[:-2])
    connection.transport.lose()
    await asyncio.sleep(0.05)
    assert seen == []
    assert connection.transport.writes == []


async def test_a_server_that_ends_waits_for_a_body_that_comes_soon():
    connection = Connection()
    connection.protocol.data_received(hot()[:-2])
    connection.protocol.shutdown()
    assert not connection.transport.closing
    await connection.feed(hot()[-2:])
    assert answers(connection.transport.written) == [asked(b"/hot")]
    assert connection.transport.closing


# The connection's life


@pytest.mark.parametrize("request_", [hot(), COLD])
async def test_an_idle_connection_is_closed_in_time_and_a_used_one_is_not(request_):
    connection = Connection(timeout_keep_alive=0.1)
    for _ in range(4):
        await connection.feed(request_)
        await asyncio.sleep(0.05)
        assert not connection.transport.closing
    await asyncio.sleep(0.15)
    assert connection.transport.closing


async def test_a_long_request_is_not_idle():
    async def serve(turn):
        await asyncio.sleep(0.2 if turn.query else 0)
        await turn.whole(200, [(b"content-length", b"1")], b"a")

    connection = Connection(serve, timeout_keep_alive=0.05)
    await connection.feed(hot())
    connection.protocol.data_received(hot(target=b"/hot?slow"))
    await asyncio.sleep(0.15)
    assert not connection.transport.closing
    await asyncio.sleep(0.2)
    assert connection.transport.closing
    assert len(answers(connection.transport.written)) == 2


async def test_the_server_ends_idle_connections_and_lets_open_requests_end():
    reads = asyncio.Event()

    async def serve(turn):
        await reads.wait()
        await turn.whole(200, [(b"content-length", b"1")], b"a")

    idle, busy = Connection(), Connection(serve)
    await idle.feed(hot())
    busy.protocol.data_received(hot())
    for connection in (idle, busy):
        assert connection.protocol in connection.state.connections
        connection.protocol.shutdown()
    assert (idle.transport.closing, busy.transport.closing) == (True, False)
    assert len(busy.state.tasks) == 1
    reads.set()
    await busy.settle()
    assert b"connection: close\r\n" in busy.transport.written
    assert busy.transport.closing
    assert (busy.state.tasks, busy.state.connections, busy.state.total_requests) == (set(), set(), 1)


@pytest.mark.parametrize("requests", [[hot()], [COLD], [hot(), COLD, hot(target=b"/hot?stream")], [hot()[:-3]], []])
async def test_a_lost_connection_leaves_nothing_behind(requests):
    """Nothing that waits for the cycle collector, which runs rarely."""
    for cached in (True, False):
        # The first round fills caches, of FastAPI above all.
        connection = Connection()
        await connection.feed(*requests)
        gc.disable()
        try:
            protocol = weakref.ref(connection.protocol)
            connection.transport.lose()
            await connection.settle()
            connection.protocol = None
            assert cached or protocol() is None
        finally:
            gc.enable()


@pytest.mark.parametrize(("most", "status"), [(1, 503), (2, 200)])
async def test_uvicorns_limit_of_connections_holds(most, status):
    connection = Connection(limit_concurrency=most)
    await connection.feed(COLD)
    assert [found for found, _ in answers(connection.transport.written)] == [status]


async def test_a_root_path_is_uvicorns_to_deal_with():
    connection = Connection(root_path="/root")
    await connection.feed(COLD)
    assert answers(connection.transport.written) == [(200, b'{"cold":true}')]


async def test_a_method_and_a_version_are_judged_wherever_a_request_begins():
    connection = Connection()
    both = hot(b"POST /hot HTTP/1.1\r\n") + b"GET /hot HTTP/1.1\r\nHost: x\r\n\r\n" + hot(version=b"1.0")
    await connection.feed(both)
    statuses = [status for status, _ in answers(connection.transport.written)]
    assert statuses == [200, 405, 200]
    assert connection.transport.closing
