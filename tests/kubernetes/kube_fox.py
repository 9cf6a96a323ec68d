"""``fox --kube-context`` on the lab, as a user whose kubeconfig has a context for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from examples.demo.platform import FOX, Finished
from tests.kubernetes.account import make_account
from tests.kubernetes.lab_cluster import LabCluster

CONTEXT = "lab-user"
FORWARD = {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"]}
READ_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get"]}
# As docs/operations/kubernetes.md has them.
RULES = (FORWARD, READ_PODS)


class KubeFox:
    """Runs ``fox`` with a kubeconfig of one context, and with kubectl in PATH.

    Args:
        lab: The cluster.
        folder: For files.

    Attributes:
        environ: The variables of commands.
    """

    def __init__(self, lab: LabCluster, folder: Path) -> None:
        self._lab = lab
        self.folder = folder
        folder.mkdir()
        kubectl = folder / "kubectl"
        kubectl.write_text(f'#!/bin/sh\nexec {lab.control_plane.program} kubectl "$@"\n')
        kubectl.chmod(0o700)
        own = {name: os.environ[name] for name in os.environ if not name.startswith("FOX_")}
        self.environ = {
            **own,
            "PATH": f"{folder}:{os.environ['PATH']}",
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
        }

    def log_in(self, namespace: str, *rules: Mapping[str, list[str]], name: str = "user") -> None:
        """Use a new account of a namespace with some rights from now on. It blocks."""
        token = make_account(self._lab, namespace, rules, name)
        self.use(self._lab.control_plane.url, namespace, token)

    def use(self, server: str, namespace: str, token: str) -> None:
        """Use a server with a token from now on; the context has the namespace, if any."""
        authority = {"certificate-authority": str(self._lab.control_plane.ca)}
        context = {"cluster": "lab", "user": "user"} | (
            {"namespace": namespace} if namespace else {}
        )
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": server, **authority}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": CONTEXT, "context": context}],
        }
        (self.folder / "kubeconfig").write_text(json.dumps(config))

    @contextlib.asynccontextmanager
    async def running(
        self, *arguments: str | Path, cwd: Path | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a command with the context, until the end of this context at most."""
        process = await asyncio.create_subprocess_exec(
            FOX,
            "--kube-context",
            CONTEXT,
            *arguments,
            cwd=cwd or self.folder,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def run(self, *arguments: str | Path, cwd: Path | None = None) -> Finished:
        """Run a command with the context to its end."""
        async with self.running(*arguments, cwd=cwd) as process:
            out, err = await process.communicate()
        return Finished(code=process.returncode or 0, out=out.decode(), err=err.decode())

    async def out(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run a command that succeeds, and return its output."""
        done = await self.run(*arguments, cwd=cwd)
        assert done.code == 0, f"fox {arguments}: {done.out}{done.err}"
        return done.out

    async def err(self, *arguments: str) -> str:
        """Run a command that fails, and return its error."""
        done = await self.run(*arguments)
        assert (done.code, done.out) == (1, ""), f"fox {arguments}: {done}"
        return done.err

    @staticmethod
    async def end(process: asyncio.subprocess.Process, number: signal.Signals) -> int:
        """Send a signal to a command, and return its exit code."""
        process.send_signal(number)
        await process.communicate()
        return process.returncode or 0

    def tunnels(self) -> list[int]:
        """Return the process ids of the tunnels of this user that run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command, environ = (
                    (folder / name).read_bytes().split(b"\0") for name in ("cmdline", "environ")
                )
            except OSError:  # It has ended, or is another user's.
                continue
            if b"port-forward" in command and self._kubeconfig in environ:
                found.append(int(folder.name))
        return found

    async def wait_no_tunnel(self) -> None:
        """Return when no tunnel runs."""
        while self.tunnels():
            await asyncio.sleep(0.05)

    @property
    def _kubeconfig(self) -> bytes:
        """The variable that only commands of this user have."""
        return f"KUBECONFIG={self.environ['KUBECONFIG']}".encode()
