"""SIGTERM ends a process that is not ready yet: here NATS allows it no consumer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from nats.js import api

from broker.nats.bus import connect
from broker.nats.jetstream import ensure_bucket
from broker.storage.records_bucket import BUCKET
from tests.fox.cli.conftest import FOX, STOP_S
from tests.support.keys import KEY_FILE, make_keys
from tests.support.nats import NatsServer

USERS = "users: [ { user: u, password: p } ]"
ONE_CONSUMER = f"accounts {{ platform {{ jetstream {{ max_consumers: 1 }}, {USERS} }} }}"


@pytest.fixture
def full_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server whose account allows one consumer, which another process has."""
    with NatsServer(tmp_path, f"{ONE_CONSUMER}\nno_auth_user: u") as server:
        make_keys(server)
        asyncio.run(take_the_only_consumer(server.url))
        yield server


async def take_the_only_consumer(url: str) -> None:
    async with connect(url, process_id="other") as bus:
        await ensure_bucket(bus, BUCKET)
        await bus.jetstream().add_consumer(f"KV_{BUCKET}", api.ConsumerConfig(durable_name="other"))


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_ends_a_process_that_has_no_snapshot_yet(
    full_nats_server: NatsServer, workers: int
) -> None:
    with subprocess.Popen(
        [*FOX, "serve", "http", "--http-port", "0", "--workers", str(workers)],
        env={**os.environ, **full_nats_server.environ, "FOX_KEY_FILE": str(KEY_FILE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        while "`max_consumers`" not in (line := process.stderr.readline()):
            assert line, "the process has ended"

        process.send_signal(signal.SIGTERM)
        printed, logged = process.communicate(timeout=STOP_S)

    assert process.returncode == 0
    assert printed == ""  # it was never ready
    assert "stopped before the process was ready" in logged
