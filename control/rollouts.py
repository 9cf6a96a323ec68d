"""Rollouts: begun by a deploy or an undo, switched when their pods are ready, failed, or aborted.

``kubefox.rollout`` holds the states and their transitions. This module reads and writes them, each
transition in a transaction, so several control processes may do this at once. The switch is one
write of the deployment; the record of the rollout is completed after it. If that write is missing,
the next review makes it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from itertools import chain

from broker.storage.pod_board import PodBoard
from broker.storage.store import Store
from control.breaking_changes import breaking_changes_by_code
from control.rollout_changes import (
    RolloutChange,
    RolloutInput,
    decide_rollout,
    hold,
    state_of,
)
from control.stored_record import R, StoredRecord, load
from control.transactions import OptimisticTransaction, in_transaction
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.errors import (
    DeploymentNotFound,
    GenerationNotFound,
    Problem,
    RevisionConflict,
    Unavailable,
)
from kubefox.pod import PodStatus
from kubefox.records import deployment_key, rollout_key
from kubefox.rollout import (
    DeploymentState,
    Generations,
    Rollout,
    RolloutState,
    abort,
    begin,
    complete,
    forget_failure,
    is_switched,
)
from routing.snapshot.content_rules import definitions_of
from routing.snapshot.snapshot import Snapshot

logger = logging.getLogger(__name__)

DEADLINE_S = 300.0


class StoredDeployment(StoredRecord[Deployment], frozen=True, kw_only=True):
    """A deployment with its revision, its state and its latest rollout.

    Attributes:
        revision: Revision of the deployment or of its latest rollout, for ``If-Match``. It grows
            with every change of either.
        object: The content that requests meet.
        state: Whether it is ready, and whether a change is rolling out or has failed.
        rollout: The latest change, if it is not complete: it is rolling, has failed or was aborted.
        warnings: Variables that the deployment needs, or will need after its rollout, and that
            virtual environments of its app lack. Lists of deployments are without warnings.
    """

    state: DeploymentState
    rollout: Rollout | None = None
    warnings: tuple[Problem, ...] = ()


class Rollouts:
    """Reads and writes the rollouts of deployments.

    Args:
        store: The control plane's data.
        board: Status of the pods.
        transaction: The transaction of this process.
        deadline_s: How long a rollout may be rolling, unless its request says it.
        now: Clock, Unix time in seconds.
    """

    def __init__(
        self,
        store: Store,
        board: PodBoard,
        *,
        transaction: OptimisticTransaction,
        deadline_s: float = DEADLINE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._board = board
        self._transaction = transaction
        self._deadline_s = deadline_s
        self._now = now

    def stored(self, deployment: Deployment) -> StoredDeployment:
        """Return a deployment of the snapshot with its state."""
        return stored_deployment(self._store.snapshot, deployment, self._board.ready_versions())

    def _rollouts_of(self, name: str) -> RolloutState:
        return _rollouts_in(self._store.snapshot, name)

    async def read(self, name: str) -> StoredDeployment:
        """Return a deployment with its state, read from NATS instead of from the snapshot.

        Raises:
            DeploymentNotFound: The deployment does not exist.
        """
        found = await load(self._store, deployment_key(name), Deployment)
        if found is None:
            raise DeploymentNotFound(f"deployment {name} does not exist")
        return _stored(found, await self.load(found.object), self._board.ready_versions())

    def generations(self, current: Deployment) -> Generations:
        """Return the contents that a deployment of the snapshot has had."""
        state = _completed(self._rollouts_of(current.name), current)
        return Generations(current=current, rollout=state.rollout, earlier=state.history)

    async def load(self, current: Deployment) -> StoredRecord[RolloutState]:
        """Return the rollouts of a deployment, read from NATS; revision 0 for none.

        A rollout that has switched is complete in the result.
        """
        found = await load(self._store, rollout_key(current.name), RolloutState)
        if found is None:
            empty = RolloutState(deployment=current.name)
            return StoredRecord(revision=0, object=empty)
        state = _completed(found.object, current)
        return StoredRecord(revision=found.revision, object=state)

    async def begin(
        self,
        found: StoredRecord[RolloutState],
        current: Deployment,
        content: Deployment,
        deadline_s: float | None,
    ) -> None:
        """Begin a rollout, as a part of a transaction; it replaces one that is rolling.

        Args:
            found: The rollouts, by ``load`` in the same transaction.
            current: The deployment, read in the same transaction.
            content: Its new content.
            deadline_s: How long the rollout may be rolling; None for the platform's setting.
        """
        state = begin(
            found.object,
            current,
            content,
            now_s=self._now(),
            deadline_s=self._deadline_s if deadline_s is None else deadline_s,
        )
        await self._write(state)

    async def drop(self, found: StoredRecord[RolloutState]) -> None:
        """Remove the latest rollout, as a part of a transaction: its deployment stays as it is."""
        state = forget_failure(abort(found.object, now_s=self._now()))
        if found.revision and state != found.object:
            await self._write(state)

    async def end(self, found: StoredRecord[RolloutState]) -> None:
        """End a rollout that is rolling, as a part of a transaction."""
        await self._write(abort(found.object, now_s=self._now()))

    async def remove(self, found: StoredRecord[RolloutState]) -> None:
        """Delete the record of the rollouts, as a part of a transaction."""
        if found.revision:
            await self._transaction.delete(rollout_key(found.object.deployment))

    @in_transaction
    async def abort(self, name: str) -> None:
        """End a rollout that is rolling; the deployment keeps its content.

        Raises:
            GenerationNotFound: The deployment has no rollout that is rolling.
        """
        found = await load(self._store, deployment_key(name), Deployment)
        rollouts = await self.load(found.object) if found is not None else None
        if rollouts is None or rollouts.object.rolling is None:
            raise GenerationNotFound(f"deployment {name} has no rollout that is rolling")
        await self.end(rollouts)

    @in_transaction
    async def review(self, name: str) -> None:
        """Switch, complete or fail the rollout of a deployment if it is due."""
        rollouts = await load(self._store, rollout_key(name), RolloutState)
        if rollouts is None or rollouts.object.rolling is None:
            return
        found = await load(self._store, deployment_key(name), Deployment)
        if found is None:
            await self.remove(rollouts)
            return
        inputs = RolloutInput(
            ready=self._board.ready_versions(),
            statuses=self._statuses(rollouts.object.rolling.target),
            now_s=self._now(),
        )
        change = decide_rollout(inputs, rollouts.object, found.object)
        if change.deployment is not None:
            problems = await self._breaking_changes(change.deployment)
            if problems:
                change = hold(rollouts.object, problems, now_s=inputs.now_s)
        if change.deployment is not None:
            await self._transaction.write(deployment_key(name), change.deployment, found)
        await self._transaction.write(rollout_key(name), change.state, rollouts)
        _log(change)

    def _statuses(self, target: Deployment) -> tuple[PodStatus, ...]:
        """Return the statuses of the pods of a deployment, sorted by their keys."""
        found = (self._board.pods_of(version) for version in versions_in_use((target,)))
        return tuple(sorted(chain.from_iterable(found), key=lambda status: status.key))

    async def try_review(self, name: str) -> None:
        """Review a rollout that has just begun; if that fails, the activator does it later."""
        with contextlib.suppress(Unavailable, RevisionConflict):
            await self.review(name)

    def pending(self, name: str) -> tuple[float | None, tuple[Problem, ...]]:
        """Return the deadline (Unix time) and the problems of a rollout that is rolling.

        Without such a rollout, that is None and no problems.
        """
        rolling = self._rollouts_of(name).rolling
        return (None, ()) if rolling is None else (rolling.ends_by_s, rolling.problems)

    async def _breaking_changes(self, target: Deployment) -> tuple[Problem, ...]:
        """Return the problems that the switch would add to active releases.

        The deploy has checked this; environments and releases may have changed in the meantime.
        """
        usage = await self._store.usage()
        definitions, _ = definitions_of(target, usage.snapshot.records)
        return tuple(await breaking_changes_by_code(target, definitions, usage))

    async def _write(self, state: RolloutState) -> None:
        await self._transaction.write(rollout_key(state.deployment), state, None)


def _completed(state: RolloutState, current: Deployment) -> RolloutState:
    """Return the state with its rollout completed if that has switched."""
    return complete(state) if is_switched(state, current) else state


def stored_deployment(
    snapshot: Snapshot, deployment: Deployment, ready: AbstractSet[Version]
) -> StoredDeployment:
    """Return a deployment of a snapshot with its state.

    Args:
        snapshot: Holds the deployment and its rollouts.
        deployment: The deployment.
        ready: The component versions that accept events.
    """
    name = deployment.name
    return _stored(
        _held(snapshot, deployment, deployment_key(name)),
        _held(snapshot, _rollouts_in(snapshot, name), rollout_key(name)),
        ready,
    )


def deployment_state(
    snapshot: Snapshot, deployment: Deployment, ready: AbstractSet[Version]
) -> DeploymentState:
    """Return the state of a deployment of a snapshot; see ``stored_deployment``."""
    rollouts = snapshot.rollouts.get(deployment.name)
    state = _NO_ROLLOUTS if rollouts is None else _completed(rollouts, deployment)
    return state_of(deployment, state, ready)


_NO_ROLLOUTS = RolloutState(deployment="")


def _rollouts_in(snapshot: Snapshot, name: str) -> RolloutState:
    return snapshot.rollouts.get(name) or RolloutState(deployment=name)


def _held(snapshot: Snapshot, record: R, key: str) -> StoredRecord[R]:
    return StoredRecord(revision=snapshot.revision_of(key), object=record)


def _stored(
    found: StoredRecord[Deployment],
    rollouts: StoredRecord[RolloutState],
    ready: AbstractSet[Version],
) -> StoredDeployment:
    state = _completed(rollouts.object, found.object)
    return StoredDeployment(
        revision=max(found.revision, rollouts.revision),
        object=found.object,
        state=state_of(found.object, state, ready),
        rollout=state.rollout,
    )


def _log(change: RolloutChange) -> None:
    if change.deployment is not None:
        logger.info(
            "deployment %s has generation %d", change.deployment.name, change.deployment.generation
        )
    rollout = change.state.rollout
    if rollout is not None and rollout.ended_at_s is not None:
        logger.warning(
            "the rollout of deployment %s to generation %d failed: %s",
            change.state.deployment,
            rollout.target.generation,
            "; ".join(problem.message for problem in rollout.problems),
        )
