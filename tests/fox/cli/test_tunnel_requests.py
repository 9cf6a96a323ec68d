"""Requests to the control API through a tunnel, which is a relay on loopback here."""

from __future__ import annotations

import contextlib
import http.server
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fox.cli.support.control_client import ControlClient, NoPlatform
from fox.cli.support.credentials import owners_token
from fox.cli.support.route import Address, Endpoint
from fox.data_dir import read_info
from kubefox.errors import Unauthenticated
from tests.support.certificates import Authority

STOP_S = 40
NOWHERE = ("127.0.0.1", 1)
URL = "http://127.0.0.1:8081"


class Relay:
    """Passes connections on to an address, or closes each at once if it leads nowhere."""

    def __init__(self, to: Address | None) -> None:
        self._to = to
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.entrance: Address = self._sockets[0].getsockname()
        self._threads: list[threading.Thread] = []
        self._start(self._serve)

    def close(self) -> None:
        for each in self._sockets:
            # A thread would hold a socket open that is only closed.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(STOP_S)
        for each in self._sockets:
            each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._sockets[0].accept()
                self._sockets.append(client)
                if self._to is None:
                    client.shutdown(socket.SHUT_RDWR)
                    continue
                server = socket.create_connection(self._to)
                self._sockets.append(server)
                self._start(copy, client, server)
                self._start(copy, server, client)

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class RelayRoute(contextlib.AbstractContextManager["RelayRoute"]):
    """Makes a relay to each of some addresses in turn, None for one that leads nowhere."""

    fault = "lost connection to pod"

    def __init__(self, url: str, *leads_to: Address | None, arrival: Address = NOWHERE) -> None:
        self._url = url
        self._arrival = arrival
        self._next = iter(leads_to)
        self._relay: Relay | None = None
        self.made = 0

    def __exit__(self, *_exception: object) -> None:
        self.renew()

    def endpoint(self) -> Endpoint:
        if self._relay is None:
            self._relay = Relay(next(self._next))
            self.made += 1
        return Endpoint(self._url, f"{self._url} in a pod", self._relay.entrance, self._arrival)

    def renew(self) -> None:
        if self._relay is not None:
            self._relay.close()
            self._relay = None


def address_of(url: str) -> Address:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def control_url(platform: Path) -> str:
    info = read_info(platform)
    assert info is not None
    return info.control_url


class Server(http.server.ThreadingHTTPServer):
    """Answers each request by a function, and keeps their heads."""

    def __init__(self, respond: Callable[[http.server.BaseHTTPRequestHandler], None]) -> None:
        self.requests: list[tuple[str, str]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler) -> None:  # noqa: N805 - `self` is the server
                self.requests.append((handler.command, handler.headers["host"]))
                respond(handler)

            do_POST = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(handler, *_: object) -> None:  # noqa: N805
                """Keep quiet."""

        super().__init__(("127.0.0.1", 0), Handler)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Address]:
    with server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield ("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join(STOP_S)


def answer(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("content-length", "2")
    request.end_headers()
    request.wfile.write(b"{}")


def leave(request: http.server.BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def test_the_proof_holds_for_the_port_at_the_other_end_of_the_tunnel(platform: Path) -> None:
    url = control_url(platform)
    control = address_of(url)
    token = owners_token(platform)

    with RelayRoute(url, control, arrival=control) as route:
        version = ControlClient(url, token=token, route=route).get("v1", "version")
    with (
        RelayRoute(url, control) as route,
        pytest.raises(Unauthenticated, match="in a pod does not know the token"),
    ):
        ControlClient(url, token=token, route=route).get("v1", "version")

    assert version["version"]


def test_a_request_that_was_not_sent_goes_through_a_new_tunnel(platform: Path) -> None:
    url = control_url(platform)
    control = address_of(url)
    plan = {"name": "shop", "app": "shop", "components": {}}
    with RelayRoute(url, control, None, control, arrival=control) as route:
        client = ControlClient(url, token=owners_token(platform), route=route)

        client.get("v1", "version")
        route.renew()
        # The second tunnel leads nowhere.
        client.post("v1", "plans", body=plan)

    assert route.made == 3


def test_a_request_that_may_have_been_served_is_sent_again_only_if_it_reads() -> None:
    server = Server(leave)
    with serving(server) as address, RelayRoute(URL, *[address] * 4) as route:
        client = ControlClient(URL, route=route)

        with pytest.raises(NoPlatform, match=r"was lost: .*; kubectl says: lost connection to pod"):
            client.post("v1", "plans", body={})
        with pytest.raises(NoPlatform, match="was lost"):
            client.get("v1", "version")

    assert [method for method, _ in server.requests] == ["POST", "GET", "GET"]


def test_a_request_that_is_not_answered_in_time_is_not_sent_again() -> None:
    ended = threading.Event()
    server = Server(lambda _request: leave(_request) if ended.wait(STOP_S) else None)
    with serving(server) as address, RelayRoute(URL, address, address) as route:
        client = ControlClient(URL, route=route, timeout_s=0.2)

        with pytest.raises(NoPlatform, match="in a pod does not answer in time"):
            client.get("v1", "version")
        ended.set()

    assert len(server.requests) == 1


def test_lines_that_end_with_the_tunnel_are_an_error() -> None:
    def begin(request: http.server.BaseHTTPRequestHandler) -> None:
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("transfer-encoding", "chunked")
        request.end_headers()
        request.wfile.write(b'9\r\n{"a": 1}\n\r\n')
        request.close_connection = True

    with serving(Server(begin)) as address, RelayRoute(URL, address) as route:
        lines = ControlClient(URL, route=route).lines("v1", "logs")

        assert next(lines) == {"a": 1}
        with pytest.raises(NoPlatform, match="was lost"):
            next(lines)


def test_the_certificate_and_the_host_are_those_of_the_server_behind_the_tunnel(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    files = authority.issue("control", "kubefox-control.shop.svc")
    server = Server(answer)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    server.socket = context.wrap_socket(server.socket, server_side=True)

    def version_of(host: str, address: Address) -> object:
        with RelayRoute(f"https://{host}:8081", address) as route:
            url, tls = route.endpoint().url, authority.client_context()
            return ControlClient(url, tls=tls, route=route).get("v1", "version")

    with serving(server) as address:
        found = version_of("kubefox-control.shop.svc", address)
        with pytest.raises(NoPlatform, match="cannot be trusted: Hostname mismatch"):
            version_of("kubefox-control.other.svc", address)

    assert found == {}
    assert server.requests == [("GET", "kubefox-control.shop.svc:8081")]


def test_a_platform_that_has_changed_to_tls_is_not_asked_without() -> None:
    with (
        RelayRoute("https://kubefox-control.shop.svc:8081", None) as route,
        pytest.raises(NoPlatform, match=r"was at http://127\.0\.0\.1:8081 before"),
    ):
        ControlClient(URL, route=route).get("v1", "version")
