"""The HTTP adapter speaks TLS with a certificate of its own, and nothing else then."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from adapters.http.server import READY_PATH
from tests.support.certificates import Authority, serial_in, serial_of
from tests.support.http_serving import HttpServing, serve_http
from tests.support.nats import NatsServer


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def serving(
    nats_server: NatsServer, authority: Authority, tmp_path: Path
) -> AsyncIterator[HttpServing]:
    certificate, key = await asyncio.to_thread(authority.issue, "http")
    environ = {"FOX_HTTP_TLS_CERT": str(certificate), "FOX_HTTP_TLS_KEY": str(key)}
    async with serve_http(nats_server, tmp_path / "log", **environ) as serving:
        yield serving


async def served_serial(port: int, context: ssl.SSLContext) -> int:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    serial = serial_of(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    return serial


async def test_clients_speak_tls_and_get_a_new_certificate(
    serving: HttpServing, authority: Authority
) -> None:
    context = await asyncio.to_thread(authority.client_context)
    url = f"https://127.0.0.1:{serving.port}{READY_PATH}"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        async with session.get(url) as before:
            text = await before.text()
        file, _ = await asyncio.to_thread(authority.issue, "http")
        expected = serial_in(file)

        while await served_serial(serving.port, context) != expected:
            await asyncio.sleep(0.05)

        async with session.get(url) as after:
            assert after.status == HTTPStatus.OK
    assert text == "ready\n"


async def test_plain_text_gets_no_answer(serving: HttpServing) -> None:
    url = f"http://127.0.0.1:{serving.port}{READY_PATH}"

    with pytest.raises(aiohttp.ClientError):
        async with aiohttp.request("GET", url):
            pass


async def test_a_client_that_does_not_finish_its_handshake_keeps_no_process(
    serving: HttpServing,
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", serving.port)
    writer.write(b"\x16\x03\x01")
    await asyncio.sleep(0)

    serving.process.terminate()
    code = await serving.wait_ended()

    assert code == 0
    writer.close()
