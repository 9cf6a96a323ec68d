"""The start of a pod of a cluster, without the cluster: the same program, on a real NATS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from broker.nats import bus as buses
from broker.nats.access import Access
from broker.nats.credentials import permissions
from broker.nats.credentials.login import encode_login
from broker.nats.credentials.permissions import Role
from kubefox.digest import RuntimeSpec, encode_runtime
from kubefox.errors import InternalError
from pods.base import PodSpec
from pods.kubernetes.bundle_files import BundleFiles
from pods.kubernetes.manifests import workload_name
from pods.kubernetes.start_exchange import CHUNK_BYTES
from pods.kubernetes.start_server import serve_starts
from pods.logins import PodLogins
from tests.pods import programs
from tests.pods.driver_contract import Bundles
from tests.support.nats import NatsServer

PROCESS = "pods-of-the-test"
OWN_IMAGE = RuntimeSpec(image="registry.example/team/api@sha256:" + "0f" * 32)
TELL = """
import json, os
login = json.loads(os.read(int(os.environ["FOX_NATS_OWN_LOGIN_FD"]), 65536))
print(os.environ["FOX_POD"], login["process_id"])
os.write(int(os.environ["FOX_READY_FD"]), b"ready")
"""
TELL_FILES = """
import os
print(*sorted(os.listdir(os.environ["FOX_RUN_FOLDER"])), flush=True)
os._exit(0)
"""


class Starting:
    """Starts of pods of one version, with the platform's answers to them."""

    def __init__(self, server: NatsServer, folder: Path) -> None:
        assert server.keys is not None
        self.bundles = Bundles()
        self.folder = folder
        self.logins = PodLogins(Access(server.url, server.keys.account_key))
        self.files = BundleFiles(folder / "packed", self.bundles.get)
        self.specs: dict[str, PodSpec] = {}
        rights = permissions.for_platform([Role.PODS], PROCESS)
        self._login = server.login(PROCESS, rights)

    @contextlib.asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        connecting = buses.connect(
            self._login.url, process_id=PROCESS, credentials=self._login.credentials
        )
        async with (
            connecting as bus,
            serve_starts(bus, self.specs.get, self.logins, self.files),
        ):
            yield

    async def add(self, source: str, runtime: RuntimeSpec = programs.RUNTIME) -> PodSpec:
        spec = self.bundles.add(source, runtime=runtime)
        await self.files.store(spec.hash)
        self.specs[spec.sender.tokens] = spec
        return spec

    async def start(self, spec: PodSpec, pod: str) -> asyncio.subprocess.Process:
        run = self.folder / "run"
        run.mkdir(exist_ok=True)
        login = self.folder / "login.json"
        login.write_bytes(encode_login(self.logins.log_in_first(spec)))
        environ = {
            "PATH": os.environ["PATH"],
            "FOX_APP": spec.app,
            "FOX_COMPONENT": spec.component,
            "FOX_HASH": spec.hash,
            "FOX_ENTRY": spec.runtime.entry,
            "FOX_RUNTIME": encode_runtime(spec.runtime).decode(),
            "FOX_POD": pod,
            "FOX_START_LOGIN": str(login),
            "FOX_RUN_FOLDER": str(run),
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "pods.kubernetes.begin",
            *programs.COMMAND,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def is_ready(self) -> bool:
        return (self.folder / "run" / "ready").read_bytes() == b"ready"


@pytest.fixture
def starting(own_secured_nats_server: NatsServer, tmp_path: Path) -> Starting:
    return Starting(own_secured_nats_server, tmp_path)


async def test_a_pod_becomes_its_component_with_a_login_of_its_own(starting: Starting) -> None:
    spec = await starting.add(TELL)
    name = f"{workload_name(spec.version)}-5d8f-x2b7"

    async with starting.answering():
        process = await starting.start(spec, name)
        output, errors = await process.communicate()

    pod, process_id = output.decode().split()
    assert (process.returncode, errors) == (0, b"")
    assert pod == name
    assert process_id.startswith(f"{name}-")
    assert starting.is_ready()


async def test_files_of_an_earlier_container_are_removed_before_the_platform_is_imported(
    tmp_path: Path,
) -> None:
    run, imported = tmp_path / "run", tmp_path / "imported"
    for folder in (run, imported):
        folder.mkdir()
    for name in ("ready", "beat", "kept"):
        (run / name).write_text("of before")
    # The first large package that is imported.
    (imported / "nats.py").write_text(TELL_FILES)

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "pods.kubernetes.begin",
        env={"FOX_RUN_FOLDER": str(run), "PYTHONPATH": str(imported)},
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()

    assert output == b"kept\n"


async def test_the_image_is_part_of_what_a_pod_verifies(starting: Starting) -> None:
    spec = await starting.add(TELL, OWN_IMAGE)
    name = f"{workload_name(spec.version)}-1"
    other = msgspec.structs.replace(spec, runtime=programs.RUNTIME)

    async with starting.answering():
        good = await starting.start(spec, name)
        _, good_errors = await good.communicate()
        bad = await starting.start(other, name)
        _, bad_errors = await bad.communicate()

    assert (good.returncode, good_errors) == (0, b"")
    assert bad.returncode == 1
    assert b"has other content than its hash says" in bad_errors


@pytest.mark.parametrize(
    ("runtime", "is_told"), [(programs.RUNTIME, False), (OWN_IMAGE, True)], ids=["platform", "own"]
)
async def test_an_image_of_another_version_of_the_platform_is_named(
    starting: Starting,
    runtime: RuntimeSpec,
    is_told: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("pods.kubernetes.start_server.PLATFORM_VERSION", "9.8.7")
    spec = await starting.add(TELL, runtime)
    name = f"{workload_name(spec.version)}-1"

    async with starting.answering():
        process = await starting.start(spec, name)
        await process.communicate()

    told = [record.message for record in caplog.records if "build image" in record.message]
    assert process.returncode == 0
    assert bool(told) is is_told
    assert all(f"pod {name} has version" in line and "this is 9.8.7" in line for line in told)


async def test_large_code_arrives_in_parts(starting: Starting) -> None:
    noise = os.urandom(3 * CHUNK_BYTES).hex()
    spec = await starting.add(f"print('whole')\n# {noise}\n")

    async with starting.answering():
        process = await starting.start(spec, f"{workload_name(spec.version)}-1")
        output, _ = await process.communicate()

    assert output == b"whole\n"


async def test_a_pod_waits_for_a_platform_that_is_away(starting: Starting) -> None:
    spec = await starting.add(TELL)

    process = await starting.start(spec, f"{workload_name(spec.version)}-1")
    assert process.stderr is not None
    waiting = await process.stderr.readline()
    async with starting.answering():
        await process.communicate()

    assert b"the pod waits for the platform" in waiting
    assert process.returncode == 0


async def test_a_pod_that_waits_ends_with_sigterm(starting: Starting) -> None:
    spec = await starting.add(TELL)
    process = await starting.start(spec, f"{workload_name(spec.version)}-1")
    assert process.stderr is not None
    await process.stderr.readline()

    process.terminate()

    assert await process.wait() == -signal.SIGTERM


@pytest.mark.parametrize("name", ["other-1", "a.b", ""])
async def test_a_pod_gets_no_login_under_the_name_of_another_version(
    starting: Starting, name: str
) -> None:
    spec = await starting.add(TELL)

    async with starting.answering():
        process = await starting.start(spec, name)
        assert process.stderr is not None
        waiting = await process.stderr.readline()
        process.terminate()
        await process.communicate()

    assert b"is not the name of a pod of this version" in waiting


async def test_a_version_that_is_not_to_run_gets_no_login(starting: Starting) -> None:
    spec = await starting.add(TELL)
    starting.specs.clear()

    async with starting.answering():
        process = await starting.start(spec, f"{workload_name(spec.version)}-1")
        assert process.stderr is not None
        waiting = await process.stderr.readline()
        process.terminate()
        await process.communicate()

    assert b"no pod of this version is to run" in waiting


async def test_a_bundle_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bundles = Bundles()
    spec = bundles.add(TELL)

    with pytest.raises(InternalError, match=r"cannot be written to .*: Not a directory"):
        await BundleFiles(tmp_path / "file" / "packed", bundles.get).store(spec.hash)


async def test_only_used_bundles_are_kept(tmp_path: Path) -> None:
    bundles = Bundles()
    used, unused = bundles.add("1"), bundles.add("2")
    files = BundleFiles(tmp_path, bundles.get)
    for spec in (used, unused):
        await files.store(spec.hash)

    await files.keep_only(frozenset({used.hash}))

    assert [path.name for path in tmp_path.iterdir()] == [used.hash]
