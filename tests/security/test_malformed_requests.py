"""Requests to the control API that are no valid HTTP fill no log, and bring no token into it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp.http_exceptions import BadHttpMessage

from control.api.malformed_requests import MalformedRequests
from tests.control.api.client import Client
from tests.security.test_control_tokens import open_client
from tests.support.control_plane import open_plane
from tests.support.nats import NatsServer
from tests.support.owner import OWNERS_TOKEN


@pytest.fixture
async def client(own_nats_server: NatsServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        plane = await stack.enter_async_context(open_plane(own_nats_server.url))
        yield await open_client(stack, plane, tmp_path / "api")


async def send(client: Client, content: bytes) -> bytes:
    """Return the answer to some bytes."""
    url = urlsplit(client.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        writer.write(content)
        return await reader.read()
    finally:
        writer.close()


async def test_a_malformed_request_brings_no_token_into_the_log(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    request = (
        "GET /v1/version HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        f"authorization: Bearer {OWNERS_TOKEN}\x01\r\n\r\n"
    )

    answer = await send(client, request.encode())

    assert b" 400 " in answer
    assert OWNERS_TOKEN not in caplog.text
    assert "Traceback" not in caplog.text
    assert "refused malformed requests: 1, the last one from 127.0.0.1" in caplog.text


def test_malformed_requests_are_logged_once_a_second() -> None:
    requests = MalformedRequests(iter((0.0, 0.5, 0.9, 1.0, 1.5)).__next__)
    records = [_record(BadHttpMessage("secret")) for _ in range(5)]

    logged = [record.getMessage() for record in records if requests.filter(record)]

    assert [message.partition(",")[0][-2:] for message in logged] == [" 1", " 3"]
    assert "secret" not in str(logged)


def test_other_faults_are_logged_as_they_are() -> None:
    record = _record(RuntimeError("a bug"))

    assert MalformedRequests().filter(record)
    assert record.exc_info is not None


def _record(error: Exception) -> logging.LogRecord:
    details = (type(error), error, None)
    return logging.LogRecord("server", logging.ERROR, "", 0, "from %s", ("192.0.2.1",), details)
