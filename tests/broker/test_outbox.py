"""Who may store events, as the credentials of a pod can say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import bus as buses
from broker.deliveries import ensure_consumer
from broker.outbox import Outbox, events_for
from model import subjects
from model.errors import NatsUnavailable
from tests.support.nats import NatsServer

MAIL = subjects.emitted(subjects.component("shop", "mail", "a" * 32))
OTHER = subjects.emitted(subjects.component("shop", "mail", "b" * 32))
USERS = f"""
authorization {{ users: [
    {{ user: platform, password: x }}
    {{ user: pod, password: x, permissions: {{
        publish: ["inbox.pod.>", "inbox.pod-many.>", "{MAIL}"]
        subscribe: ["inbox.pod.>", "inbox.pod-many.>", "{subjects.PODS_GONE}"]
    }} }}
] }}
"""


async def test_a_pod_can_be_confined_to_the_events_of_its_dependencies(tmp_path: Path) -> None:
    with NatsServer(tmp_path, USERS) as server:
        as_user = server.url.replace("nats://", "nats://{}:x@")
        async with (
            buses.connect(as_user.format("platform"), process_id="platform") as platform,
            buses.connect(as_user.format("pod"), process_id="pod") as pod,
        ):
            await ensure_consumer(platform)
            outbox = Outbox(pod)

            assert await outbox.store(MAIL, b"event", deduplication_id="key")
            with pytest.raises(NatsUnavailable):
                await outbox.store(OTHER, b"event", timeout_s=0.2)

            assert await events_for(platform, "a" * 32) == 1
            assert await events_for(platform, "b" * 32) == 0
