"""Announces dead pods, so that the requests that they have left unanswered fail at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping

from broker.nats.bus import Bus
from broker.nats.gone_pods import PodGone, encode_notice
from broker.storage.pod_board import PodBoard
from kubefox import subjects
from kubefox.distill import Version
from kubefox.errors import NatsUnavailable
from kubefox.pod import PodStatus
from pods.supervisor import PodSupervisor


class GoneAnnouncer:
    """Announces the dead pods of one runner, or of another one that has died.

    Args:
        bus: Connection to use.
        board: Names the pods of other runners.
        living: This runner's pods of each version by id, with those that are being stopped. They
            still handle their requests.
        pods_of: Returns further pods that may handle requests; see ``PodDriver.pods_of``.
    """

    def __init__(
        self,
        bus: Bus,
        board: PodBoard,
        living: Mapping[Version, Mapping[str, PodSupervisor]],
        pods_of: Callable[[Version], Collection[str]],
    ) -> None:
        self._bus = bus
        self._board = board
        self._living = living
        self._pods_of = pods_of

    def pods_of(self, version: Version) -> frozenset[str]:
        """Return the NATS ids of all pods of a version, also of those that are being stopped."""
        own = self._living.get(version, {})
        others = (pod.nats_id for pod in self._board.pods_of(version) if pod.id not in own)
        return frozenset((*(pod.nats_id for pod in own.values()), *others, *self._pods_of(version)))

    async def announce(
        self, dead: PodStatus, *, may_drain: bool = False, is_cut_off: bool = False
    ) -> None:
        """Fail the requests that a dead pod has left unanswered.

        Args:
            dead: Status of the pod.
            may_drain: Whether the pod may still live, and answer the requests that it has.
            is_cut_off: See ``PodGone.is_cut_off``.
        """
        others = self.pods_of(dead.version)
        notice = PodGone(
            subject=subjects.component(*dead.version),
            pod="" if may_drain else dead.nats_id,
            others=tuple(others | {dead.nats_id} if may_drain else others - {dead.nats_id}),
            is_cut_off=is_cut_off,
        )
        # Without NATS, every requester has failed its requests already.
        with contextlib.suppress(NatsUnavailable):
            await self._bus.publish(subjects.pods_gone(notice.subject), encode_notice(notice))
