"""The local driver: pods are processes of this machine, run from content-addressed bundles."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from broker.nats.bus import Bus
from broker.runtime import confinement
from broker.runtime.confinement import Confinement
from kubefox.distill import Version
from kubefox.errors import InternalError
from pods.base import HasReplica, PodSpec, has_no_replica
from pods.bundle_folders import BundleFolders, FetchBundle
from pods.confining import Confining
from pods.liveness import NOT_WATCHED, Liveness, LivenessBounds
from pods.logins import Logins
from pods.logs import PodLogs
from pods.pod_environ import inherited
from pods.process import PodProcess, run_process
from pods.rights import ALL_RIGHTS, PodRights
from pods.work_folders import WorkFolders

# -P: the working directory is the bundle's folder, whose modules may have names of the platform.
POD_COMMAND = (sys.executable, "-P", "-m", "fox.kit.pod")
GRACE_S = 30.0


class LocalDriver:
    """Runs each pod as a subprocess; a ``pods.base.PodDriver``.

    A pod never outlives this process: if this process is killed, the pod's standard input ends,
    and the pod exits.

    Args:
        data_dir: Bundles are unpacked in its folder ``bundles``; pods work in its folder ``work``.
        logins: Makes the logins of pods to NATS.
        fetch: Returns the bundle of a hash, as ``broker.storage.bundles.Bundles.get`` does.
        logs: Stores the pods' output.
        command: Program that serves a pod, as ``python -m fox.kit.pod`` does.
        grace_s: How long a pod may drain before it is killed.
        liveness: How long a pod's event loop may stand still before the pod is killed.
        log_format: Log format of the pods: ``json`` or ``console``.
        log_level: Log level of the pods.
        rights: Rights of the pods.
        bus: Not needed.
        image: Not needed.
        template: Not needed.
        image_repositories: Not needed: a component runs from its folder, whatever image it names.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        logins: Logins,
        fetch: FetchBundle,
        logs: PodLogs,
        command: Sequence[str] = POD_COMMAND,
        grace_s: float = GRACE_S,
        liveness: LivenessBounds = NOT_WATCHED,
        log_format: str = "console",
        log_level: str = "INFO",
        rights: PodRights = ALL_RIGHTS,
        bus: Bus | None = None,
        image: str = "",
        template: str = "",
        image_repositories: str = "",
    ) -> None:
        self._bundles = BundleFolders(data_dir / "bundles", fetch)
        self._logs = logs
        self._command = tuple(command)
        self._grace_s = grace_s
        self._liveness = Liveness(liveness)
        self._work_folders = WorkFolders(data_dir / "work")
        self._logins = logins
        self._confining = Confining(data_dir, rights)
        self._environ = {
            **inherited(os.environ, rights.pass_on),
            "FOX_LOG_FORMAT": log_format,
            "FOX_LOG_LEVEL": log_level,
            # Output appears in the logs as soon as the component prints it.
            "PYTHONUNBUFFERED": "1",
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        """Do nothing: each pod has ended with its own context."""

    def detach(self) -> None:
        """Do nothing: a process of this machine never outlives its platform."""

    @contextlib.asynccontextmanager
    async def run(
        self, spec: PodSpec, has_replica: HasReplica = has_no_replica
    ) -> AsyncIterator[PodProcess]:
        """Run a pod for the length of the context; see ``PodDriver.run``."""
        folder = await self._bundles.folder(spec.hash, spec.runtime)
        environ = {
            **self._environ,
            "FOX_APP": spec.app,
            "FOX_COMPONENT": spec.component,
            "FOX_HASH": spec.hash,
            "FOX_POD": spec.id,
            "FOX_POD_IS_NEW": "true" if spec.is_new else "false",
            "FOX_BUNDLE": str(folder),
            "FOX_ENTRY": spec.runtime.entry,
        }

        def on_lines(lines: list[str]) -> None:
            self._logs.write(spec, lines)

        async with (
            self._work_folder(spec) as work,
            self._confining.confined(folder, work) as confined,
            run_process(
                self._command,
                {**environ, **_own_environ(work, confined)},
                work,
                on_lines,
                self._grace_s,
                self._liveness,
                has_replica,
                login=self._logins.log_in(spec),
            ) as process,
        ):
            yield process

    async def left_pods(self) -> Mapping[Version, int]:
        """Return nothing: a process of this machine never outlives its platform."""
        return {}

    def pods_of(self, version: Version) -> tuple[str, ...]:
        """Return none: all pods were asked for; see ``PodDriver.pods_of``."""
        return ()

    def retire(self, version: Version) -> None:
        """Note that a version is not in use any more; see ``PodDriver.retire``."""
        self._logins.retire(version)

    async def collect_garbage(self, used_hashes: frozenset[str]) -> None:
        """Remove the folders of unused versions; see ``PodDriver.collect_garbage``."""
        await self._bundles.keep_only(used_hashes)
        await self._work_folders.remove_unused()

    @contextlib.asynccontextmanager
    async def _work_folder(self, spec: PodSpec) -> AsyncIterator[Path]:
        try:
            folder = await self._work_folders.make(spec.id)
        except OSError as error:
            raise InternalError(
                f"pod {spec.id} gets no working folder: {error.strerror}: {error.filename}"
            ) from error
        try:
            yield folder
        finally:
            await self._work_folders.remove(spec.id)


def _own_environ(work: Path, confined: Confinement) -> dict[str, str]:
    """Return the variables of one process; libraries write to the folders that they name."""
    return {
        confinement.VARIABLE: confinement.encode(confined),
        "HOME": str(work),
        "TMPDIR": str(work),
    }
