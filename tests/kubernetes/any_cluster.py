"""A cluster that tests use: the lab, or one that a kubeconfig names. Its methods block."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.kubernetes.kubectl import Kubectl

WAIT_S = 120.0
_STOP_S = 40.0
_POLL_S = 0.1


class AnyCluster:
    """A cluster, reached by kubectl.

    Args:
        program: kubectl, and its first arguments.
        kubeconfig: Names the cluster and a user who may do everything.
        folder: For files of kubectl.

    Attributes:
        kubeconfig: The same.
    """

    def __init__(self, program: Sequence[str | Path], kubeconfig: Path, folder: Path) -> None:
        self.kubeconfig = kubeconfig
        self._kubectl = Kubectl(program, kubeconfig, folder / "kubectl-cache")
        self.kubectl = self._kubectl.run
        self.kubectl_with_warnings = self._kubectl.run_with_warnings
        self.apply = self._kubectl.apply
        self.start_kubectl = self._kubectl.start

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """Make a namespace for the length of the context; its pods are gone at the end."""
        name = f"test-{secrets.token_hex(4)}"
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
        watching = self._kubectl.start(*arguments, *output)
        assert watching.stdout is not None
        try:
            # With --output-watch-events, each change is one line.
            yield map(json.loads, watching.stdout)
        finally:
            watching.kill()
            watching.wait(_STOP_S)
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
