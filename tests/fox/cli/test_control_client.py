from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fox.cli.support.control_client import ControlClient, NoPlatform
from kubefox.errors import (
    BodyTooLarge,
    DeploymentNotFound,
    FoxError,
    InternalError,
    InvalidRequest,
    Problem,
    ProblemsFound,
)

Respond = Callable[[http.server.BaseHTTPRequestHandler], None]
JSON = "application/json"
PROBLEM = "application/problem+json"


@contextmanager
def server(respond: Respond) -> Iterator[str]:
    """A real HTTP server that answers every request in the same way."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def do_PUT(self) -> None:
            respond(self)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def answer(status: int, body: bytes, media: str = JSON) -> Respond:
    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("content-type", media)
        request.send_header("content-length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return respond


def test_path_segments_are_escaped_and_query_parameters_of_none_left_out() -> None:
    targets = []

    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        targets.append(request.path)
        answer(200, b"[1]")(request)

    with server(respond) as url:
        found = ControlClient(f"{url}/prefix/").get("v1", "a/b ü", x=None, y=["1", "2"])

    assert found == [1]
    assert targets == ["/prefix/v1/a%2Fb%20%C3%BC?y=1&y=2"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (404, b'{"code": "deployment_not_found", "detail": "no x"}', DeploymentNotFound),
        (500, b'{"code": "of a later version", "detail": "no x"}', InternalError),
        (413, b'{"code": "body_too_large", "detail": "no x"}', BodyTooLarge),
    ],
)
def test_problem_details_are_raised_as_fox_errors(
    status: int, body: bytes, expected: type[FoxError]
) -> None:
    with server(answer(status, body, PROBLEM)) as url, pytest.raises(expected, match="no x"):
        ControlClient(url).get("v1", "deployments", "x")


def test_a_422_is_raised_with_its_list_of_problems() -> None:
    body = (
        b'{"code": "problems_found", "detail": "no", "status": 422,'
        b' "problems": [{"type": "T", "message": "m", "path": "p"}]}'
    )
    with server(answer(422, body, PROBLEM)) as url, pytest.raises(ProblemsFound) as found:
        ControlClient(url).put("v1", "environments", "x", body={})

    assert found.value.problems == (Problem(type="T", message="m", path="p"),)


@pytest.mark.parametrize(
    "respond",
    [
        answer(404, b"<h1>Not here</h1>", "text/html"),
        answer(200, b"<h1>Hello</h1>", "text/html"),
        answer(500, b"[", PROBLEM),
    ],
)
def test_a_response_of_another_server_is_reported(respond: Respond) -> None:
    with server(respond) as url, pytest.raises(InternalError, match="is not a control API"):
        ControlClient(url).get("v1", "version")


def test_a_closed_connection_is_reported_as_unreachable() -> None:
    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        request.close_connection = True

    with server(respond) as url, pytest.raises(NoPlatform, match="cannot be reached"):
        ControlClient(url).get("v1", "version")


def test_a_silent_server_is_reported_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(NoPlatform, match="does not answer in time"):
            ControlClient(url, timeout_s=0.05).get("v1", "version")


def test_an_upload_reports_each_sent_chunk() -> None:
    received = []

    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        received.append(request.rfile.read(int(request.headers["content-length"])))
        answer(204, b"")(request)

    pieces: list[int] = []
    content = b"x" * 150_000
    with server(respond) as url:
        ControlClient(url).upload("v1", "bundles", "h", content=content, on_sent=pieces.append)

    assert received == [content]
    assert sum(pieces) == len(content)
    assert len(pieces) == 3


def test_an_upload_that_is_refused_early_raises_the_servers_error() -> None:
    body = b'{"code": "body_too_large", "detail": "over 1 MiB"}'
    with server(answer(413, body, PROBLEM)) as url, pytest.raises(FoxError) as refused:
        ControlClient(url).upload(
            "v1", "bundles", "h", content=b"x" * (16 << 20), on_sent=lambda _: None
        )

    # Whether the answer is read before the connection is reset is the kernel's choice.
    assert isinstance(refused.value, BodyTooLarge | NoPlatform)


def test_ndjson_lines_are_yielded_one_by_one() -> None:
    with server(answer(200, b'{"a": 1}\n\n{"a": 2}\n')) as url:
        assert list(ControlClient(url).lines("v1", "logs")) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8081", "ftp://host", "http://", "http://[", "http://host:99999"]
)
def test_a_url_that_is_not_valid_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequest, match="is not valid"):
        ControlClient(url)
