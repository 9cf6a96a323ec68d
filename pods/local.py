"""The local driver: pods are processes of this machine, run from content-addressed bundles."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path

from pods.base import PodSpec
from pods.bundle_folders import BundleFolders, Fetch
from pods.liveness import Liveness
from pods.logs import PodLogs
from pods.process import PodProcess, running

# -P: the working directory is an app's folder, whose modules may be called like the platform's.
POD_COMMAND = (sys.executable, "-P", "-m", "fox.kit.pod")
GRACE_S = 30.0


class LocalDriver:
    """Runs each pod as a subprocess; a ``pods.base.PodDriver``.

    A pod never outlives this process: if it is killed, the end of the pod's standard input
    tells the pod.

    Args:
        data_dir: Bundles are unpacked in its folder ``bundles``.
        nats_url: Where pods connect.
        fetch: Returns the bundle of a hash, as ``broker.bundles.Bundles.get``.
        logs: Takes pods' output.
        command: Program that serves a pod, as ``python -m fox.kit.pod``.
        grace_s: How long a pod may drain before it is killed.
        liveness_s: How long a pod's event loop may stand still before it is killed; 0 lets it.
        log_format: Of the pods: ``json`` or ``console``.
        log_level: Of the pods.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        nats_url: str,
        fetch: Fetch,
        logs: PodLogs,
        command: Sequence[str] = POD_COMMAND,
        grace_s: float = GRACE_S,
        liveness_s: float = 0,
        log_format: str = "console",
        log_level: str = "INFO",
    ) -> None:
        """Keep what pods are run with; nothing is started yet."""
        self._bundles = BundleFolders(data_dir / "bundles", fetch)
        self._logs = logs
        self._command = tuple(command)
        self._grace_s = grace_s
        self._liveness = Liveness(liveness_s)
        self._environ = {
            **_inherited(os.environ),
            "FOX_NATS_URL": nats_url,
            "FOX_LOG_FORMAT": log_format,
            "FOX_LOG_LEVEL": log_level,
            # Whatever a component prints is seen at once.
            "PYTHONUNBUFFERED": "1",
        }

    @contextlib.asynccontextmanager
    async def run(self, spec: PodSpec) -> AsyncIterator[PodProcess]:
        """Run a pod while the context lasts; see ``PodDriver.run``."""
        folder = await self._bundles.folder(spec.hash, spec.runtime)
        environ = {
            **self._environ,
            "FOX_APP": spec.app,
            "FOX_COMPONENT": spec.component,
            "FOX_HASH": spec.hash,
            "FOX_POD": spec.id,
            "FOX_BUNDLE": str(folder),
            "FOX_ENTRY": spec.runtime.entry,
        }

        def keep(lines: list[str]) -> None:
            self._logs.write(spec, lines)

        async with running(
            self._command, environ, folder, keep, self._grace_s, self._liveness
        ) as process:
            yield process

    async def tidy(self, named: frozenset[str]) -> None:
        """Remove the folders of all other versions; see ``PodDriver.tidy``."""
        await self._bundles.keep_only(named)


# Settings of the platform that pods have too.
_FOR_PODS = frozenset(
    {"FOX_TELEMETRY", "FOX_BODY_LIMIT_BYTES", "FOX_BODY_MEMORY_BYTES", "FOX_STREAM_IDLE_S"}
)


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the platform's environment without those of its own settings that pods lack."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("FOX_") or name in _FOR_PODS
    }
