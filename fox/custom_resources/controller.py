"""Applies the custom resources of a namespace whenever this process holds the lease.

Of all control processes, one does that: the holder of a lease in NATS. Two at a time, for the
moments until a lost lease is noticed, do no harm: every change is a compare-and-set, and a process
that sees its object changed by another one applies its resource again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from broker.nats.bus import Bus
from broker.nats.lease import hold
from broker.runtime.background import run_in_background
from control.access.audit_log import AuditLog
from control.control_plane import ControlPlane
from fox.custom_resources.term import CHECK, Term
from kubefox.status import Check, CheckState
from pods.kubernetes.api import open_api
from pods.kubernetes.cluster import Cluster

logger = logging.getLogger(__name__)

LEASE = "custom-resources"
_RESTART_S = 1.0


class Controller:
    """Applies the custom resources whenever this process holds the lease; made by ``open_…``.

    Args:
        bus: Connection to use for the lease.
        cluster: The cluster, with the namespace of the resources.
        control: Validates and executes changes.
        audit: The audit log.
        process_id: Holder of the lease.
    """

    def __init__(
        self, bus: Bus, cluster: Cluster, control: ControlPlane, audit: AuditLog, process_id: str
    ) -> None:
        self._bus = bus
        self._cluster = cluster
        self._control = control
        self._audit = audit
        self._process_id = process_id
        self._term: Term | None = None

    async def run(self) -> None:
        """Apply resources until cancelled."""
        while True:
            try:
                async with hold(self._bus, LEASE, self._process_id) as lease:
                    await self._serve_term(lease.lost)
            except Exception:
                logger.exception("custom resources are not applied, starting again")
                await asyncio.sleep(_RESTART_S)

    async def check(self) -> Check:
        """Return the state of the resources, for ``fox status``."""
        if self._term is None:
            detail = "another control process applies those of the cluster"
            return Check(name=CHECK, state=CheckState.OK, detail=detail)
        return self._term.check()

    async def _serve_term(self, lost: asyncio.Event) -> None:
        async with open_api(self._cluster) as api:
            term = Term(api, self._cluster.namespace, self._control, self._audit)
            self._term = term
            try:
                await term.run(lost)
            finally:
                self._term = None


@contextlib.asynccontextmanager
async def open_controller(controller: Controller) -> AsyncIterator[Controller]:
    """Run a controller until the context ends."""
    async with run_in_background(controller.run(), "applying custom resources"):
        yield controller
