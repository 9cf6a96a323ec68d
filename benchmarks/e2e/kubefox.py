"""KubeFox with the app of the benchmark: in separate processes, or as ``fox up``."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from benchmarks.support.nats_address import NatsAddress
from benchmarks.support.programs import Program, Programs
from fox.cli.support.control_client import ControlClient
from fox.cli.support.given_token import GivenToken
from fox.cli.support.kinds import DEPLOYMENTS, IDLE_VERSIONS, PODS, Kind
from fox.cli.support.pages import documents
from fox.data_dir import read_info
from fox.nats_server import run_nats_server
from fox.owner_token import TOKEN_FILE, read_private
from kubefox.deployment import Deployment
from kubefox.pod import IdleVersion, PodStatus

FOX = Path(sysconfig.get_path("scripts"), "fox")
APP = Path(__file__).with_name("app")
ENVIRONMENT = "live"
FIRST = "bench-1"
_GIT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Benchmark",
    "GIT_AUTHOR_EMAIL": "benchmark@example.com",
    "GIT_COMMITTER_NAME": "Benchmark",
    "GIT_COMMITTER_EMAIL": "benchmark@example.com",
}


class KubeFox(msgspec.Struct, frozen=True, kw_only=True):
    """A running platform.

    Attributes:
        control_url: URL of its control API.
        token: Token of its owner.
        http_port: Port of its HTTP adapter.
        nats: Its NATS.
        processes: Process ids of the platform without its pods, by role.
    """

    control_url: str
    token: str
    http_port: int
    nats: NatsAddress
    processes: dict[str, tuple[int, ...]]

    @property
    def control(self) -> ControlClient:
        """A client of the control API; its calls block."""
        return ControlClient(self.control_url, token=GivenToken(self.token, "the owner's token"))

    @property
    def credentials(self) -> dict[str, str]:
        """The header with the owner's token."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def environ(self) -> dict[str, str]:
        """Variables that name the platform for ``fox`` commands."""
        return {"FOX_CONTROL_URL": self.control_url, "FOX_TOKEN": self.token}

    async def pod_statuses(self) -> list[PodStatus]:
        """Return the status of every pod."""
        return await asyncio.to_thread(self._records, PODS)

    async def pods(self, *components: str) -> dict[str, tuple[int, ...]]:
        """Return the process ids of the components' pods, by component."""
        pods = await self.pod_statuses()
        return {
            name: tuple(pod.pid for pod in pods if pod.component == name and pod.pid)
            for name in components
        }

    async def idle_components(self) -> frozenset[str]:
        """Return the components that are idle and have no pod."""
        idle_versions: list[IdleVersion] = await asyncio.to_thread(self._records, IDLE_VERSIONS)
        names = frozenset(version.component for version in idle_versions)
        left = await self.pods(*names)
        return frozenset(name for name in names if not left[name])

    def _records(self, kind: Kind) -> list[Any]:
        return kind.records(documents(self.control, kind.path))


def url_path(component_path: str, deployment: str = "") -> str:
    """Return path and query of an explicit URL; without ``deployment``, of a plain URL."""
    plain = f"/{ENVIRONMENT}/{component_path}"
    return f"{plain}?kf-dep={deployment}&kf-ve={ENVIRONMENT}" if deployment else plain


async def start_separately(
    programs: Programs,
    settings: Mapping[str, str] | None = None,
    workers: int = 1,
    nats: NatsAddress | None = None,
) -> KubeFox:
    """Start nats-server, control, pods and the HTTP adapter, each as a separate process.

    Args:
        programs: Starts them.
        settings: Further variables of control and of the pods.
        workers: Number of workers of the HTTP adapter.
        nats: A running NATS; without it, one is started.
    """
    address, nats_pids = nats, tuple[int, ...]()
    if address is None:
        server = await programs.stack.enter_async_context(run_nats_server(programs.folder / "nats"))
        address = NatsAddress(url=server.url, credentials=str(server.account_key_file))
        nats_pids = (server.pid,)
    environ = {**_environ(programs, address), **(settings or {})}
    control = await programs.start(
        "control", FOX, "serve", "control", ready=r"control +(http\S+)", environ=environ
    )
    await programs.start("pods", FOX, "serve", "pods", ready="KubeFox is (ready)", environ=environ)
    http = await serve_http(programs, address, workers)
    return KubeFox(
        control_url=control.ready_text,
        token=_token(programs),
        http_port=port_of(http),
        nats=address,
        processes={"adapter": (http.pid,), "NATS": nats_pids},
    )


async def serve_http(programs: Programs, nats: NatsAddress, workers: int = 1) -> Program:
    """Start another ``fox serve http``."""
    return await programs.start(
        f"http-{workers}",
        *(FOX, "serve", "http", "--workers", str(workers)),
        ready=r"requests +(http\S+)",
        environ=_environ(programs, nats),
    )


async def serve_adapters(programs: Programs, nats: NatsAddress) -> Program:
    """Start ``fox serve adapters``."""
    return await programs.start(
        "adapters",
        *(FOX, "serve", "adapters"),
        ready="KubeFox is (ready)",
        environ=_environ(programs, nats),
    )


def port_of(program: Program) -> int:
    """Return the port in the ready line of a program."""
    port = urlsplit(program.ready_text).port
    assert port is not None
    return port


async def start_fox_up(
    programs: Programs, *, idle_s: float = 0, nats: NatsAddress | None = None
) -> KubeFox:
    """Start ``fox up``. It stops versions that are idle for ``idle_s``; 0 stops none.

    Args:
        programs: Starts it.
        idle_s: See above.
        nats: A running NATS; without it, ``fox up`` starts its own.
    """
    environ = {**_environ(programs, nats), "FOX_POD_IDLE_S": f"{idle_s:g}"}
    up = await programs.start("up", FOX, "up", ready=r"control +(http\S+)", environ=environ)
    info = read_info(programs.folder / "data")
    assert info is not None
    servers = [
        child.pid for child in psutil.Process(up.pid).children() if child.name() == "nats-server"
    ]
    return KubeFox(
        control_url=info.control_url,
        token=_token(programs),
        http_port=urlsplit(info.http_url).port or 0,
        nats=NatsAddress(url=info.nats_url, credentials=info.nats_credentials),
        processes={"fox up": (up.pid,), "NATS": tuple(servers)},
    )


def _token(programs: Programs) -> str:
    return read_private(programs.folder / "data" / TOKEN_FILE)


async def deploy_app(kubefox: KubeFox, programs: Programs, source: Path = APP) -> Path:
    """Deploy an app as ``bench-1`` and release it by ``fox``; return its repository."""
    app = programs.folder / "app"
    shutil.copytree(source, app, ignore=shutil.ignore_patterns("__pycache__"))
    await asyncio.to_thread(commit, app)
    environ = kubefox.environ
    for command in (
        (FOX, "apply", "-f", "environments.yaml"),
        (FOX, "deploy", FIRST, "--version", "v1"),
        (FOX, "release", "v1", "--virtual-env", ENVIRONMENT),
    ):
        await programs.run(*command, cwd=app, environ=environ)
    return app


def commit(app: Path) -> None:
    """Commit all files of an app's folder; make the folder a repository if it is none."""
    new = () if (app / ".git").is_dir() else (("init", "--quiet", "--initial-branch", "main"),)
    for command in (*new, ("add", "--all"), ("commit", "--quiet", "--message", "Change")):
        subprocess.run(["git", *command], cwd=app, env={**os.environ, **_GIT}, check=True)


async def deploy_copies(kubefox: KubeFox, names: Sequence[str]) -> None:
    """Deploy the content of ``bench-1`` under each name; this adds no pod."""
    await asyncio.to_thread(_deploy_copies, kubefox, names)


def _deploy_copies(kubefox: KubeFox, names: Sequence[str]) -> None:
    control = kubefox.control
    first: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, FIRST))
    for name in names:
        wanted = Deployment(name=name, app=first.app, components=first.components)
        body = {"deployment": wanted, "components": []}
        control.put("v1", DEPLOYMENTS.path, name, body=body)


def _environ(programs: Programs, nats: NatsAddress | None = None) -> dict[str, str]:
    return {
        "FOX_DATA_DIR": str(programs.folder / "data"),
        "FOX_HTTP_PORT": "0",
        "FOX_CONTROL_PORT": "0",
        **(nats.environ if nats else {}),
    }
