"""Requests whose connection was lost: they wait on while it is found out what became of them.

A pod that receives an event late asks its sender whether it still waits: the event may have lain in
a server that hung, and its sender may have sent it to another pod since. The question is a message
to the event's reply subject, with a reply subject of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from broker.nats.held_requests import HeldRequests, decode_held, encode_question
from broker.nats.inbox import WAITS, Inbox
from broker.nats.lost_connection import ConnectionLost
from broker.nats.requester import GatheringRequester
from kubefox import subjects
from kubefox.errors import DeadlineExceeded, FoxError, NatsUnavailable, NoPodReady

ANSWER_S = 1.0
"""Time for the answers of pods, if not all of them answer."""

MAX_ASKED = 2_000
"""Requests in one question: with 500 bytes for each, it and its answers fit into 1 MiB, the least
limit of a server (``client.LEAST_PAYLOAD_BYTES``)."""


class Doubts:
    """The requests in doubt of one process.

    Args:
        bus: Asks pods and senders.
        inbox: The requests of this process.
    """

    def __init__(self, bus: GatheringRequester, inbox: Inbox) -> None:
        self._bus = bus
        self._inbox = inbox

    def reopen(self, lost: ConnectionLost, subject: str, timeout_s: float) -> None:
        """Wait again for the answer of a request that a lost connection has failed.

        No lost connection fails it again, until ``resume`` is called.
        """
        self._inbox.reopen(lost.reply, subject, timeout_s)

    async def wait(self, reply: str) -> bytes:
        """Return the answer of a request in doubt; see ``Inbox.wait``."""
        return await self._inbox.wait(reply)

    def resume(self, reply: str) -> None:
        """Treat a request like any other: a pod has it."""
        self._inbox.resume(reply)

    def fail(self, reply: str, error: FoxError) -> bool:
        """Fail a request in doubt, unless a pod has asked for it; return whether it waits no more.

        From then on, no pod begins it.
        """
        return self._inbox.fail_in_doubt(reply, error)

    async def ask_pods(
        self, target: str, replies: Iterable[str], pods: frozenset[str]
    ) -> dict[str, HeldRequests]:
        """Ask all pods of a component version for some requests, and return the answers by pod.

        This waits for the pods that are named, and for others as long as for these.

        Args:
            target: The component version.
            replies: Reply subjects of the requests, at most ``MAX_ASKED``.
            pods: Ids of pods; if there are none, this waits for ``ANSWER_S``.

        Raises:
            NatsUnavailable: The connection is down.
        """
        missing = set(pods)

        def is_last(frame: bytes) -> bool:
            missing.discard(_pod_of(frame))
            return bool(pods) and not missing

        question = encode_question(tuple(replies))
        subject = subjects.gone(target)
        frames = await self._bus.gather(subject, question, ANSWER_S, is_last=is_last)
        answers = (answer for frame in frames if (answer := _decoded(frame)) is not None)
        return {answer.pod: answer for answer in answers}

    async def is_awaited(self, reply: str, timeout_s: float) -> bool:
        """Return whether the sender of an event waits for its answer, and says so in time."""
        try:
            return await self._bus.request(reply, b"", timeout_s) == WAITS
        except (NoPodReady, DeadlineExceeded, NatsUnavailable):
            return False


def _decoded(frame: bytes) -> HeldRequests | None:
    try:
        return decode_held(frame)
    except msgspec.MsgspecError:
        return None


def _pod_of(frame: bytes) -> str:
    answer = _decoded(frame)
    return answer.pod if answer is not None else ""
