"""kubectl, for one cluster. Its methods block."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

COMMAND_S = 120.0


class Output(NamedTuple):
    """The output of kubectl.

    Attributes:
        output: Its standard output.
        warnings: Its standard error.
    """

    output: str
    warnings: str


class Kubectl:
    """Runs kubectl.

    Args:
        program: The program, and its first arguments.
        kubeconfig: Names the cluster and the user.
        cache: Folder for what kubectl knows of the cluster. Its default is one for all clusters of
            an address, and so has stale answers.
    """

    def __init__(self, program: Sequence[str | Path], kubeconfig: Path, cache: Path) -> None:
        options = [f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}"]
        self._command = [*map(str, program), *options]

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run kubectl and return its output.

        Raises:
            AssertionError: It failed; the message is its own.
        """
        return self.run_with_warnings(*arguments, stdin=stdin).output

    def run_with_warnings(self, *arguments: str, stdin: str = "") -> Output:
        """Do the same, and return the warnings of the API too."""
        done = subprocess.run(
            [*self._command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return Output(done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start kubectl; its output is a pipe."""
        return subprocess.Popen([*self._command, *arguments], stdout=subprocess.PIPE, text=True)

    def apply(self, namespace: str, *manifests: dict[str, Any]) -> None:
        """Apply manifests in a namespace."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        self.run("apply", "--namespace", namespace, "--filename", "-", stdin=text)
