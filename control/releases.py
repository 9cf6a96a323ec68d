"""Releases: requested, activated when all of their pods are ready, archived or withdrawn.

``kubefox.release`` holds the states and their transitions. This module reads and writes them, each
transition in a transaction, so several control processes may do this at once. A manifest is stored
before the state that names it, and deleted after the last state that named it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from broker.runtime.cooperative import run_in_slices
from broker.storage.store import Store
from control.deployment_selection import select_deployment
from control.release_changes import (
    Apps,
    DecisionInput,
    ReleaseChange,
    decide_abort,
    decide_pending,
    decide_request,
    decide_rollback,
    decide_withdrawal,
    policy_or_default,
)
from control.release_contents import policy_in_force
from control.release_ids import new_release_id
from control.stored_record import StoredRecord, load
from control.transactions import OptimisticTransaction, WriteConflict, in_transaction
from kubefox.distill import Version
from kubefox.errors import FoxError, Problem
from kubefox.records import manifest_key, release_key
from kubefox.release import ReleasedApp, ReleaseManifest, ReleaseState, manifests_in_use
from kubefox.steps import Steps, at_once

logger = logging.getLogger(__name__)


class Releases:
    """Reads and writes the releases of virtual environments.

    Args:
        store: The control plane's data.
        ready_versions: Returns the component versions that accept events now.
        transaction: The transaction of this process.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        ready_versions: Callable[[], AbstractSet[Version]],
        *,
        transaction: OptimisticTransaction,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ready_versions = ready_versions
        self._transaction = transaction
        self._now = now

    def get(self, virtual_environment: str) -> StoredRecord[ReleaseState]:
        """Return the releases of one virtual environment.

        Raises:
            EnvironmentNotFound: The virtual environment does not exist.
        """
        snapshot = self._store.snapshot
        state = snapshot.releases.get(virtual_environment)
        if state is None:
            policy_in_force(snapshot, virtual_environment)
            empty = ReleaseState(virtual_environment=virtual_environment)
            return StoredRecord(revision=0, object=empty)
        revision = snapshot.revision_of(release_key(virtual_environment))
        return StoredRecord(revision=revision, object=state)

    async def request(
        self, virtual_environment: str, selector: str, app: str = ""
    ) -> StoredRecord[ReleaseState]:
        """Request a release in which one app has another deployment; other apps keep theirs.

        The release is active at once when its pods are ready, and pending otherwise. Requesting
        the active release again changes nothing.

        Args:
            virtual_environment: Name of the virtual environment.
            selector: Name, commit, version, tag or branch of a deployment.
            app: The selector matches only deployments of this app; empty means any app.

        Raises:
            EnvironmentNotFound: The virtual environment does not exist.
            DeploymentNotFound: The selector matches no deployment.
            InvalidRequest: The selector matches several deployments.
            ProblemsFound: The deployment cannot be released.
        """

        def decide(state: ReleaseState) -> Steps[ReleaseChange]:
            inputs = self._decision_input()
            policy_in_force(inputs.snapshot, virtual_environment)
            chosen = select_deployment(inputs.snapshot, selector, app)
            released = ReleasedApp(deployment=chosen.name, version=chosen.version)
            return decide_request(inputs, state, {**_latest_apps(state), chosen.app: released})

        return await self._submit(virtual_environment, decide)

    async def request_apps(
        self, virtual_environment: str, apps: Apps
    ) -> StoredRecord[ReleaseState]:
        """Request a release of exactly ``apps``; see ``request``. No apps withdraw the release."""
        if not apps:
            return await self._submit(
                virtual_environment,
                lambda state: at_once(decide_withdrawal(self._decision_input(), state)),
            )
        return await self._submit(
            virtual_environment, lambda state: decide_request(self._decision_input(), state, apps)
        )

    async def rollback(
        self, virtual_environment: str, release: str = ""
    ) -> StoredRecord[ReleaseState]:
        """Drop the pending release, or request an archived one again, with its manifest.

        Args:
            virtual_environment: Name of the virtual environment.
            release: Id of the release. Empty drops the pending release; if there is none, it means
                the last one that was active.

        Raises:
            EnvironmentNotFound: The virtual environment does not exist.
            ReleaseNotFound: The virtual environment has no such release.
            ProblemsFound: The release can no longer be activated.
        """
        return await self._submit(
            virtual_environment,
            lambda state: decide_rollback(self._decision_input(), state, release or None),
        )

    async def abort(self, virtual_environment: str) -> StoredRecord[ReleaseState]:
        """Archive the pending release; the active one stays.

        Raises:
            EnvironmentNotFound: The virtual environment does not exist.
            ReleaseNotFound: No release is pending.
        """
        return await self._submit(
            virtual_environment,
            lambda state: at_once(decide_abort(self._decision_input(), state)),
        )

    @in_transaction
    async def review(self, virtual_environment: str) -> None:
        """Activate or archive the pending release of a virtual environment if it is due."""
        found = await load(self._store, release_key(virtual_environment), ReleaseState)
        if found is None or found.object.pending is None:
            return
        state = await run_in_slices(decide_pending(self._decision_input(), found.object))
        await self._commit(ReleaseChange(state=state), found)

    def pending(self, virtual_environment: str) -> tuple[float | None, tuple[Problem, ...]]:
        """Return the activation deadline (Unix time) and the problems of a pending release.

        Without a pending release, that is None and no problems.
        """
        snapshot = self._store.snapshot
        state = snapshot.releases.get(virtual_environment)
        if state is None or state.pending is None:
            return None, ()
        policy = policy_or_default(snapshot, virtual_environment)
        deadline_s = state.pending.requested_at_s + policy.activation_deadline_s
        return deadline_s, state.pending.problems

    @in_transaction
    async def _submit(
        self, name: str, decide: Callable[[ReleaseState], Steps[ReleaseChange]]
    ) -> StoredRecord[ReleaseState]:
        found = await load(self._store, release_key(name), ReleaseState)
        state = found.object if found else ReleaseState(virtual_environment=name)
        return await self._commit(await run_in_slices(decide(state)), found)

    def _decision_input(self) -> DecisionInput:
        now_s = self._now()
        return DecisionInput(
            snapshot=self._store.snapshot,
            ready=self._ready_versions(),
            now_s=now_s,
            new_id=new_release_id(now_s),
        )

    async def _commit(
        self, change: ReleaseChange, found: StoredRecord[ReleaseState] | None
    ) -> StoredRecord[ReleaseState]:
        """Write a change, then delete the manifests that are no longer in use."""
        name = change.state.virtual_environment
        if found is None and change.state == ReleaseState(virtual_environment=name):
            # No record stands for a virtual environment without releases.
            return StoredRecord(revision=0, object=change.state)
        before = set((await self._store.usage()).manifests(name))
        if change.manifest is not None:
            await self._transaction.write(
                manifest_key(name, change.manifest.id), change.manifest, None
            )
        try:
            stored = await self._transaction.write(release_key(name), change.state, found)
        except WriteConflict:
            if change.manifest is not None:
                await self._delete_manifest(name, change.manifest.id)
            raise
        if stored is not found:
            # This includes manifests left by commits that failed halfway. Another process that
            # has stored a manifest and not yet its state gets a WriteConflict because of the write
            # above. If nothing was written, its state could still name the manifest.
            for release_id in sorted(before - manifests_in_use(change.state)):
                await self._delete_manifest(name, release_id)
        return stored

    async def _delete_manifest(self, name: str, release_id: str) -> None:
        """Delete a manifest that no state names, outside of the transaction.

        It does not wait until the snapshot shows the deletion, and a failure is only logged.
        """
        key = manifest_key(name, release_id)
        try:
            manifest = await load(self._store, key, ReleaseManifest)
            if manifest is not None:
                await self._store.delete(key, manifest.revision)
        except FoxError as error:
            logger.warning(
                "unused %s was not deleted; the next release or `fox prune` deletes it: %s",
                key,
                error,
            )


def _latest_apps(state: ReleaseState) -> dict[str, ReleasedApp]:
    """Return the apps of the latest requested release, or of the active one."""
    latest = state.pending or state.active
    return dict(latest.apps) if latest else {}
