"""Fail what a dead pod leaves unanswered: the requests and streams that it had, and no others.

A requester does not know which pod of a component version has received its request: NATS chooses.
So the notice of a death names the other pods that may serve the version. The requester asks each
of them which of its requests it handles, on a subject that only this pod serves. A request that no
pod handles was with the dead one. The pod tells only the owner of a reply subject which others of
it there are: whoever knows one can send the answer.

A pod that was cut off from NATS says so when it is connected again, with an empty notice: see
``lost_requests``. If a notice says that a pod is cut off, the requests that no pod handles fail as
lost, and ``broker.dispatch.event_sender`` sends an event again if that is safe.

A pod follows only the versions that it has sent something to: a death does not wake all pods.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from broker.nats.held_requests import decode_held
from broker.nats.ignored_messages import IgnoredMessages
from broker.nats.inbox import Inbox
from broker.nats.lost_requests import LostRequests
from broker.nats.requester import Requester
from broker.streams.registry import StreamRegistry
from kubefox import subjects
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import DeadlineExceeded, InvalidEvent, NatsUnavailable, NoPodReady
from kubefox.formats import POD_ID
from kubefox.scaling import MAX_REPLICAS

logger = logging.getLogger(__name__)

CLAIM_S = 3.0
"""How long a pod may take to answer which requests it handles; a dead one is noticed at once."""

CLAIMS = 3
"""How often a pod is asked that does not answer: its event loop may be blocked. One that is blocked
for longer than all this is killed before, see ``FOX_POD_LIVENESS_S``."""

MAX_FOLLOWED = 8_192
"""Component versions that a pod follows at once; twice as many as ``EventSender`` remembers."""

MAX_OTHERS = 2 * MAX_REPLICAS
"""Pods that a notice may name; each of them is asked."""


class Subscribe(Protocol):
    """Subscribes to a subject; see ``nats.aio.client.Client.subscribe``."""

    async def __call__(self, subject: str, *, cb: Callable[[Msg], Awaitable[None]]) -> Subscription:
        """Return the subscription."""


class PodGone(msgspec.Struct, frozen=True, kw_only=True):
    """The notice on ``subjects.pods_gone``: a pod has ended, and may have left events unanswered.

    Attributes:
        subject: Subject of its component version.
        pod: Its id; empty if it may still answer its requests: then it is among ``others``.
        others: Ids of the pods that may handle events of the version. Some of them may be dead.
        is_cut_off: Whether the pod may only be cut off from NATS, with its pod runner.
    """

    subject: str
    pod: str = ""
    others: tuple[str, ...] = ()
    is_cut_off: bool = False


encode_notice = msgspec.msgpack.Encoder().encode
_decode_notice = msgspec.msgpack.Decoder(PodGone).decode


def _fault_of(notice: PodGone, target: str) -> str:
    """Return why a notice is not valid; empty if it is."""
    if notice.subject != target:
        return f"the notice is about {notice.subject}"
    if len(notice.others) > MAX_OTHERS:
        return f"the notice names {len(notice.others):,} pods: expected {MAX_OTHERS:,} at most"
    ids = (notice.pod, *notice.others) if notice.pod else notice.others
    # The ids become parts of subjects.
    return next(filter(None, map(POD_ID.fault, ids)), "")


class GonePods:
    """Fails the requests and streams of one process that were with a dead pod.

    Args:
        bus: Asks the other pods.
        inbox: The requests of this process.
        lost: Looks for the requests that went to a pod that was cut off.
        streams: The streams of this process.
        malformed: Counts the notices that cannot be read.
        subscribe: Subscribes to a subject.
    """

    def __init__(
        self,
        bus: Requester,
        inbox: Inbox,
        lost: LostRequests,
        streams: StreamRegistry,
        malformed: IgnoredMessages,
        subscribe: Subscribe,
    ) -> None:
        self._bus = bus
        self._inbox = inbox
        self._lost = lost
        self._streams = streams
        self._malformed = malformed
        self._subscribe = subscribe
        self._follows_all = False
        # The version that was followed last is the last one.
        self._followed: OrderedDict[str, Subscription | None] = OrderedDict()
        self._asking: set[asyncio.Task[None]] = set()

    async def follow_all(self) -> None:
        """Follow all component versions."""
        self._follows_all = True
        await self._subscribe(subjects.PODS_NOTICES, cb=self.receive)

    async def follow(self, target: str) -> None:
        """Follow the component version at ``target``, before something is sent to it.

        The server processes the commands of a connection in order, so the death of a pod that gets
        what is sent after this is noticed.
        """
        if self._follows_all or not subjects.is_component(target):
            return
        if target in self._followed:
            self._followed.move_to_end(target)
            return
        self._followed[target] = None
        self._followed[target] = await self._subscribe(
            subjects.pods_notices(target), cb=self.receive
        )
        if len(self._followed) > MAX_FOLLOWED:
            _, oldest = self._followed.popitem(last=False)
            if oldest is not None:
                await oldest.unsubscribe()

    async def receive(self, message: Msg) -> None:
        """Handle a notice."""
        target = subjects.target_of_notice(message.subject)
        if message.subject == subjects.pods_back(target):
            self._lost.look_at(target)
            return
        try:
            notice = _decode_notice(message.data)
        except DECODE_ERRORS as error:
            self._malformed.note(message.subject, error)
            return
        if fault := _fault_of(notice, target):
            self._malformed.note(message.subject, InvalidEvent(fault))
            return
        if not notice.others:
            self._inbox.fail_subject(notice.subject)
            self._streams.fail_subject(notice.subject)
            return
        if notice.pod:
            self._streams.fail_peers(subjects.pod_reply_prefix(notice.pod))
        waiting = self._inbox.waiting_for(notice.subject)
        if waiting:
            fail = self._inbox.fail_lost if notice.is_cut_off else self._inbox.fail_gone
            task = asyncio.create_task(self._fail_unclaimed(waiting, notice.others, fail))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _fail_unclaimed(
        self, waiting: frozenset[str], pods: tuple[str, ...], fail: Callable[[frozenset[str]], None]
    ) -> None:
        """Fail those requests of ``waiting`` that none of the pods handles."""
        try:
            held = await asyncio.gather(*map(self._held, pods))
        except NatsUnavailable as error:
            # All requests have failed with the connection, or are in doubt.
            logger.debug("pods do not say which requests they handle: %s", error)
            return
        fail(waiting.difference(*held))

    async def _held(self, pod: str) -> frozenset[str]:
        """Return the requests of this process that a pod handles; none if it is dead or hangs.

        Raises:
            NatsUnavailable: The connection is down.
        """
        for _ in range(CLAIMS):
            try:
                answer = await self._bus.request(subjects.pod(pod), b"", CLAIM_S)
                return frozenset(decode_held(answer).held)
            except DeadlineExceeded as error:
                logger.debug("pod %s does not say which requests it handles: %s", pod, error)
            except (NoPodReady, *DECODE_ERRORS) as error:
                logger.debug("pod %s does not say which requests it handles: %s", pod, error)
                break
        return frozenset()
