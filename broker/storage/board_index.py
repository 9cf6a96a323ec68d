"""The entries of the pod board by component version."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

from kubefox.distill import Version
from kubefox.pod import IdleVersion, PodPhase, PodStatus
from routing.change_log import ChangeLog

_NO_PODS: Mapping[str, PodStatus] = {}


class BoardIndex:
    """The pods and the idle mark of each component version, changed in place.

    Attributes:
        changed_versions: The versions whose pods or idle mark have changed.
        idle_marks: The marks of the idle versions.
    """

    def __init__(self) -> None:
        self.changed_versions: ChangeLog[Version] = ChangeLog()
        self.idle_marks: dict[Version, IdleVersion] = {}
        self._pods: dict[Version, dict[str, PodStatus]] = {}
        self._accepting: dict[Version, None] = {}

    @property
    def accepting(self) -> AbstractSet[Version]:
        """The versions that accept events: those with a ready pod, or idle. A view."""
        return self._accepting.keys()

    def pods_of(self, version: Version) -> Collection[PodStatus]:
        """Return the pods of a version, in any order."""
        return self._pods.get(version, _NO_PODS).values()

    def clear(self) -> None:
        """Remove all entries; readers of ``changed_versions`` must start again."""
        self.idle_marks.clear()
        self._pods.clear()
        self._accepting.clear()
        self.changed_versions.reset()

    def put(self, entry: PodStatus | IdleVersion) -> None:
        """Add or replace an entry."""
        if isinstance(entry, IdleVersion):
            self.idle_marks[entry.version] = entry
        else:
            self._pods.setdefault(entry.version, {})[entry.key] = entry
        self._note(entry.version)

    def remove(self, entry: PodStatus | IdleVersion) -> None:
        """Remove an entry."""
        version = entry.version
        if isinstance(entry, IdleVersion):
            self.idle_marks.pop(version, None)
        elif pods := self._pods.get(version):
            pods.pop(entry.key, None)
            if not pods:
                del self._pods[version]
        self._note(version)

    def _note(self, version: Version) -> None:
        is_ready = any(pod.phase is PodPhase.READY for pod in self.pods_of(version))
        if is_ready or version in self.idle_marks:
            self._accepting[version] = None
        else:
            self._accepting.pop(version, None)
        self.changed_versions.add(version)
