"""KubeFox with the benchmark's app on it: in processes apart, or all in ``fox up``."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil

from benchmarks.support.programs import Program, Programs
from fox.cli.client import Control
from fox.cli.kinds import DEPLOYMENTS, PODS, SLEEPERS
from fox.data_dir import read_info
from fox.nats_server import run_nats_server
from model.deployment import Deployment
from model.pod import PodStatus, Sleeper

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
        control_url: Of its control API.
        http_port: Of its HTTP adapter.
        nats_url: With credentials.
        processes: Process ids of the platform, without its pods.
    """

    control_url: str
    http_port: int
    nats_url: str
    processes: dict[str, tuple[int, ...]]

    @property
    def control(self) -> Control:
        """A client of its control API, whose calls block."""
        return Control(self.control_url)

    async def pods(self, *components: str) -> dict[str, tuple[int, ...]]:
        """Return the process ids of the components' pods, by component."""
        listed = await asyncio.to_thread(self.control.get, "v1", PODS.path)
        pods: list[PodStatus] = PODS.records(listed)
        return {
            name: tuple(pod.pid for pod in pods if pod.component == name and pod.pid)
            for name in components
        }

    async def asleep(self) -> frozenset[str]:
        """Return the components without a pod, since they sleep."""
        listed = await asyncio.to_thread(self.control.get, "v1", SLEEPERS.path)
        sleepers: list[Sleeper] = SLEEPERS.records(listed)
        names = frozenset(each.component for each in sleepers)
        left = await self.pods(*names)
        return frozenset(name for name in names if not left[name])


def url_path(component_path: str, deployment: str = "") -> str:
    """Return an explicit URL's path and query, or a plain one's."""
    plain = f"/{ENVIRONMENT}/{component_path}"
    return f"{plain}?kf-dep={deployment}&kf-ve={ENVIRONMENT}" if deployment else plain


async def start_apart(programs: Programs) -> KubeFox:
    """Start nats-server, control and the HTTP adapter as processes of their own."""
    nats = await programs.stack.enter_async_context(run_nats_server(programs.folder / "nats"))
    environ = _environ(programs, nats.url)
    control = await programs.start(
        "control", FOX, "serve", "control", ready=r"control +(http\S+)", environ=environ
    )
    http = await serve_http(programs, nats.url)
    return KubeFox(
        control_url=control.said,
        http_port=port_of(http),
        nats_url=nats.url,
        processes={"adapter": (http.pid,), "NATS": (nats.pid,)},
    )


async def serve_http(programs: Programs, nats_url: str, workers: int = 1) -> Program:
    """Start a further ``fox serve http``."""
    return await programs.start(
        f"http-{workers}",
        *(FOX, "serve", "http", "--workers", str(workers)),
        ready=r"requests +(http\S+)",
        environ=_environ(programs, nats_url),
    )


def port_of(program: Program) -> int:
    """Return the port of the URL that a program said."""
    port = urlsplit(program.said).port
    assert port is not None
    return port


async def start_whole(programs: Programs, *, idle_s: float = 0) -> KubeFox:
    """Start ``fox up``, whose pods sleep when nobody has used them for ``idle_s``, if not 0."""
    environ = {**_environ(programs), "FOX_POD_IDLE_S": f"{idle_s:g}"}
    up = await programs.start("up", FOX, "up", ready=r"control +(http\S+)", environ=environ)
    info = read_info(programs.folder / "data")
    assert info is not None
    nats = [each.pid for each in psutil.Process(up.pid).children() if each.name() == "nats-server"]
    return KubeFox(
        control_url=info.control_url,
        http_port=urlsplit(info.http_url).port or 0,
        nats_url=info.nats_url,
        processes={"fox up": (up.pid,), "NATS": tuple(nats)},
    )


async def deploy_app(kubefox: KubeFox, programs: Programs, source: Path = APP) -> Path:
    """Deploy an app as ``bench-1`` and release it, as a user does; return its repository."""
    app = programs.folder / "app"
    shutil.copytree(source, app, ignore=shutil.ignore_patterns("__pycache__"))
    await asyncio.to_thread(commit, app)
    environ = {"FOX_CONTROL_URL": kubefox.control_url}
    for command in (
        (FOX, "apply", "-f", "environments.yaml"),
        (FOX, "deploy", FIRST, "--version", "v1"),
        (FOX, "release", "v1", "--virtual-env", ENVIRONMENT),
    ):
        await programs.run(*command, cwd=app, environ=environ)
    return app


def commit(app: Path) -> None:
    """Commit all that lies in an app's folder, which becomes a repository if it is none."""
    new = () if (app / ".git").is_dir() else (("init", "--quiet", "--initial-branch", "main"),)
    for command in (*new, ("add", "--all"), ("commit", "--quiet", "--message", "Change")):
        subprocess.run(["git", *command], cwd=app, env={**os.environ, **_GIT}, check=True)


async def deploy_copies(kubefox: KubeFox, names: Sequence[str]) -> None:
    """Deploy the content of ``bench-1`` again under each name; no pod is added."""
    await asyncio.to_thread(_deploy_copies, kubefox, names)


def _deploy_copies(kubefox: KubeFox, names: Sequence[str]) -> None:
    control = kubefox.control
    first: Deployment = DEPLOYMENTS.record_of(control.get("v1", DEPLOYMENTS.path, FIRST))
    for name in names:
        wanted = msgspec.structs.replace(first, name=name, version=None)
        body = {"deployment": wanted, "components": []}
        control.put("v1", DEPLOYMENTS.path, name, body=body)


def _environ(programs: Programs, nats_url: str = "") -> dict[str, str]:
    return {
        "FOX_DATA_DIR": str(programs.folder / "data"),
        "FOX_HTTP_PORT": "0",
        "FOX_CONTROL_PORT": "0",
        "FOX_NATS_URL": nats_url,
    }
