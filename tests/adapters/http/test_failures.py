"""Failures on real sockets, as problem documents or plain text."""

from __future__ import annotations

import msgspec
import pytest

from adapters.http.server import HttpAdapter
from broker.dispatch.broker import Broker
from broker.nats.bus import Bus
from fox import Context, Kit
from kubefox import subjects
from kubefox.component import short
from tests.adapters.http.echo import HERE, problem
from tests.adapters.http.raw import ask
from tests.support.data_plane import APP, SETTINGS, DataPlane, digest, open_data_plane
from tests.support.nats import NatsServer


@pytest.mark.parametrize(
    "data",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_an_invalid_request_is_400_without_a_traceback(
    echo: int, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await ask(echo, data)

    assert problem(answer) == (400, "invalid_request")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/?kf-dep=v1", 400, "invalid_selector"),
        ("/?kf-dep=v1&kf-dep=v2", 400, "invalid_selector"),
        ("/?kf-dep=none&kf-ve=team-a", 404, "deployment_not_found"),
        ("/?kf-dep=v1&kf-ve=none", 404, "environment_not_found"),
        ("/?kf-ve=team-a", 404, "release_not_found"),
        ("/", 404, "route_not_found"),
        (f"/x?{HERE}", 503, "no_pod_ready"),
        (f"/y?{HERE}", 404, "route_not_found"),
    ],
)
async def test_a_failure_is_a_problem_document(
    plane: DataPlane, adapter: HttpAdapter, target: str, status: int, code: str
) -> None:
    kit = Kit()
    kit.route("Path(`/x`)")(kit.default)  # type: ignore[arg-type]
    await plane.deploy("v1", {"web": kit})

    answer = await ask(adapter.port, f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert problem(answer) == (status, code)
    assert answer.all("retry-after") == (["1"] if status == 503 else [])
    known = [answer.all(f"kubefox-{name}") for name in ("app-deployment", "virtual-environment")]
    assert known == ([["v1"], ["team-a"]] if HERE in target else [[], []])


@pytest.mark.parametrize(
    ("accept", "is_text"),
    [
        ("text/plain", True),
        ("text/plain, application/json;q=0.5", True),
        ("text/plain;q=0.9, */*;q=0.8", True),
        ("text/html, */*;q=0.1", False),
        ("*/*", False),
        ("text/plain;q=0.5, application/problem+json", False),
        ("text/plain;q=many", False),
        (";;,q=,", False),
        ("", False),
    ],
)
async def test_a_failure_is_plain_text_if_the_client_prefers_it(
    adapter: HttpAdapter,
    accept: str,
    is_text: bool,
) -> None:
    request = f"GET /?kf-ve=none HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n"

    answer = await ask(adapter.port, request.encode())

    assert answer.status == 404
    if is_text:
        event_id = answer.header("kubefox-event-id")
        assert answer.header("content-type") == "text/plain; charset=utf-8"
        assert answer.body.decode().startswith("404 environment_not_found: ")
        assert answer.body.decode().endswith(f"\nevent {event_id}\n")
    else:
        assert problem(answer) == (404, "environment_not_found")


async def test_an_invalid_request_is_refused_in_plain_text_too(adapter: HttpAdapter) -> None:
    request = b"GET /?kf-dep= HTTP/1.1\r\nHost: x\r\nAccept: text/plain\r\n\r\n"

    answer = await ask(adapter.port, request)

    assert answer.status == 400
    assert answer.body.startswith(b"400 invalid_selector: ")


async def test_the_cause_of_a_failed_handler_is_not_sent(
    plane: DataPlane, adapter: HttpAdapter
) -> None:
    kit = Kit()

    @kit.route("All()")
    async def fail(ctx: Context) -> None:
        raise ValueError("internal")

    await plane.deploy("v1", {"web": kit})
    await plane.start("web", kit)
    await plane.release("team-a", "v1")

    answer = await ask(adapter.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert problem(answer) == (500, "component_failed")
    assert answer.json()["hop"] == f"web@{short(digest('v1'))}"
    assert b"internal" not in answer.body


async def test_an_internal_error_is_logged_and_its_cause_is_not_sent(
    plane: DataPlane,
    adapter: HttpAdapter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("internal")

    monkeypatch.setattr(Broker, "resolve", fail)

    answer = await ask(adapter.port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert problem(answer) == (500, "internal_error")
    assert b"internal" not in answer.body.replace(b"internal_error", b"")
    assert f"event {answer.header('kubefox-event-id')} failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_an_event_without_a_response_in_time_is_504(
    own_nats_server: NatsServer,
) -> None:
    settings = msgspec.structs.replace(SETTINGS, event_ttl_s=0.05)
    async with (
        open_data_plane(own_nats_server.url, settings) as plane,
        HttpAdapter(plane.broker, settings) as adapter,
    ):
        await plane.virtual_environment("team-a")
        await plane.deploy("v1", {"web": await silent(plane.broker.bus)})

        answer = await ask(adapter.port, f"GET /?{HERE} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    assert problem(answer) == (504, "deadline_exceeded")
    assert str(answer.json()["hop"]).startswith("web@")


async def silent(bus: Bus) -> Kit:
    """Return a kit whose events are received and never answered."""

    async def keep(_payload: bytes, _reply: str) -> None: ...

    await bus.serve(subjects.requests_to(subjects.component(APP, "web", digest("v1"))), keep)
    kit = Kit()
    kit.route("All()")(kit.default)  # type: ignore[arg-type]
    return kit
