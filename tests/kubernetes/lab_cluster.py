"""A cluster of the lab: a control plane and nodes of this machine. Its methods block."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from broker.runtime.process_tree import end_with_parent
from tests.kubernetes.any_cluster import WAIT_S, AnyCluster
from tests.kubernetes.control_plane import STOP_S, ControlPlane
from tests.kubernetes.node_agent.images import IMAGES, Images
from tests.kubernetes.node_numbers import claimed_number

_REPOSITORY = Path(__file__).parent.parent.parent


class LabCluster(AnyCluster):
    """A control plane with nodes, whose pods are processes of this machine.

    Args:
        control_plane: It runs already.

    Attributes:
        agents: The processes of its nodes; the pods of one end with it.
        images: The images that its nodes can pull.
    """

    def __init__(self, control_plane: ControlPlane) -> None:
        program = (control_plane.program, "kubectl")
        super().__init__(program, control_plane.kubeconfig, control_plane.folder)
        self.control_plane = control_plane
        self.images = Images(control_plane.folder / IMAGES)
        self.agents: dict[str, subprocess.Popen[bytes]] = {}

    @contextlib.contextmanager
    def node(self, name: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run a node for the length of the context."""
        with claimed_number() as number, self._agent(name, number) as agent:
            yield agent

    @contextlib.contextmanager
    def _agent(self, name: str, number: int) -> Iterator[subprocess.Popen[bytes]]:
        folder = self.control_plane.folder / name
        folder.mkdir()
        arguments = [
            str(self.control_plane.kubeconfig),
            name,
            str(number),
            str(folder),
            str(self.control_plane.program),
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
