"""The lists of the control plane: an index of each kind, which follows its changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from broker.storage.pod_board import BoardEntry, PodBoard
from broker.storage.store import Store
from control.listed_kinds.deployments import deployments_kind
from control.listed_kinds.environments import (
    environments_kind,
    http_adapters_kind,
    virtual_environments_kind,
)
from control.listed_kinds.releases import releases_kind
from control.listed_kinds.shares import shares_kind
from control.listed_kinds.versions import idle_versions_kind, pods_kind, scales_kind
from control.listing.kept_views import KeptViews
from control.listing.list_kind import ListKind, ListView
from control.listing.listing import Listing
from control.listing.live_index import LiveIndex
from control.listing.ordered_blocks import T
from control.scaling import Scaling
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.errors import NotFound
from kubefox.pod import IdleVersion, PodStatus
from routing.snapshot.packed_records import RecordEntry
from routing.snapshot.snapshot import Snapshot


class Lists:
    """The lists of all kinds.

    Args:
        store: The control plane's data.
        board: Status of the pods.
        scaling: Shows the limits of replicas.
        kept: Views of lists that clients are reading.

    Attributes:
        deployments: Deployments, each with its state.
        releases: Releases of virtual environments.
        environments: Environments, with masked secrets.
        virtual_environments: Virtual environments, with masked secrets.
        http_adapters: HTTP adapters.
        shares: Shares, without their tokens.
        pods: Pods.
        idle_versions: Idle component versions.
        scales: Limits of replicas of each version that a deployment uses or a pod runs.
    """

    def __init__(
        self,
        store: Store,
        board: PodBoard,
        scaling: Scaling,
        *,
        kept: KeptViews[ListView[Any]] | None = None,
    ) -> None:
        self._store = store
        self._board = board
        self._kept = KeptViews() if kept is None else kept
        self._of_records: dict[str, LiveIndex[RecordEntry[Any]]] = {}
        self.deployments = self._records("deployment", deployments_kind(board.ready_versions))
        self.releases = self._records("release", releases_kind())
        self.environments = self._records("environment", environments_kind())
        self.virtual_environments = self._records(
            "virtual-environment", virtual_environments_kind()
        )
        self.shares = self._records("share", shares_kind())
        self.http_adapters = self._records("http-adapter", http_adapters_kind())
        pods, idle_versions, scales = pods_kind(), idle_versions_kind(), scales_kind(scaling)
        self._pods = LiveIndex(lambda: _of_type(board.entries, PodStatus), pods.fields)
        self._idle = LiveIndex(lambda: _of_type(board.entries, IdleVersion), idle_versions.fields)
        self._versions = LiveIndex(self._all_versions, scales.fields)
        self.pods = self._listing(pods, self._pods, lambda: board.revision)
        self.idle_versions = self._listing(idle_versions, self._idle, lambda: board.revision)
        # A version is listed for its deployments or its pods. The sum grows with both revisions,
        # but several pairs have the same sum.
        self.scales = self._listing(
            scales,
            self._versions,
            lambda: store.snapshot.revision + board.revision,
            is_comparable=False,
        )
        store.listen(self._on_record)
        board.listen(self._on_entry)

    async def prepare(self) -> None:
        """Sort the deployments: the first list of 100,000 would wait for 0.3 s of CPU."""
        await self.deployments.prepare()

    async def pod(self, pod_id: str) -> PodStatus:
        """Return the status of one pod.

        Raises:
            NotFound: There is no such pod.
        """
        found = await self.pods.find(("name", "app"), (pod_id,))
        if found is None:
            raise NotFound(f"pod {pod_id} does not exist")
        return found

    def _records(self, key_kind: str, kind: ListKind[RecordEntry[Any]]) -> Listing[Any]:
        def source() -> Iterable[RecordEntry[Any]]:
            return self._store.snapshot.records.kinds[key_kind].values()

        index = self._of_records[key_kind] = LiveIndex(source, kind.fields)
        return self._listing(kind, index, lambda: self._store.snapshot.revision)

    def _listing(
        self,
        kind: ListKind[T],
        index: LiveIndex[T],
        revision: Callable[[], int],
        *,
        is_comparable: bool = True,
    ) -> Listing[T]:
        return Listing(
            kind,
            index,
            revision=revision,
            snapshot=lambda: self._store.snapshot,
            usage=self._store.usage,
            kept=self._kept,
            is_comparable=is_comparable,
        )

    def _on_record(self, before: Snapshot, after: Snapshot, key: str | None) -> None:
        if key is None:
            for index in self._of_records.values():
                index.reset()
            self._versions.reset()
            return
        kind, _, name = key.partition(".")
        found = self._of_records.get(kind)
        if found is None:
            return
        old = before.records.kinds[kind].get(name)
        new = after.records.kinds[kind].get(name)
        if old is not new:
            found.change(old, new)
            if kind == "deployment":
                self._note_versions(entry.record for entry in (old, new) if entry is not None)

    def _on_entry(
        self, key: str | None, before: BoardEntry | None, after: BoardEntry | None
    ) -> None:
        if key is None:
            for index in (self._pods, self._idle, self._versions):
                index.reset()
            return
        if isinstance(before, PodStatus) or isinstance(after, PodStatus):
            self._pods.change(_as(PodStatus, before), _as(PodStatus, after))
            for version in {pod.version for pod in (before, after) if isinstance(pod, PodStatus)}:
                self._note_version(version)
        if isinstance(before, IdleVersion) or isinstance(after, IdleVersion):
            self._idle.change(_as(IdleVersion, before), _as(IdleVersion, after))

    def _note_versions(self, deployments: Iterable[Deployment]) -> None:
        for version in versions_in_use(deployments):
            self._note_version(version)

    def _note_version(self, version: Version) -> None:
        is_listed = version in self._store.snapshot.uses or bool(self._board.pods_of(version))
        self._versions.change(None if is_listed else version, version if is_listed else None)

    def _all_versions(self) -> Iterator[Version]:
        uses = self._store.snapshot.uses
        yield from uses
        seen: set[Version] = set()
        for pod in _of_type(self._board.entries, PodStatus):
            if pod.version not in uses and pod.version not in seen:
                seen.add(pod.version)
                yield pod.version


def _of_type(entries: Iterable[BoardEntry], kind: type[T]) -> Iterator[T]:
    return (entry for entry in entries if isinstance(entry, kind))


def _as(kind: type[T], entry: BoardEntry | None) -> T | None:
    return entry if isinstance(entry, kind) else None
