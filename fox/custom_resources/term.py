"""Follows the custom resources of a namespace, and works on each one that has changed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Iterable
from functools import partial
from http import HTTPStatus

from broker.runtime.background import run_in_background
from control.access.audit_log import AuditLog
from control.control_plane import ControlPlane
from fox.custom_resources.applier import PUT_BACK_S, PUT_BACKS, Applier, Outcome
from fox.custom_resources.attempts import Attempts
from fox.custom_resources.audit import ResourceAudit
from fox.custom_resources.cluster_objects import ClusterObject, ResourceKey
from fox.custom_resources.cluster_writer import BURST, WRITES_PER_S, ClusterWriter
from fox.custom_resources.mirrors import Mirrors, all_mirrors, mirrors_of
from fox.custom_resources.records import resource_of
from fox.custom_resources.work_queue import WorkQueue
from kubefox.custom_resources import KINDS, MIRRORS, ResourceKind
from kubefox.errors import RevisionConflict, Unavailable
from kubefox.records import kind_of
from kubefox.status import Check, CheckState
from pods.kubernetes.api import Api, ApiError
from pods.kubernetes.follow import Following
from pods.kubernetes.pace import Pace

logger = logging.getLogger(__name__)

CHECK = "resources"
"""Name of the check of ``fox status``."""
WORKERS = 4
MIN_RETRY_S, MAX_RETRY_S = 1.0, 60.0
_STOP_S = 5.0
_MOST_NAMES = 5
_KEYS_A_STEP = 500


class Term:
    """The work of one process from when it holds the lease until it has lost it.

    Args:
        api: The API of the cluster.
        namespace: Namespace of the resources.
        control: Validates and executes changes.
        audit: The audit log.

    Attributes:
        visits: How often a resource or a mirror was compared with the platform.
    """

    def __init__(self, api: Api, namespace: str, control: ControlPlane, audit: AuditLog) -> None:
        self.visits = 0
        self._control = control
        recording = ResourceAudit(audit, lambda: control.store.snapshot, namespace)
        self._writer = ClusterWriter(api, namespace, Pace(WRITES_PER_S, BURST))
        put_backs = Attempts(PUT_BACKS, PUT_BACK_S, time.monotonic)
        self._applier = Applier(control, recording, self._writer, put_backs)
        # Thousands of mirrors may wait at the start: resources of users must not wait behind them.
        mirroring = ClusterWriter(api, namespace, Pace(WRITES_PER_S, BURST))
        self._mirrors = Mirrors(control, mirroring, put_backs)
        self._resource_queue: WorkQueue[ResourceKey] = WorkQueue()
        self._mirror_queue: WorkQueue[ResourceKey] = WorkQueue()
        self._known: dict[ResourceKey, ClusterObject] = {}
        self._failures: dict[ResourceKey, int] = {}
        self._unsynced: dict[ResourceKey, None] = {}
        self._waiting: dict[str, set[ResourceKey]] = {}
        self._followings = {
            kind: Following(
                api,
                kind.path(namespace),
                {},
                ClusterObject,
                partial(self._on_resource, kind),
                partial(self._on_gone, kind),
            )
            for kind in (*KINDS, *MIRRORS)
        }

    async def run(self, lost: asyncio.Event) -> None:
        """Apply resources until the lease is lost."""
        async with contextlib.AsyncExitStack() as stack:
            enter = stack.enter_async_context
            queues = [self._mirror_queue, *[self._resource_queue] * WORKERS]
            workers = [asyncio.create_task(self._work(queue)) for queue in queues]
            stack.push_async_callback(self._end, workers)
            for work in (self._follow_for_resources(), self._follow_for_mirrors()):
                await enter(run_in_background(work, "following changes for resources"))
            for following in self._followings.values():
                await enter(run_in_background(following.run(), "following custom resources"))
            await lost.wait()

    def check(self) -> Check:
        """Return the state of the resources."""
        faults = [each.fault for each in self._followings.values() if each.fault]
        mirrors = sum(key.kind in MIRRORS for key in self._known)
        detail = f"{len(self._known) - mirrors} applied from the cluster, {mirrors} shown there"
        if faults:
            return _degraded(f"{detail}; they cannot be followed: {faults[0]}")
        if self._unsynced:
            names = ", ".join(str(key) for key in list(self._unsynced)[:_MOST_NAMES])
            return _degraded(f"{detail}, {len(self._unsynced)} of them not synced: {names}")
        return Check(name=CHECK, state=CheckState.OK, detail=detail)

    async def _end(self, workers: Iterable[asyncio.Task[None]]) -> None:
        """End the workers, each after the resource that it works on."""
        self._resource_queue.close()
        self._mirror_queue.close()
        _, late = await asyncio.wait(workers, timeout=_STOP_S)
        for worker in late:
            worker.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _on_resource(self, kind: ResourceKind, found: ClusterObject) -> None:
        key = ResourceKey(kind, found.metadata.name)
        before = self._known.get(key)
        # Own writes are known already, from their answers.
        if self._learn(key, found) and (before is None or not found.is_like(before)):
            self._queue_of(key).add(key)

    def _on_gone(self, kind: ResourceKind, found: ClusterObject) -> None:
        key = ResourceKey(kind, found.metadata.name)
        known = self._known.get(key)
        # Another one of its name may be there already.
        if known is None or known.metadata.uid != found.metadata.uid:
            return
        if kind in MIRRORS:
            del self._known[key]
            self._mirror_queue.add(key)
        else:
            self._forget(key)

    def _learn(self, key: ResourceKey, found: ClusterObject) -> bool:
        """Note the state of an object, unless a newer one is known; return whether it is noted.

        The watch may be behind the answers to writes.
        """
        known = self._known.get(key)
        if known is not None and found.is_older_than(known):
            return False
        self._known[key] = found
        return True

    def _forget(self, key: ResourceKey) -> None:
        for kept in (self._known, self._failures, self._unsynced):
            kept.pop(key, None)
        self._applier.forget(key)

    async def _follow_for_resources(self) -> None:
        async for changed in self._changes():
            if changed is None:
                for key in self._known:
                    if key.kind not in MIRRORS:
                        self._resource_queue.add(key)
            for record in changed or ():
                self._on_record(record)

    async def _follow_for_mirrors(self) -> None:
        """Look at the mirrors of each record that has changed; at all of them at first."""
        for kind in MIRRORS:
            await self._followings[kind].listed.wait()
        async for changed in self._changes():
            snapshot = self._control.store.snapshot
            if changed is None:
                known = [key for key in self._known if key.kind in MIRRORS]
                for number, key in enumerate((*known, *all_mirrors(snapshot))):
                    self._mirror_queue.add(key)
                    if number % _KEYS_A_STEP == 0:
                        await asyncio.sleep(0)
            for record in changed or ():
                for key in mirrors_of(record, snapshot):
                    self._mirror_queue.add(key)

    async def _changes(self) -> AsyncIterator[Iterable[str] | None]:
        """Yield the keys of the records that have changed; None if all may have, as at first."""
        store, position = self._control.store, -1
        while True:
            revision = store.snapshot.revision
            changed = store.changes.since(position)
            position = store.changes.position
            yield changed
            await store.wait_change(revision)

    def _on_record(self, record: str) -> None:
        """Look again at the resource of a record, and at those that wait for it."""
        key = resource_of(record)
        if key is not None and key in self._known:
            self._resource_queue.add(key)
        for cure in (record, kind_of(record)):
            for waiting in self._waiting.pop(cure, ()):
                self._resource_queue.add(waiting)

    def _queue_of(self, key: ResourceKey) -> WorkQueue[ResourceKey]:
        return self._mirror_queue if key.kind in MIRRORS else self._resource_queue

    async def _work(self, queue: WorkQueue[ResourceKey]) -> None:
        while (key := await queue.take()) is not None:
            try:
                await self._visit(key)
            except (Unavailable, RevisionConflict) as error:
                self._retry(key, str(error))
            except ApiError as error:
                # A newer state of it arrives by the watch.
                is_outdated = error.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}
                self._retry(key, "" if is_outdated else str(error))
            except Exception:
                logger.exception("%s cannot be applied", key)
                self._retry(key, "")
            finally:
                queue.done(key)

    async def _visit(self, key: ResourceKey) -> None:
        self.visits += 1
        if key.kind in MIRRORS:
            await self._visit_mirror(key)
            return
        found = self._known.get(key)
        if found is None:
            return
        work = self._applier.delete if found.is_leaving else self._applier.apply
        outcome = await work(key, found)
        if outcome is None:
            self._unsynced.pop(key, None)
            return
        written = await self._writer.write_status(key, outcome.found, outcome.status)
        if key in self._known:
            self._learn(key, written)
            self._note(key, outcome)

    async def _visit_mirror(self, key: ResourceKey) -> None:
        visit = await self._mirrors.visit(key, self._known.get(key))
        if visit.found is not None:
            self._learn(key, visit.found)
        if visit.is_foreign:
            self._unsynced[key] = None
        else:
            self._failures.pop(key, None)
            self._unsynced.pop(key, None)
        if visit.again_s is not None:
            self._mirror_queue.add_later(key, visit.again_s)

    def _note(self, key: ResourceKey, outcome: Outcome) -> None:
        if outcome.is_synced:
            self._failures.pop(key, None)
            self._unsynced.pop(key, None)
        else:
            self._unsynced[key] = None
            for cure in outcome.wakes:
                self._waiting.setdefault(cure, set()).add(key)
        if outcome.again_s is not None:
            self._resource_queue.add_later(key, outcome.again_s)
        elif not outcome.is_synced:
            self._retry(key, "")

    def _retry(self, key: ResourceKey, reason: str) -> None:
        """Look at a resource again after a back-off; a reason is logged the first time."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        if reason:
            self._unsynced[key] = None
            level = logging.WARNING if failures == 1 else logging.DEBUG
            logger.log(level, "%s cannot be applied, retrying: %s", key, reason)
        delay_s = min(MIN_RETRY_S * 2.0 ** (failures - 1), MAX_RETRY_S)
        delay_s *= random.uniform(0.5, 1)  # noqa: S311
        self._queue_of(key).add_later(key, delay_s)


def _degraded(detail: str) -> Check:
    return Check(name=CHECK, state=CheckState.DEGRADED, detail=detail)
