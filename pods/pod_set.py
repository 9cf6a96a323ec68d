"""The pods of one fleet, by id and by component version."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from kubefox.distill import Version
from kubefox.pod import PodPhase, PodStatus
from pods.supervisor import PodSupervisor


class PodSet:
    """The pods that live. A pod that is being stopped still lives, but does not count any more.

    Attributes:
        living: The pods of each version by id, with those that are being stopped.
    """

    def __init__(self) -> None:
        self.living: dict[Version, dict[str, PodSupervisor]] = {}
        self._counting: dict[str, PodSupervisor] = {}

    def __getitem__(self, pod: str) -> PodSupervisor:
        return self._counting[pod]

    def add(self, supervisor: PodSupervisor) -> None:
        """Add a pod that starts."""
        status = supervisor.status
        self._counting[status.id] = supervisor
        self.living.setdefault(status.version, {})[status.id] = supervisor

    def discount(self, pod: str) -> None:
        """Note that a pod is being stopped."""
        del self._counting[pod]

    def remove(self, ended: PodStatus) -> None:
        """Remove a pod that has ended."""
        self._counting.pop(ended.id, None)
        living = self.living[ended.version]
        del living[ended.id]
        if not living:
            del self.living[ended.version]

    def items(self) -> Collection[tuple[str, PodSupervisor]]:
        """Return the ids and the supervisors of all pods that count."""
        return self._counting.items()

    def statuses(self) -> list[PodStatus]:
        """Return the statuses of all pods that count."""
        return [supervisor.status for supervisor in self._counting.values()]

    def of(self, version: Version) -> list[PodSupervisor]:
        """Return the pods of a version that count."""
        living = self.living.get(version, ())
        return [self._counting[pod] for pod in living if pod in self._counting]

    def has(self, version: Version) -> bool:
        """Return whether a pod of a version counts."""
        return bool(self.of(version))

    def ready(self, version: Version) -> frozenset[str]:
        """Return the ids of the ready pods of a version."""
        pods = (supervisor.status for supervisor in self.of(version))
        return frozenset(pod.id for pod in pods if pod.phase is PodPhase.READY)

    def is_recovering(self, version: Version) -> bool:
        """Return whether no pod of a version is ready, and one of them restarts."""
        recovering = any(pod.is_recovering for pod in self.of(version))
        return recovering and not self.ready(version)

    def versions_of(self, versions: Collection[Version]) -> Mapping[str, Version]:
        """Return the pods of some versions, by id."""
        return dict(self._ids_of(versions))

    def _ids_of(self, versions: Collection[Version]) -> Iterator[tuple[str, Version]]:
        for version in versions:
            for pod in self.of(version):
                yield pod.status.id, version
