"""kubectl: asks the cluster of a context, with the login that the user's kubeconfig has for it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from typing import IO, NamedTuple

from broker.runtime.process_tree import end_with_parent
from fox.cli.support.control_client import NoPlatform
from kubefox.errors import FoxError, InvalidRequest, NotAuthorized

PROGRAM = "kubectl"
_LOCAL_S = 10.0
_LAST_LINES = 3


class KubeTarget(NamedTuple):
    """Where the control plane runs.

    Attributes:
        context: Name in the kubeconfig.
        namespace: In the cluster of the context.
    """

    context: str
    namespace: str

    def __str__(self) -> str:
        return f"namespace {self.namespace} of context {self.context}"

    def command(self, *arguments: str) -> list[str]:
        """Return a command of kubectl, for messages too."""
        where = ("--context", self.context, "--namespace", self.namespace)
        return [PROGRAM, *where, *arguments]


def context_names() -> list[str]:
    """Return the names of the contexts in the kubeconfig; none if kubectl cannot tell them."""
    try:
        return _local("config", "get-contexts", "--output=name").split()
    except InvalidRequest:
        return []


def namespace_of(context: str) -> str:
    """Return the namespace that the kubeconfig has for a context; empty if it has none.

    Raises:
        InvalidRequest: There is no such context, or kubectl cannot be run.
    """
    path = "jsonpath={.contexts[0].context.namespace}"
    arguments = ("config", "view", "--minify", "--context", context, "--output", path)
    try:
        return _local(*arguments).strip()
    except _Failed as failed:
        known = ", ".join(context_names()) or "it has none"
        raise InvalidRequest(
            f"context {context} cannot be used: kubectl says: {failed.detail}. Expected a context "
            f"of the kubeconfig: {known}"
        ) from failed


def read(target: KubeTarget, path: str, timeout_s: float) -> bytes:
    """Return the object at a path of the Kubernetes API, as JSON.

    Raises:
        InvalidRequest: kubectl is not installed.
        NotAuthorized: Kubernetes does not allow it.
        NoPlatform: The API server does not answer, or refuses for another reason.
    """
    try:
        return _output(target.command("get", "--raw", path), timeout_s)
    except _Failed as failed:
        raise failure(target, failed.detail) from failed


def start(arguments: Sequence[str]) -> tuple[subprocess.Popen[str], IO[str]]:
    """Start a command that ends with this process; return it, and the pipe with its output.

    Ctrl-C does not reach it: this process ends it.

    Raises:
        InvalidRequest: kubectl is not installed.
    """
    output, end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603 - kubectl, without a shell
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=end,
            text=True,
            process_group=0,
            preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is made before
        )
    except OSError as error:
        os.close(output)
        raise _not_installed(error) from error
    finally:
        os.close(end)
    return process, open(output, encoding="utf-8", errors="replace")  # noqa: PTH123 - a pipe


def failure(target: KubeTarget, reason: str) -> FoxError:
    """Return the error for what kubectl has printed when it failed.

    Args:
        target: Where it was to act.
        reason: Its last lines.
    """
    if "forbidden" in reason.lower():
        return NotAuthorized(
            f"Kubernetes does not allow this in {target}: {reason}. The rights that `fox` needs "
            "there are in docs/operations/kubernetes.md"
        )
    check = " ".join(target.command("get", "pods"))
    return NoPlatform(
        f"{target} cannot be reached: kubectl says: {reason.rstrip('.?')}. `{check}` must work, "
        "and ask nothing"
    )


def last_lines(text: str) -> str:
    """Return the last lines of the output of kubectl as one; its log is left out."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if not _is_log(line)] or lines
    return "; ".join(said[-_LAST_LINES:]).removeprefix("error: ")


class _Failed(InvalidRequest):
    """kubectl has failed; the detail is what it has printed."""


def _local(*arguments: str) -> str:
    return _output([PROGRAM, *arguments], _LOCAL_S).decode(errors="replace")


def _output(arguments: Sequence[str], timeout_s: float) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - kubectl, without a shell
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = last_lines((error.stderr or b"").decode(errors="replace"))
        raise _Failed(f"{said}, and no answer within {timeout_s:g} s") from error
    except OSError as error:
        raise _not_installed(error) from error
    if done.returncode != 0:
        raise _Failed(last_lines(done.stderr.decode(errors="replace")))
    return done.stdout


def _not_installed(error: OSError) -> InvalidRequest:
    return InvalidRequest(
        f"kubectl cannot be run: {error.strerror}: --kube-context needs it in PATH. Install it, or "
        "name the platform with --control-url"
    )


def _is_log(line: str) -> bool:
    """Return whether a line is one of klog, such as ``E1201 01:59:53.486805 …``."""
    return len(line) > 4 and line[0] in "IWEF" and line[1:5].isdigit()
