"""The death of one of several pods fails the requests and streams that it had, and no others."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from broker.dispatch.event_sender import EventSender
from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.nats import bus as buses
from broker.nats import gone_pods
from broker.nats.bus import Bus
from broker.nats.gone_pods import PodGone, encode_notice
from broker.streams.incoming import IncomingStream
from kubefox import codec, subjects
from kubefox.errors import ComponentGone
from kubefox.event import Event
from kubefox.senders import Sender
from tests.support.nats import NatsServer
from tests.support.questions import Questions
from tests.support.quick_pod import QuickPod
from tests.support.receiving import FOREVER_S
from tests.support.senders import sent_by
from tests.support.waiting_pod import API, BY_TEST, WaitingPod, frame, serving


async def test_a_death_fails_the_requests_of_the_dead_pod_only(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    alive, dead = WaitingPod("alive"), WaitingPod("dead")
    async with serving(own_nats_server.url, alive), serving(own_nats_server.url, dead):
        requests = [
            asyncio.create_task(bus.request(BY_TEST, frame(), FOREVER_S)) for _ in range(40)
        ]
        while alive.held + dead.held < len(requests):
            await asyncio.sleep(0.001)
        # It dies without an answer: its requester never sees these replies.
        lost = dead.held
        notice = PodGone(subject=API, pod="dead", others=("alive", "not-there"))

        await bus.publish(subjects.pods_gone(API), encode_notice(notice))
        done, waiting = await asyncio.wait(
            requests, return_when=asyncio.FIRST_EXCEPTION, timeout=FOREVER_S
        )
        failed = [task for task in requests if task.done()]
        alive.released.set()
        answers = await asyncio.gather(*waiting)
        dead.released.set()

    assert 0 < lost < len(requests)
    assert len(done) == len(failed) == lost
    for task in failed:
        with pytest.raises(ComponentGone, match="died with the request"):
            await task
    assert [codec.decode_response(answer)[1] for answer in answers] == [b"alive"] * alive.held


async def test_a_death_fails_no_request_of_a_pod_that_is_blocked(
    bus: Bus, own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone_pods, "CLAIM_S", 0.05)
    monkeypatch.setattr(gone_pods, "CLAIMS", 1_000_000)
    pod, questions = QuickPod(), Questions()
    async with pod.running(own_nats_server.url, "blocked"):
        await questions.follow(bus, subjects.pod("blocked"))
        await pod.block()
        requests = [asyncio.create_task(bus.request(BY_TEST, frame(), FOREVER_S)) for _ in range(9)]
        while bus.in_flight < len(requests):
            await asyncio.sleep(0.001)
        notice = PodGone(subject=API, pod="dead", others=("blocked",))

        await bus.publish(subjects.pods_gone(API), encode_notice(notice))
        await questions.wait(3, requests)
        pod.unblock()
        await asyncio.gather(*requests)

    assert len(pod.handled) == len(requests)


async def test_a_death_breaks_the_streams_of_the_dead_pod_only(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    url = own_nats_server.url
    async with (
        buses.connect(url, process_id="alive-1") as alive,
        buses.connect(url, process_id="dead-1") as dead,
    ):
        outgoing = [other.streams.open_outgoing() for other in (alive, dead)]
        kept, lost = (bus.streams.open_incoming(stream.subject, API) for stream in outgoing)
        notice = PodGone(subject=API, pod="dead", others=("alive",))

        await bus.publish(subjects.pods_gone(API), encode_notice(notice))
        with pytest.raises(ComponentGone):
            await anext(lost)

        assert kept.is_open
        kept.close()
        for stream in outgoing:
            stream.abort()


async def test_a_pod_that_drains_without_its_runner_keeps_its_requests(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    pod = WaitingPod("drains")
    async with serving(own_nats_server.url, pod):
        request = asyncio.create_task(bus.request(BY_TEST, frame(), FOREVER_S))
        while not pod.held:
            await asyncio.sleep(0.001)
        notice = PodGone(subject=API, others=("drains",))

        await bus.publish(subjects.pods_gone(API), encode_notice(notice))
        await bus.flush()
        # The pod has answered the question before it answers the request.
        await asyncio.wait([request], timeout=0.1)
        pod.released.set()

        assert codec.decode_response(await request)[1] == b"drains"


async def test_a_pod_is_told_only_of_versions_that_it_sends_to(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    pod = WaitingPod("alive")
    connections = [
        buses.connect(own_nats_server.url, process_id=f"caller-{number}", follows_all_pods=False)
        for number in range(20)
    ]
    async with serving(own_nats_server.url, pod), contextlib.AsyncExitStack() as callers:
        caller, *idle = [await callers.enter_async_context(made) for made in connections]
        sender = EventSender(caller, Sender("shop", "test"), follow=caller.follow_pods)
        event, _ = codec.decode_event(frame())
        request = asyncio.create_task(
            sender.request(API, event, frame(), FOREVER_S, idempotent=False)
        )
        while not pod.held:
            await asyncio.sleep(0.001)

        await bus.publish(subjects.pods_gone(API), encode_notice(PodGone(subject=API)))
        with pytest.raises(ComponentGone):
            await request

        assert [followed(each) for each in idle] == [set()] * len(idle)
        assert followed(caller) == {subjects.pods_notices(API)}
        pod.released.set()


def followed(bus: Bus) -> set[str]:
    """Return the subjects on which a process learns of dead pods."""
    found = {subscription.subject for subscription in bus._client._subs.values()}
    return {subject for subject in found if subject.startswith("pods.*.")}


async def test_a_body_breaks_when_the_pod_that_sends_it_dies(
    bus: Bus, own_nats_server: NatsServer
) -> None:
    url, broken = own_nats_server.url, asyncio.Event()
    source, sender = f"ui@{'b' * 32}", subjects.component("shop", "ui", "b" * 32)

    async def read(_event: Event, body: IncomingStream) -> Reply:
        try:
            await body.discard()
        except ComponentGone:
            broken.set()
        return Reply()

    pod = WaitingPod("reads")
    async with (
        buses.connect(url, process_id="reads-1", follows_all_pods=False) as reading,
        receive(reading, API, "pods", pod.handle, source="api@1", handle_stream=read),
        buses.connect(url, process_id="dead-1") as dead,
    ):
        outgoing = dead.streams.open_outgoing()
        event, _ = codec.decode_event(frame())
        event = msgspec.structs.replace(event, source=source, stream=outgoing.subject)
        request = asyncio.create_task(
            dead.request(sent_by(source, API), codec.encode(event), FOREVER_S, outgoing)
        )
        while not outgoing.is_opened:
            await asyncio.sleep(0.001)

        notice = PodGone(subject=sender, pod="dead", others=("not-there",))
        await bus.publish(subjects.pods_gone(sender), encode_notice(notice))

        await broken.wait()
        assert followed(reading) == {subjects.pods_notices(sender)}
        outgoing.abort()
        request.cancel()


async def test_a_pod_follows_a_bounded_number_of_versions(
    own_nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gone_pods, "MAX_FOLLOWED", 3)
    versions = [subjects.component("shop", "api", digit * 32) for digit in "abcd"]
    connecting = buses.connect(own_nats_server.url, process_id="one", follows_all_pods=False)

    async with connecting as bus:
        for target in (*versions[:3], versions[0], versions[3], subjects.adapter("state-store")):
            await bus.follow_pods(target)

        kept = (versions[0], versions[2], versions[3])
        assert followed(bus) == {subjects.pods_notices(target) for target in kept}
