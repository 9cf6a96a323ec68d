"""A real Kubernetes control plane on loopback: etcd, apiserver, controller manager, scheduler."""

from __future__ import annotations

import contextlib
import json
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from broker.runtime.process_tree import end_with_parent
from tests.support.ports import free_ports

START_S = 120.0
STOP_S = 40.0
TOKEN = "lab-admin"
_POLL_S = 0.05


class ControlPlane:
    """The four programs, in a folder of their own. Its methods block.

    Args:
        program: The binary of ``tests.kubernetes.binary``.
        folder: Contains the data, keys and logs.
        flags: Further arguments of each part.
    """

    def __init__(
        self, program: Path, folder: Path, flags: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self._flags = flags or {}
        self.program = program
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.ca = folder / "certificates" / "apiserver.crt"
        self._etcd, self._peers, self._port = free_ports(3)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # A part ends with the thread that has started it, and so with the tests, however they end.
        self._starter = ThreadPoolExecutor(max_workers=1)

    @property
    def url(self) -> str:
        """URL of the API."""
        return f"https://127.0.0.1:{self._port}"

    def pid(self, part: str) -> int:
        """Return the process id of a running part, such as ``apiserver``."""
        return self._running[part].pid

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.callback(self.stop)
            self._write_files()
            self.start_part("etcd", self._etcd_arguments())
            self.start_api_server()
            for part in ("controller-manager", "scheduler"):
                self.start_part(part, self._follower_arguments(part))
            stack.pop_all()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start_api_server(self) -> None:
        """Start the apiserver, and return when it is ready."""
        self.start_part("apiserver", self._api_arguments())
        self._wait_ready()

    def kill_api_server(self) -> None:
        """Kill the apiserver."""
        process = self._running.pop("apiserver")
        process.kill()
        process.wait(STOP_S)

    def start_part(self, part: str, arguments: Sequence[str]) -> None:
        """Start a part; its output is appended to a file of its name."""
        self._running[part] = self._starter.submit(self._spawn, part, arguments).result()

    def stop(self) -> None:
        """Stop all parts, the last started one first."""
        for _part, process in reversed(self._running.items()):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S / 8)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_S)
        self._running.clear()
        self._starter.shutdown()

    def _spawn(self, part: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{part}.log").open("ab") as log:
            return subprocess.Popen(
                [self.program, part, *arguments, *self._flags.get(part, ())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=end_with_parent(signal.SIGKILL),  # noqa: PLW1509 - it is made before
            )

    def _wait_ready(self) -> None:
        give_up_s = time.monotonic() + START_S
        while not self._is_ready():
            failed = [part for part, process in self._running.items() if process.poll() is not None]
            if failed or time.monotonic() > give_up_s:
                logs = "".join(self._end_of_log(part) for part in failed or self._running)
                raise RuntimeError(f"the control plane is not ready:\n{logs}")
            time.sleep(_POLL_S)

    def _is_ready(self) -> bool:
        if not self.ca.exists():
            return False
        login = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"{self.url}/readyz", headers=login)  # noqa: S310
        try:
            context = ssl.create_default_context(cafile=str(self.ca))
            with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def _end_of_log(self, part: str) -> str:
        return (self.folder / f"{part}.log").read_text(errors="replace")[-2000:]

    def _write_files(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        (self.folder / "service-accounts.pem").write_bytes(pem)
        (self.folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        cluster = {"server": self.url, "certificate-authority": str(self.ca)}
        context = {"cluster": "lab", "user": "admin"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "lab", "context": context}],
            "current-context": "lab",
        }
        self.kubeconfig.write_text(json.dumps(config))

    def _etcd_arguments(self) -> list[str]:
        client, peers = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peers}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            # The data of a test need not outlive a power cut.
            "--unsafe-no-fsync",
        ]

    def _api_arguments(self) -> list[str]:
        key = self.folder / "service-accounts.pem"
        return [
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self.ca.parent}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-signing-key-file={key}",
            f"--service-account-key-file={key}",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",
        ]

    def _follower_arguments(self, part: str) -> list[str]:
        config = self.kubeconfig
        arguments = [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            "--leader-elect=false",
            "--secure-port=0",
        ]
        if part == "controller-manager":
            arguments += [
                f"--service-account-private-key-file={self.folder / 'service-accounts.pem'}",
                f"--root-ca-file={self.ca}",
                "--use-service-account-credentials",
            ]
        return arguments
