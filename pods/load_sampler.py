"""Scale the versions of one reconciler: sample the load of their pods, and ask for more or fewer.

Only versions whose maximum is above their minimum are sampled. Without any, nothing runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

import msgspec

from broker.dispatch.pod_load import fetch_load
from broker.nats.bus import Bus
from kubefox.component import short
from kubefox.distill import Version
from kubefox.scaling import Replicas
from pods.autoscaler import Autoscaling, Sample, Windows, decide
from pods.fleet import Fleet

logger = logging.getLogger(__name__)


class LoadSampler:
    """Scales the versions of one fleet.

    Args:
        bus: Connection to the pods.
        fleet: The pods to scale.
        windows: Times of the autoscaler.
    """

    def __init__(self, bus: Bus, fleet: Fleet, windows: Windows) -> None:
        self._bus = bus
        self._fleet = fleet
        self._windows = windows
        self._states: dict[Version, Autoscaling] = {}

    async def run(self) -> None:
        """Scale until cancelled."""
        while True:
            scaled = await self._fleet.replicas.wait_scaled()
            try:
                await self._scale(scaled)
            except Exception:
                logger.exception("the load of pods cannot be sampled")
            await asyncio.sleep(self._windows.sample_s)

    async def _scale(self, scaled: Mapping[Version, Replicas]) -> None:
        samples = await asyncio.gather(*map(self._sample, scaled))
        counts: dict[Version, int] = {}
        states: dict[Version, Autoscaling] = {}
        for (version, limits), sample in zip(scaled.items(), samples, strict=True):
            state = self._states.get(version, Autoscaling())
            if sample is None:
                state = self._inherited(version, state)
            else:
                state = self._adopting(version, state, sample)
                state, counts[version] = decide(state, sample, limits, self._windows)
                _log_change(version, state, counts[version], sample)
            states[version] = state
        self._states = states
        await self._fleet.scale(counts)

    def _adopting(self, version: Version, state: Autoscaling, sample: Sample) -> Autoscaling:
        """Return the state of a version with the pods that an earlier process has left.

        The first samples may miss some of these pods. Their number holds for the scale-down delay.
        """
        adopted = self._fleet.replicas.pop_adopted(version)
        if not adopted:
            return state
        return msgspec.structs.replace(state, wanted=((sample.at_s, adopted),))

    def _inherited(self, version: Version, state: Autoscaling) -> Autoscaling:
        """Return the state of the version that this one is to replace, if it is rolling out.

        Its load will be that of the other, and has to be met from its first request on.
        """
        replaced = self._fleet.replicas.replaced_by(version)
        return state if replaced is None else self._states.get(replaced, state)

    async def _sample(self, version: Version) -> Sample | None:
        """Return the load of a version; None while no pod of it is ready."""
        pods = self._fleet.names_of(self._fleet.ready_pods(version))
        answers = await asyncio.gather(*(fetch_load(self._bus, pod) for pod in pods))
        loads = [load for load in answers if load is not None]
        if not loads:
            return None
        return Sample(
            at_s=time.monotonic(),
            in_flight=sum(load.in_flight for load in loads),
            waited_s=max(load.waited_s for load in loads),
            ready=len(loads),
        )


def _log_change(version: Version, state: Autoscaling, count: int, sample: Sample) -> None:
    if count != sample.ready:
        logger.info(
            "%s@%s needs %d pods, has %d ready: %d events in flight, waited %.0f ms%s",
            version.component,
            short(version.hash),
            count,
            sample.ready,
            sample.in_flight,
            sample.waited_s * 1000,
            "" if state.panic_end_s is None else ", panic",
        )
