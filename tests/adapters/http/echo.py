"""A component behind the adapter, and what its answers must look like."""

from __future__ import annotations

from collections.abc import Callable

from broker.receiver import Reply, receive
from fox import Kit
from model import subjects
from model.codec import Body
from model.event import Event
from tests.adapters.http.raw import Answer
from tests.support.data_plane import APP, DataPlane, digest

LIMIT_BYTES = 100_000
HERE = "kf-dep=v1&kf-ve=team-a"


async def answer_with(plane: DataPlane, reply: Callable[[Event], Reply]) -> None:
    """Deploy a component that answers what no kit would, and release it."""
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


def problem(answer: Answer) -> tuple[int, object]:
    """Return status and code of a failure, which must look as all failures do."""
    content = answer.json()
    assert answer.header("content-type") == "application/problem+json"
    assert content["status"] == answer.status
    assert content["event_id"] == answer.header("kubefox-event-id")
    assert content["detail"]
    return answer.status, content["code"]
