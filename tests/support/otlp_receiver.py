"""An OpenTelemetry collector in its own process: accepts OTLP over HTTP, and returns what it got.

    python -m tests.support.otlp_receiver

It prints its URL on standard output. ``GET /received`` returns everything received as JSON;
``PUT /mode`` with ``{"status": 503, "delay_s": 1}`` makes it refuse requests, or delay them.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.request import Request, urlopen

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


class Receiver(BaseHTTPRequestHandler):
    """One request."""

    received: ClassVar[dict[str, list[Any]]] = {path: [] for path in KINDS}
    mode: ClassVar[dict[str, float]] = {}

    def do_POST(self) -> None:
        content = self._content()
        if self.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        time.sleep(self.mode.get("delay_s", 0))
        status = int(self.mode.get("status", 200))
        if status == 200:
            self.received[self.path].append(MessageToDict(KINDS[self.path].FromString(content)))
        self._answer(status, b"")

    def do_GET(self) -> None:
        self._answer(200, json.dumps(self.received).encode())

    def do_PUT(self) -> None:
        type(self).mode = json.loads(self._content())
        self._answer(200, b"")

    def log_message(self, *_: object) -> None:
        pass

    def _content(self) -> bytes:
        return self.rfile.read(int(self.headers["content-length"]))

    def _answer(self, status: int, content: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        except BrokenPipeError:
            pass


class Collector:
    """A running collector. Its methods block for a moment."""

    def __init__(self, url: str) -> None:
        self.url = url

    def spans(self) -> list[dict[str, Any]]:
        """Return every span, with ``service`` of its resource and ``attributes`` as a dict."""
        return self._items("/v1/traces", "resourceSpans", "scopeSpans", "spans")

    def metrics(self) -> list[dict[str, Any]]:
        """Return every metric, in the same form."""
        return self._items("/v1/metrics", "resourceMetrics", "scopeMetrics", "metrics")

    def logs(self) -> list[dict[str, Any]]:
        """Return every log line, in the same form."""
        return self._items("/v1/logs", "resourceLogs", "scopeLogs", "logRecords")

    def behave(self, **mode: float) -> None:
        """Answer with ``status``, after ``delay_s``."""
        url, body = f"{self.url}/mode", json.dumps(mode).encode()
        request = Request(url, body, method="PUT")  # noqa: S310 - of loopback
        urlopen(request).close()  # noqa: S310 - of loopback

    def _items(self, path: str, of: str, scopes: str, items: str) -> list[dict[str, Any]]:
        with urlopen(f"{self.url}/received") as answer:  # noqa: S310 - of loopback
            received = json.load(answer)[path]
        return [
            {
                **item,
                "service": attributes_of(resource["resource"])["service.name"],
                "namespace": attributes_of(resource["resource"]).get("service.namespace", ""),
                "attributes": attributes_of(item),
            }
            for request in received
            for resource in request[of]
            for scope in resource[scopes]
            for item in scope[items]
        ]


def attributes_of(thing: dict[str, Any]) -> dict[str, Any]:
    """Return attributes without the names of their types."""
    return {
        attribute["key"]: next(iter(attribute["value"].values()))
        for attribute in thing.get("attributes", [])
    }


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector until the context ends."""
    command = [sys.executable, "-m", "tests.support.otlp_receiver"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Collector(process.stdout.readline().strip())
        finally:
            process.terminate()


def main() -> None:
    """Listen on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main()
