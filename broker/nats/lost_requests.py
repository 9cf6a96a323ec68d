"""Fail the requests that were lost with the connection of a pod: no pod has them.

What was on its way to a pod that was cut off from NATS, or from it, is lost without a trace if the
server died. The server that the pod has left may also not know that yet: when the network reaches
this server again, it still sends requests to the connection that nobody reads. So for ``LOST_S``
after a pod says that it was cut off, the pods of its version are asked again and again which
requests they handle. A requester that was cut off itself may have missed that, so it does the same
for all versions.

Silence does not prove that a request is lost: a pod whose event loop is blocked does not answer,
and may have it. So a request fails only if all pods that may have it have answered that they do
not. The pod runner that leads names these pods. A pod without a connection counts as well, because
what it has is lost with its connection; NATS reports at once that it has none. Nothing fails as
long as the runner or one of the other pods does not answer, or if no pod answers. Then the pods are
asked again, until all of them answer or the deadline of the request has passed. A pod that stays
silent is killed, and its death is announced: see ``gone_pods``.

The time since which the runner knows the pods does not matter here, as it does in
``broker.dispatch.recovery``: a pod that has ended has no request any more. An event that it may
have handled is sent again only if it may be handled twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from broker.nats.doubts import ANSWER_S, MAX_ASKED, Doubts
from broker.nats.inbox import Inbox
from broker.nats.requester import Requester
from broker.nats.wake_requests import ask_roster
from kubefox import subjects
from kubefox.errors import FoxError, NatsUnavailable, NoPodReady
from kubefox.senders import Sender

SETTLE_S = 1.0
"""How long after the first notice the pods are asked: others were cut off by the same fault. Also
the pause between two looks."""

LOST_S = 10.0
"""How long requests may be sent to a connection that a pod has left: a server of a cluster notices
within 6 s that nobody reads it."""


class LostRequests:
    """Looks for the requests of one process that were lost.

    Args:
        bus: Asks the pod runner that leads, and single pods.
        inbox: The requests of this process.
        doubts: Asks all pods of a version.
        sender: This process.
    """

    def __init__(self, bus: Requester, inbox: Inbox, doubts: Doubts, sender: Sender) -> None:
        self._bus = bus
        self._inbox = inbox
        self._doubts = doubts
        self._sender = sender
        self._time_s = asyncio.get_running_loop().time
        # Until when requests to each target may be lost, and those to all targets.
        self._until_s: dict[str, float] = {}
        self._all_until_s = 0.0
        # Targets with a notice since the last look.
        self._noticed: set[str] = set()
        # Requests that the next look asks for if they still wait, by their targets.
        self._suspected: dict[str, set[str]] = {}
        self._looking: asyncio.Task[None] | None = None

    def look_everywhere(self) -> None:
        """Ask the pods of all versions again and again: this process was cut off."""
        self._all_until_s = self._time_s() + LOST_S
        self._look()

    def look_at(self, target: str) -> None:
        """Ask the pods of a version soon, and again and again: one of them was cut off."""
        self._noticed.add(target)
        self._until_s[target] = self._time_s() + LOST_S
        self._look()

    def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_until_safe())

    async def _look_until_safe(self) -> None:
        """Look for lost requests as long as there may be some."""
        while self._until_s or self._time_s() < self._all_until_s or self._suspected:
            await asyncio.sleep(SETTLE_S)
            await self._look_once()

    async def _look_once(self) -> None:
        """Ask for the requests that waited before, or of whose target there was a notice since."""
        noticed, self._noticed = self._noticed, set()
        suspected = self._suspected
        waiting = self._inbox.waiting_by_target(
            lambda target: self._may_lose(target) or target in suspected
        )
        losing = frozenset(filter(self._may_lose, waiting))
        asked = {
            target: replies if target in noticed else replies & suspected.get(target, set())
            for target, replies in waiting.items()
        }
        unknown = await asyncio.gather(*(self._fail_lost(*one) for one in asked.items()))
        suspects = {
            target: waiting[target] if target in losing else replies
            for target, replies in zip(asked, unknown, strict=True)
        }
        self._suspected = {target: replies for target, replies in suspects.items() if replies}
        now_s = self._time_s()
        self._until_s = {
            target: until_s for target, until_s in self._until_s.items() if until_s > now_s
        }

    def _may_lose(self, target: str) -> bool:
        """Return whether requests to a target may be lost now."""
        is_any = self._time_s() < self._all_until_s and subjects.is_component(target)
        return is_any or target in self._until_s

    async def _fail_lost(self, target: str, asked: set[str]) -> set[str]:
        """Fail those requests to a version that no pod has.

        Returns:
            The requests of which that is not known.
        """
        roster = await ask_roster(self._bus, self._sender, target) if asked else None
        if roster is None or not roster.pods:
            return asked
        pods, parts = frozenset(roster.pods), list(_parts_of(asked))
        known = await asyncio.gather(*(self._fail_lost_of(target, one, pods) for one in parts))
        unknown = (part for part, is_known in zip(parts, known, strict=True) if not is_known)
        return set(chain.from_iterable(unknown))

    async def _fail_lost_of(self, target: str, asked: frozenset[str], pods: frozenset[str]) -> bool:
        """Fail the requests that none of the pods has, if that is certain; return whether it is."""
        try:
            answers = await self._doubts.ask_pods(target, asked, pods)
        except NatsUnavailable:
            return False
        silent = pods.difference(answers)
        if not answers or any(await asyncio.gather(*map(self._is_connected, silent))):
            return False
        known = (replies for one in answers.values() for replies in (one.held, one.answered))
        self._inbox.fail_lost(asked.difference(*known))
        return True

    async def _is_connected(self, pod: str) -> bool:
        """Return whether a pod that has not answered may still have a connection."""
        try:
            await self._bus.request(subjects.pod(pod), b"", ANSWER_S)
        except NoPodReady:
            return False
        except FoxError:
            return True
        return True


def _parts_of(replies: Iterable[str]) -> Iterator[frozenset[str]]:
    """Return some requests in parts that fit into one question each."""
    left = iter(replies)
    while part := frozenset(islice(left, MAX_ASKED)):
        yield part
