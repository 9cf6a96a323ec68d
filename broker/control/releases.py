"""Releases: requested, activated when all of their pods are ready, archived or withdrawn.

``model.release`` holds the states and their steps; here they are read and written, each step in a
turn, so several control processes may do this at once. A manifest is stored before the state that
names it, and deleted after the last state that did.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from broker.control.contents import policy_in_force
from broker.control.drafts import (
    Apps,
    Draft,
    Scene,
    draft_request,
    draft_rollback,
    draft_withdrawal,
    policy_or_default,
    review,
)
from broker.control.release_ids import new_release_id
from broker.control.selection import select_deployment
from broker.control.turn import Overtaken, Turn, in_turn
from broker.control.writes import Stored, load
from broker.store import Store
from model.distill import Version
from model.errors import FoxError
from model.records import manifest_key, release_key
from model.release import ReleasedApp, ReleaseManifest, ReleaseState, manifests_in_use

logger = logging.getLogger(__name__)


class Releases:
    """Writes the releases of virtual environments.

    Args:
        store: The control plane's data.
        ready_versions: Component versions of which a pod is ready at this moment.
        turn: Of this process.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        ready_versions: Callable[[], frozenset[Version]],
        *,
        turn: Turn,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Put the parts together; nothing is opened or closed."""
        self._store = store
        self._ready_versions = ready_versions
        self._turn = turn
        self._now = now

    def all(self) -> tuple[Stored[ReleaseState], ...]:
        """Return the releases of every virtual environment that has any, by name."""
        return tuple(self.get(name) for name in sorted(self._store.snapshot.releases))

    def get(self, virtual_environment: str) -> Stored[ReleaseState]:
        """Return the releases of one virtual environment.

        Raises:
            EnvironmentNotFound: It does not exist.
        """
        snapshot = self._store.snapshot
        state = snapshot.releases.get(virtual_environment)
        if state is None:
            policy_in_force(snapshot, virtual_environment)
            empty = ReleaseState(virtual_environment=virtual_environment)
            return Stored(revision=0, object=empty)
        return Stored(revision=snapshot.revision_of(release_key(virtual_environment)), object=state)

    async def request(
        self, virtual_environment: str, selector: str, app: str = ""
    ) -> Stored[ReleaseState]:
        """Request that one app is served by what ``selector`` means; other apps stay.

        It is active at once when its pods are ready, else pending. A request for what is active
        already changes nothing.

        Args:
            virtual_environment: Whose plain URLs are concerned.
            selector: Name, commit, version, tag or branch of a deployment.
            app: Narrows the selector to one app.

        Raises:
            EnvironmentNotFound: The virtual environment does not exist.
            DeploymentNotFound: Nothing answers to the selector.
            InvalidRequest: Several deployments do.
            ProblemsFound: It cannot be released.
        """

        def draft_of(state: ReleaseState) -> Draft:
            scene = self._scene()
            policy_in_force(scene.snapshot, virtual_environment)
            chosen = select_deployment(scene.snapshot, selector, app)
            released = ReleasedApp(deployment=chosen.name, version=chosen.version)
            return draft_request(scene, state, {**_base(state), chosen.app: released})

        return await self._submit(virtual_environment, draft_of)

    async def request_apps(self, virtual_environment: str, apps: Apps) -> Stored[ReleaseState]:
        """Request that exactly ``apps`` are served; see ``request``. None withdraws the release."""

        def draft_of(state: ReleaseState) -> Draft:
            scene = self._scene()
            return draft_request(scene, state, apps) if apps else draft_withdrawal(scene, state)

        return await self._submit(virtual_environment, draft_of)

    async def rollback(self, virtual_environment: str, release: str = "") -> Stored[ReleaseState]:
        """Request an archived release again, with the manifest it had.

        Args:
            virtual_environment: Whose release it is.
            release: Its id; empty means the last one that was active.

        Raises:
            EnvironmentNotFound: The virtual environment does not exist.
            ReleaseNotFound: It has no such release.
            ProblemsFound: It can no longer be released.
        """
        return await self._submit(
            virtual_environment, lambda state: draft_rollback(self._scene(), state, release or None)
        )

    @in_turn
    async def review(self, virtual_environment: str) -> None:
        """Activate or archive the pending release of a virtual environment if it is time to."""
        found = await load(self._store, release_key(virtual_environment), ReleaseState)
        if found is None or found.object.pending is None:
            return
        await self._commit(Draft(state=review(self._scene(), found.object)), found)

    def deadlines_s(self) -> Iterator[float]:
        """Yield the Unix time at which each pending release will be archived."""
        for state in self._store.snapshot.releases.values():
            if state.pending is not None:
                policy = policy_or_default(self._store.snapshot, state.virtual_environment)
                yield state.pending.requested_at_s + policy.activation_deadline_s

    @in_turn
    async def _submit(
        self, name: str, draft_of: Callable[[ReleaseState], Draft]
    ) -> Stored[ReleaseState]:
        found = await load(self._store, release_key(name), ReleaseState)
        state = found.object if found else ReleaseState(virtual_environment=name)
        return await self._commit(draft_of(state), found)

    def _scene(self) -> Scene:
        now_s = self._now()
        return Scene(
            snapshot=self._store.snapshot,
            ready=self._ready_versions(),
            now_s=now_s,
            new_id=new_release_id(now_s),
        )

    async def _commit(
        self, draft: Draft, found: Stored[ReleaseState] | None
    ) -> Stored[ReleaseState]:
        name = draft.state.virtual_environment
        if found is None and draft.state == ReleaseState(virtual_environment=name):
            # Nothing was released, and nothing is: no record stands for that.
            return Stored(revision=0, object=draft.state)
        held = {each.id for each in self._store.snapshot.manifests_of(name)}
        if draft.manifest is not None:
            await self._turn.write(manifest_key(name, draft.manifest.id), draft.manifest, None)
        try:
            stored = await self._turn.write(release_key(name), draft.state, found)
        except Overtaken:
            if draft.manifest is not None:
                await self._drop(name, draft.manifest.id)
            raise
        if stored is not found:
            # Also what a commit that broke off has left. Whose manifest another process is about to
            # name has been overtaken by this write; without one it would lose what it needs.
            for release_id in sorted(held - manifests_in_use(draft.state)):
                await self._drop(name, release_id)
        return stored

    async def _drop(self, name: str, release_id: str) -> None:
        """Delete a manifest that no state names: not a part of the turn, it is never looked at."""
        key = manifest_key(name, release_id)
        try:
            manifest = await load(self._store, key, ReleaseManifest)
            if manifest is not None:
                await self._store.delete(key, manifest.revision)
        except FoxError as error:
            logger.warning("%s goes with the next release or by pruning: %s", key, error)


def _base(state: ReleaseState) -> dict[str, ReleasedApp]:
    """Return the apps that a request builds on: what was asked for last, or is active."""
    latest = state.pending or state.active
    return dict(latest.apps) if latest else {}
