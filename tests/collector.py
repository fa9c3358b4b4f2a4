"""A trace collector for tests: takes OTLP over HTTP in a thread, decodes it, and remembers every byte."""

from __future__ import annotations

import gzip
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Seen:
    """One span as it arrived, with its attributes as a dict."""

    def __init__(self, span: Span, resource: Mapping[str, Any]) -> None:
        self.name = span.name
        self.trace_id, self.span_id = span.trace_id.hex(), span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.kind = span.kind
        self.start, self.end = span.start_time_unix_nano, span.end_time_unix_nano
        self.failed = span.status.code == 2
        self.attributes = _plain(span.attributes)
        self.events = {event.name: event.time_unix_nano for event in span.events}
        self.resource = dict(resource)
        self.service = self.resource["service.name"]

    def __repr__(self) -> str:
        return f"Seen({self.service} {self.name} {self.attributes})"


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


class Collector:
    """Listens on a free loopback port. While `frozen`, it takes connections and never answers; `status` answers else."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self._thawed = threading.Event()
        self._thawed.set()
        self.asked = 0
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                collector._take(self)

            def log_message(self, *_args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        self._thawed.clear()

    def _take(self, request: BaseHTTPRequestHandler) -> None:
        self.asked += 1
        body = request.rfile.read(int(request.headers["content-length"]))
        self._thawed.wait()
        if self.status == 200:
            assert request.path == "/v1/traces"
            assert request.headers["content-type"] == "application/x-protobuf"
            self._remember(gzip.decompress(body) if request.headers["content-encoding"] == "gzip" else body)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
        try:
            request.send_response(self.status)
            answer = ExportTraceServiceResponse().SerializeToString()
            request.send_header("content-type", "application/x-protobuf")
            request.send_header("content-length", str(len(answer)))
            request.end_headers()
            request.wfile.write(answer)
        except OSError:
            pass  # Who asked has gone.

    def _remember(self, body: bytes) -> None:
        message = ExportTraceServiceRequest.FromString(body)
        spans = [
            Seen(span, _plain(part.resource.attributes))
            for part in message.resource_spans
            for scope in part.scope_spans
            for span in scope.spans
        ]
        self.raw += body
        self.spans += spans

    def named(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def wait(self, what: str, holds: Callable[[], Any], seconds: float = 15.0) -> Any:
        """Wait until `holds()` is truthy and return it."""
        deadline = time.monotonic() + seconds
        while not (value := holds()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}; came: {self.spans}"
            time.sleep(0.02)
        return value

    def end(self) -> None:
        self._thawed.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
