"""A component with any response, and the check of a problem document."""

from __future__ import annotations

from collections.abc import Callable

from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from fox import Kit
from kubefox import subjects
from kubefox.codec import Body
from kubefox.event import Event
from tests.adapters.http.raw import RawResponse
from tests.support.data_plane import APP, DataPlane, digest

LIMIT_BYTES = 100_000
HERE = "kf-dep=v1&kf-ve=team-a"


async def answer_with(plane: DataPlane, reply: Callable[[Event], Reply]) -> None:
    """Deploy and release a component that responds with what a kit would refuse."""
    kit = Kit()
    kit.route("All()")(kit.default)  # type: ignore[arg-type]
    await plane.deploy("v1", {"web": kit})
    await plane.release("team-a", "v1")

    async def handle(event: Event, _body: Body) -> Reply:
        return reply(event)

    serving = receive(
        plane.broker.bus,
        subjects.component(APP, "web", digest("v1")),
        subjects.PODS_QUEUE,
        handle,
        source="web@1",
    )
    await plane.enter(serving)


def problem(answer: RawResponse) -> tuple[int, object]:
    """Check that a response is a problem document, and return its status and code."""
    content = answer.json()
    assert answer.header("content-type") == "application/problem+json"
    assert content["status"] == answer.status
    assert content["event_id"] == answer.header("kubefox-event-id")
    assert content["detail"]
    return answer.status, content["code"]
