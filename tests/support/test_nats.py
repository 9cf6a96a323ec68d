import asyncio
from pathlib import Path

import nats
import pytest

from tests.support.nats import NatsServer


async def test_a_server_keeps_its_port_and_its_data_over_a_kill(tmp_path: Path) -> None:
    with NatsServer(tmp_path) as server:
        first_url = server.url
        client = await nats.connect(server.url)
        bucket = await client.jetstream().create_key_value(bucket="kept")
        await bucket.put("key", b"value")
        await client.close()

        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)

        client = await nats.connect(server.url)
        bucket = await client.jetstream().key_value("kept")
        assert (await bucket.get("key")).value == b"value"
        assert server.url == first_url
        await client.close()


async def test_two_servers_share_nothing(
    nats_server: NatsServer, own_nats_server: NatsServer
) -> None:
    client = await nats.connect(own_nats_server.url)

    streams = await client.jetstream().streams_info()

    assert streams == []
    assert own_nats_server.port != nats_server.port
    await client.close()


def test_a_server_that_cannot_start_reports_the_reason(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, config="write_deadline: never")

    with pytest.raises(RuntimeError, match="write_deadline"):
        server.start()
