"""Raw servers for the upstream client: they do everything that a server may do, right or wrong."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct

from penstock_edge.upstream import Deadlines, parse_target

QUICK = Deadlines(connect=2, first_byte=2, idle=2, response=2, streamed=False)
STREAM = QUICK._replace(streamed=True)


class Server:
    """Reads requests and lets `play(reader, writer, number)` do what it likes."""

    def __init__(self, play, tls=None, *, reads_bodies=True, host="127.0.0.1"):
        self.play = play
        self.host = host
        self.reads_bodies = reads_bodies
        self.tls = tls
        self.connections = 0
        self.requests = []
        self.heads = asyncio.Queue()
        self.tasks = set()
        self.ended = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, self.host, 0, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        scheme = "https" if self.tls else "http"
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.target = parse_target(f"{scheme}://{shown}:{self.port}", allow_private=True)
        return self

    async def __aexit__(self, *_):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        # Transports close in the loop's next turns.
        await asyncio.sleep(0.01)

    async def _serve(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self.tasks.add(task)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                body = await reader.readexactly(length if self.reads_bodies else 0)
                self.requests.append((head, body))
                if await self.play(reader, writer, len(self.requests)) is False:
                    break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, RuntimeError):
            # uvloop raises RuntimeError for a transport that the other side has closed.
            self.ended += 1
        except asyncio.CancelledError:
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


def request(body=b"{}"):
    return [b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body), body]


def says(*pieces, pause=0.0, close=None):
    """Play the pieces; `close`: None keeps the connection, `fin` or `rst` ends it."""

    async def play(reader, writer, number):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause)
        if close == "fin":
            writer.close()
            await writer.wait_closed()
            return False
        if close == "rst":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return close is None

    return play


async def fetch(client, server, deadlines=QUICK, body=b"{}"):
    call = await client.send(server.target, request(body), deadlines)
    await call.head()
    return call.status, await call.read_all(10_000_000), call


OK = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 5\r\n\r\nhello"


def names(client, table):
    """Let `client` resolve the names of a table (name: list of addresses, or an exception, or a coroutine function)."""
    loop = asyncio.get_running_loop()
    asked = []

    class Loop:
        def __getattr__(self, name):
            return getattr(loop, name)

        async def getaddrinfo(self, host, port, **_):
            asked.append(host)
            found = table[host]
            if callable(found):
                found = await found()
            if isinstance(found, Exception):
                raise found
            return [(10 if ":" in each else 2, 1, 6, "", (each, port)) for each in found]

    client._resolver._loop = Loop()
    return asked


def at(name, server, *, allow_private=True):
    """Return the target of a server under another name."""
    return server.target._replace(
        origin=server.target.origin._replace(host=name, allow_private=allow_private),
        host_header=f"{name}:{server.port}".encode(),
    )


async def ask(client, target, deadlines=QUICK, body=b"{}"):
    """Return status and body of one exchange with a target."""
    call = await client.send(target, request(body), deadlines)
    await call.head()
    return call.status, await call.read_all(10_000_000)


def context_for(authority, *hosts, **options):
    """Return a server's context with a certificate for these hosts."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*hosts, **options).configure_cert(context)
    return context
