"""No message of a pod becomes a NATS command of another process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from broker.nats import bus as buses
from broker.nats.bus import Bus
from broker.nats.gone_pods import MAX_OTHERS, PodGone, encode_notice
from kubefox import subjects
from kubefox.errors import ComponentGone, InvalidEvent
from tests.support.nats import NatsServer

FOREVER_S = 60
ME = subjects.component("shop", "evil", "1")
RECORD = "$KV.kubefox.deployment.v1"
COMMAND = f"x 0\r\n\r\nPUB {RECORD} 5\r\nowned\r\nPUB x"


@pytest.fixture
async def platform(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="platform") as bus:
        yield bus


@pytest.fixture
async def pod(own_nats_server: NatsServer) -> AsyncIterator[Bus]:
    async with buses.connect(own_nats_server.url, process_id="evil-1") as bus:
        yield bus


@pytest.fixture
async def written(platform: Bus) -> list[bytes]:
    """The messages published to a record of the control plane."""
    found: list[bytes] = []

    async def note(payload: bytes, _reply: str) -> None:
        found.append(payload)

    await platform.serve(RECORD, note)
    return found


@pytest.mark.parametrize(
    "others",
    [(COMMAND,), ("a b",), ("a\tb",), ("",), ("*",), ("a.b",), ("a",) * (MAX_OTHERS + 1)],
    ids=["command", "space", "tab", "empty", "wildcard", "tokens", "many"],
)
async def test_the_ids_in_a_notice_of_a_dead_pod_are_checked(
    platform: Bus, pod: Bus, written: list[bytes], others: tuple[str, ...]
) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    async def hold(payload: bytes, _reply: str) -> None:
        await received.put(payload)

    await pod.serve(subjects.requests_to(ME), hold, "pods")
    await pod.flush()
    request = asyncio.create_task(platform.request(f"{ME}.adapter/http", b"", FOREVER_S))
    await received.get()

    for named in (others, ("not-there",)):
        notice = PodGone(subject=ME, pod="evil-1", others=named)
        await pod.publish(subjects.pods_gone(ME), encode_notice(notice))

    with pytest.raises(ComponentGone):
        await request
    assert platform.malformed.count == 1
    assert written == []


@pytest.mark.parametrize("subject", [COMMAND, "a b", "a\tb", "a\nb", "a\rb", "a\x00b"])
async def test_a_subject_of_several_words_is_refused(
    platform: Bus, written: list[bytes], subject: str
) -> None:
    with pytest.raises(InvalidEvent, match="expected one word"):
        await platform.request(subject, b"", FOREVER_S)
    with pytest.raises(InvalidEvent, match="expected one word"):
        await platform.publish(subject, b"")

    await platform.flush()
    assert platform.is_ready
    assert written == []
