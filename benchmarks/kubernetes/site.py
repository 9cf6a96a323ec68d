"""A platform beside a cluster of the lab: control and one pod runner, each with its own account."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.e2e.kubefox import FOX
from benchmarks.kubernetes.calls import AuditLog
from benchmarks.support.nats_address import NatsAddress
from benchmarks.support.programs import Program, Programs, running_ns
from fox.cli.support.control_client import ControlClient
from fox.cli.support.given_token import GivenToken
from fox.nats_server import run_nats_server
from fox.owner_token import TOKEN_FILE, read_private
from pods.kubernetes.cluster import read_kubeconfig
from tests.kubernetes import binary
from tests.kubernetes.account import CONTROL_RULES, RULES, make_account, write_kubeconfig
from tests.kubernetes.control_plane import ControlPlane
from tests.kubernetes.lab_cluster import LabCluster
from tests.kubernetes.resources import CRDS, as_user

NAMESPACE = "bench"
CONTROL, RUNNER, API_SERVER = "control", "pod runner", "API server"
ACCOUNTS = {CONTROL: "kubefox-control", RUNNER: "kubefox-pods"}


class Part:
    """A part of the platform that can be started again.

    Args:
        stack: Its end stops the process.
        program: The running process.

    Attributes:
        pid: Process id.
    """

    def __init__(self, stack: AsyncExitStack, program: Program) -> None:
        self._stack = stack
        self.pid = program.pid

    async def stop(self) -> None:
        """Stop it, as Kubernetes does."""
        await self._stack.aclose()


class Site:
    """The cluster and the platform; made by ``open_site``.

    Attributes:
        cluster: The cluster.
        admin: Login to it with all rights, in the namespace of the pods.
        audit: The calls of the platform.
        control: The control API; its calls block.
        parts: The running processes of the platform, by their roles.
    """

    control: ControlClient

    def __init__(
        self, cluster: LabCluster, folder: Path, audit: AuditLog, nats: NatsAddress
    ) -> None:
        config = read_kubeconfig(cluster.control_plane.kubeconfig)
        self.cluster = cluster
        self.admin = config.in_namespace(NAMESPACE)
        self.audit = audit
        self.parts: dict[str, Part] = {}
        self._folder = folder
        self._nats = nats
        self._environ: dict[str, dict[str, str]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by role."""
        api_server = self.cluster.control_plane.pid("apiserver")
        return {**{role: part.pid for role, part in self.parts.items()}, API_SERVER: api_server}

    def cpu_s(self) -> dict[str, float]:
        """Return the CPU time of each process until now."""
        return {role: running_ns((pid,)) / 1e9 for role, pid in self.pids.items()}

    def peak_mib(self) -> dict[str, float]:
        """Return the highest resident memory that each process has had."""
        return {role: _peak_kib(pid) / 1024 for role, pid in self.pids.items()}

    async def prepare(self) -> None:
        """Make the namespace, the kinds and the accounts."""
        kubectl = self.cluster.kubectl
        await asyncio.to_thread(kubectl, "create", "namespace", NAMESPACE)
        await asyncio.to_thread(kubectl, "apply", "--server-side", "--filename", str(CRDS))
        await asyncio.to_thread(
            kubectl, "wait", "crd", "--all", "--for=condition=Established", "--timeout=60s"
        )
        for role, rules in ((CONTROL, CONTROL_RULES), (RUNNER, RULES)):
            account = ACCOUNTS[role]
            token = await asyncio.to_thread(make_account, self.cluster, NAMESPACE, rules, account)
            folder = self._folder / account
            folder.mkdir()
            login = as_user(self.admin, NAMESPACE, token)
            self._environ[role] = {"KUBECONFIG": str(write_kubeconfig(login, folder))}

    async def start(self, role: str) -> None:
        """Start a part, and return when it is ready."""
        stack = AsyncExitStack()
        environ = {
            "FOX_DATA_DIR": str(self._folder / "data"),
            "FOX_CONTROL_PORT": "0",
            **self._nats.environ,
            **self._environ[role],
        }
        programs = Programs(self._folder, stack)
        if role == CONTROL:
            environ["FOX_CUSTOM_RESOURCES"] = "true"
            command, ready = "control", r"control +(http\S+)"
        else:
            environ |= {"FOX_POD_DRIVER": "kubernetes", "FOX_POD_IMAGE": "lab"}
            command, ready = "pods", "KubeFox is (ready)"
        program = await programs.start(command, FOX, "serve", command, ready=ready, environ=environ)
        self.parts[role] = Part(stack, program)
        if role == CONTROL:
            token = read_private(self._folder / "data" / TOKEN_FILE)
            given = GivenToken(token, "the owner's token")
            self.control = ControlClient(program.ready_text, token=given)

    async def stop_part(self, role: str) -> None:
        """Stop one part, as Kubernetes does."""
        await self.parts.pop(role).stop()

    async def stop(self) -> None:
        """Stop all parts, the last started one first."""
        for part in reversed(self.parts.values()):
            await part.stop()


@contextlib.asynccontextmanager
async def open_site(folder: Path, nodes: int) -> AsyncIterator[Site]:
    """Run a control plane with nodes that run nothing, and a platform, until the context ends.

    Args:
        folder: For all files; empty.
        nodes: Number of nodes.

    Raises:
        RuntimeError: The lab's binary is missing and cannot be built.
    """
    program = await asyncio.to_thread(binary.build)
    lab = folder / "lab"
    lab.mkdir()
    audit = AuditLog(lab, NAMESPACE, *ACCOUNTS.values())
    async with AsyncExitStack() as stack:
        control_plane = ControlPlane(program, lab, {"apiserver": audit.flags})
        await asyncio.to_thread(control_plane.__enter__)
        stack.callback(control_plane.stop)
        cluster = LabCluster(control_plane)
        programs = Programs(folder, stack)
        await programs.start(
            "nodes",
            *(sys.executable, "-m", "benchmarks.kubernetes.nodes"),
            *(str(control_plane.kubeconfig), str(nodes)),
            ready="nodes are (registered)",
        )
        server = await stack.enter_async_context(run_nats_server(folder / "nats"))
        nats = NatsAddress(url=server.url, credentials=str(server.account_key_file))
        site = Site(cluster, folder, audit, nats)
        await site.prepare()
        stack.push_async_callback(site.stop)
        for role in (CONTROL, RUNNER):
            await site.start(role)
        yield site


def _peak_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])
