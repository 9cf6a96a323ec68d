"""A cluster of the lab: a control plane with nodes. Its methods block."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from broker.runtime.process_tree import end_with_parent
from tests.kubernetes.control_plane import STOP_S, ControlPlane

WAIT_S = 120.0
_POLL_S = 0.1
_REPOSITORY = Path(__file__).parent.parent.parent


class LabCluster:
    """A control plane with nodes.

    Args:
        control_plane: It runs already.

    Attributes:
        agents: The processes of its nodes; the pods of one end with it.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self.kubectl = control_plane.kubectl
        self.kubectl_with_warnings = control_plane.kubectl_with_warnings
        self.apply = control_plane.apply
        self.agents: dict[str, subprocess.Popen[bytes]] = {}
        self._numbers = itertools.count(1)

    @contextlib.contextmanager
    def node(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a node for the length of the context."""
        folder = self.control_plane.folder / name
        folder.mkdir()
        arguments = [
            str(self.control_plane.kubeconfig),
            name,
            str(next(self._numbers)),
            str(folder),
        ]
        with (folder / "agent.log").open("ab") as log:
            agent = subprocess.Popen(
                [sys.executable, "-m", "tests.kubernetes.node_agent", *arguments],
                cwd=_REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is made before
            )
        try:
            yield agent
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait(STOP_S)

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """Make a namespace for the length of the context; its pods are gone at the end."""
        name = f"test-{next(self._numbers)}"
        self.kubectl("create", "namespace", name)
        # Pods are refused until it is there.
        self.wait(lambda: self.exists(name, "serviceaccount", "default"))
        try:
            yield name
        finally:
            scope = ("--namespace", name, "--all", "--grace-period=1")
            self.kubectl("delete", "deployments,replicasets", *scope)
            self.kubectl("delete", "pods", *scope)
            self.kubectl("delete", "namespace", name, "--wait=false")

    def get(self, namespace: str, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Return the objects of a kind."""
        text = self.kubectl("get", kind, "--namespace", namespace, "--output=json", *arguments)
        items: list[dict[str, Any]] = json.loads(text)["items"]
        return items

    def pods(self, namespace: str) -> list[dict[str, Any]]:
        """Return the pods of a namespace that are not being deleted."""
        found = self.get(namespace, "pods")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def exists(self, namespace: str, kind: str, name: str) -> bool:
        """Return whether an object exists."""
        output = "--output=name"
        return bool(
            self.kubectl("get", kind, name, "--namespace", namespace, output, "--ignore-not-found")
        )

    @contextlib.contextmanager
    def watch(self, namespace: str, kind: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Yield the changes of the objects of a kind, beginning with those that exist.

        The changes end after a while.
        """
        arguments = ["get", kind, "--namespace", namespace, f"--request-timeout={WAIT_S}s"]
        output = ("--watch", "--output-watch-events", "--output=json")
        watching = self.control_plane.start_kubectl(*arguments, *output)
        assert watching.stdout is not None
        try:
            # With --output-watch-events, each change is one line.
            yield map(json.loads, watching.stdout)
        finally:
            watching.kill()
            watching.wait(STOP_S)
            watching.stdout.close()

    def wait_available(self, namespace: str, deployment: str) -> None:
        """Return when a Deployment's newest version has all its pods, and no others are left."""
        name = f"deployment/{deployment}"
        self.kubectl("rollout", "status", name, "--namespace", namespace, f"--timeout={WAIT_S}s")

    def wait(self, condition: Callable[[], bool]) -> None:
        """Return when ``condition`` holds, which is asked again and again."""
        give_up_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < give_up_s, "the cluster does not get there"
            time.sleep(_POLL_S)


@contextlib.contextmanager
def open_lab(
    program: Path,
    folder: Path,
    nodes: tuple[str, ...],
    flags: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[LabCluster]:
    """Start a control plane with nodes, and stop it at the end.

    Args:
        program: The binary of ``tests.kubernetes.binary``.
        folder: Empty.
        nodes: Their names.
        flags: Further arguments of each part of the control plane.
    """
    with ControlPlane(program, folder, flags) as control_plane, contextlib.ExitStack() as stack:
        cluster = LabCluster(control_plane)
        for name in nodes:
            cluster.agents[name] = stack.enter_context(cluster.node(name))
        for name in nodes:
            cluster.wait(lambda: cluster.exists("default", "node", name))  # noqa: B023
            cluster.kubectl("wait", f"node/{name}", "--for=condition=Ready", f"--timeout={WAIT_S}s")
        yield cluster
