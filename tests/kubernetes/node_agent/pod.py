"""One pod of the node: its volumes, its containers, its status, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from pods.kubernetes.api import STRATEGIC, Api, ApiError, Object
from tests.kubernetes.node_agent.container import Container, Launch, timestamp
from tests.kubernetes.node_agent.fields import UnsupportedError, expand, pod_field, with_mounts
from tests.kubernetes.node_agent.images import ImagePullError, Images
from tests.kubernetes.node_agent.stable_names import StableNames
from tests.kubernetes.node_agent.volumes import Sources, localize_files, mount_volumes

logger = logging.getLogger(__name__)

ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
_RETRY_S = 0.5
_PROGRAMS = Path(sys.executable).parent


class PodRun:
    """One pod, from its arrival at the node to its end.

    Args:
        api: The API.
        pod: The pod as the scheduler has bound it.
        address: Its IP address.
        folder: For its volumes and logs; it is removed at its end.
        images: Those that its node can pull.
    """

    def __init__(self, api: Api, pod: Object, address: str, folder: Path, images: Images) -> None:
        self._api = api
        self._pod = pod
        self._folder = folder
        self._images = images
        self._started_s = time.time()
        self._containers: list[Container] = []
        self._changed = asyncio.Event()
        self._deleting = asyncio.Event()
        self._end_s = float("inf")
        self._waiting = {"reason": "ContainerCreating"}
        pod.setdefault("status", {}).update(podIP=address, hostIP=address)
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        self._path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._sources = Sources(api, namespace)

    @property
    def name(self) -> tuple[str, str]:
        """Its namespace and its name."""
        return self._pod["metadata"]["namespace"], self._pod["metadata"]["name"]

    def container(self, name: str) -> Container | None:
        """Return one of its containers, once they are made; the first one if no name is given."""
        names = (each["name"] for each in self._pod["spec"]["containers"])
        found = dict(zip(names, self._containers, strict=False))
        return found.get(name) if name else next(iter(found.values()), None)

    def see(self, status: Object) -> None:
        """Report its state again, as a kubelet does, if others have written that it is not ready.

        Kubernetes does so while the node does not answer.
        """
        shown = {each["type"]: each["status"] for each in status.get("conditions", ())}
        if shown.get("Ready") == "False" and self._is_ready:
            self._changed.set()

    def delete(self, grace_s: float) -> None:
        """Begin to end it within a grace time; a shorter one than before shortens it."""
        self._end_s = min(self._end_s, time.monotonic() + grace_s)
        self._deleting.set()

    async def run(self) -> None:
        """Run it until it has ended, and has been deleted if that was asked for."""
        reporting = asyncio.create_task(self._report_changes())
        try:
            if await self._prepare():
                await self._run_containers()
            await self._deleting.wait()
        finally:
            for container in self._containers:
                container.kill()
            reporting.cancel()
            await asyncio.wait([reporting])
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
        await self._until_done(self._report)
        await self._until_done(self._remove)

    async def _prepare(self) -> bool:
        """Make its containers; return False if it is deleted before that is possible."""
        while not self._deleting.is_set():
            try:
                await self._make_containers()
            except ImagePullError as error:
                await self._wait_for_retry("ImagePullBackOff", error)
            except (ApiError, UnsupportedError, KeyError) as error:
                await self._wait_for_retry("CreateContainerConfigError", error)
            else:
                self._changed.set()
                return True
        return False

    async def _wait_for_retry(self, reason: str, error: Exception) -> None:
        logger.info("%s cannot start yet: %r", self._path, error)
        self._waiting = {"reason": reason, "message": str(error)}
        self._changed.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._deleting.wait(), _RETRY_S)

    async def _make_containers(self) -> None:
        spec = self._pod["spec"]
        if spec.get("initContainers"):
            raise UnsupportedError("init containers")
        volumes = await mount_volumes(self._sources, self._pod, self._folder / "volumes")
        names = await self._sources.names(self._pod["metadata"]["namespace"])
        self._containers = [
            await self._container(each, volumes, names) for each in spec["containers"]
        ]

    async def _container(
        self, spec: Object, volumes: Mapping[str, Path], names: StableNames
    ) -> Container:
        if not spec.get("command"):
            raise UnsupportedError(f"container {spec['name']} without a command")
        programs = self._images.pull(spec["image"]) or _PROGRAMS
        mounts = {
            mount["mountPath"]: volumes[mount["name"]] / mount.get("subPath", "")
            for mount in spec.get("volumeMounts", ())
            # Else each path below /tmp of this machine would be taken for one of the mount.
            if not Path(mount["mountPath"]).exists()
        }

        def local(text: str) -> str:
            return with_mounts(names.resolved(text), mounts)

        localize_files(self._pod, volumes, local)
        variables = await self._variables(spec)
        if ACCOUNT_FOLDER in mounts:
            variables["KUBECONFIG"] = str(self._kubeconfig(mounts[ACCOUNT_FOLDER]))
        folder = self._folder / spec["name"]
        folder.mkdir(parents=True, exist_ok=True)
        place = with_mounts(spec.get("workingDir", ""), mounts) or str(folder)

        def localize(command: list[str]) -> list[str]:
            return [local(expand(part, variables)) for part in command]

        launch = Launch(
            command=localize([*spec["command"], *spec.get("args", ())]),
            environ={
                "PATH": f"{programs}:{_PROGRAMS}:{os.environ['PATH']}",
                "HOME": str(folder),
                **_coverage(),
                **{name: local(value) for name, value in variables.items()},
            },
            folder=Path(place),
            log=folder.with_suffix(".log"),
            address=self._pod["status"]["podIP"],
        )
        return Container(spec, launch, localize, self._restarts, self._changed.set)

    def _kubeconfig(self, account: Path) -> Path:
        """Return a kubeconfig with the token of the pod's service account.

        It stands in for the folder of the account and the variables with the address of the API,
        because this machine's own folders are those of all pods.
        """
        login = {"tokenFile": str(account / "token")}
        authority = {"certificate-authority": str(account / "ca.crt")}
        context = {"cluster": "lab", "user": "pod"}
        context["namespace"] = self._pod["metadata"]["namespace"]
        config = {
            "clusters": [{"name": "lab", "cluster": {"server": self._api.server, **authority}}],
            "users": [{"name": "pod", "user": login}],
            "contexts": [{"name": "lab", "context": context}],
            "current-context": "lab",
        }
        file = self._folder / "kubeconfig"
        file.write_text(json.dumps(config))
        return file

    async def _variables(self, spec: Object) -> dict[str, str]:
        variables: dict[str, str] = {}
        for source in spec.get("envFrom", ()):
            if secret := source.get("secretRef"):
                found = await self._sources.secret(secret["name"])
            else:
                found = await self._sources.config_map(source["configMapRef"]["name"])
            variables |= {
                source.get("prefix", "") + key: data.decode() for key, data in found.items()
            }
        for entry in spec.get("env", ()):
            variables[entry["name"]] = await self._value(entry, variables)
        return variables

    async def _value(self, entry: Object, variables: Mapping[str, str]) -> str:
        match entry.get("valueFrom"):
            case None:
                return expand(entry.get("value", ""), variables)
            case {"fieldRef": {"fieldPath": str(path)}}:
                return pod_field(self._pod, path)
            case {"secretKeyRef": {"name": str(name), "key": str(key)}}:
                return (await self._sources.secret(name))[key].decode()
            case {"configMapKeyRef": {"name": str(name), "key": str(key)}}:
                return (await self._sources.config_map(name))[key].decode()
        raise UnsupportedError(f"variable {entry['name']}")

    def _restarts(self, code: int) -> bool:
        policy = self._pod["spec"].get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    async def _run_containers(self) -> None:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(container.run()) for container in self._containers]
            stopping = group.create_task(self._stop_when_deleted())
            await asyncio.wait(running)
            stopping.cancel()

    async def _stop_when_deleted(self) -> None:
        await self._deleting.wait()
        await asyncio.gather(*(each.stop(self._remaining_s) for each in self._containers))

    @property
    def _is_ready(self) -> bool:
        return bool(self._containers) and all(each.is_ready for each in self._containers)

    def _remaining_s(self) -> float:
        return self._end_s - time.monotonic()

    async def _report_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._report()
            except ApiError as error:
                if error.is_away:
                    self._changed.set()
                logger.info("the status of %s cannot be reported: %s", self._path, error)
                await asyncio.sleep(_RETRY_S)

    async def _until_done(self, call: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await call()
            except ApiError as error:
                if error.is_away:
                    await asyncio.sleep(_RETRY_S)
                    continue
            return

    async def _report(self) -> None:
        changes = {"metadata": {"uid": self._pod["metadata"]["uid"]}, "status": self._status()}
        await self._api.patch(f"{self._path}/status", changes, STRATEGIC)

    async def _remove(self) -> None:
        await self._api.delete(self._path, uid=self._pod["metadata"]["uid"], grace_s=0)

    def _status(self) -> Object:
        is_ready = self._is_ready
        conditions = {
            "PodReadyToStartContainers": bool(self._containers),
            "Initialized": True,
            "ContainersReady": is_ready,
            "Ready": is_ready,
        }
        address = self._pod["status"]["podIP"]
        return {
            "phase": self._phase(),
            "startTime": timestamp(self._started_s),
            "podIP": address,
            "podIPs": [{"ip": address}],
            "hostIP": address,
            "conditions": [
                {"type": name, "status": str(value)} for name, value in conditions.items()
            ],
            "containerStatuses": self._container_statuses(),
        }

    def _container_statuses(self) -> list[Object]:
        if self._containers:
            return [each.status() for each in self._containers]
        return [
            {
                "name": each["name"],
                "image": each["image"],
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": self._waiting},
            }
            for each in self._pod["spec"]["containers"]
        ]

    def _phase(self) -> str:
        codes = [container.exit_code for container in self._containers]
        if not codes:
            return "Pending"
        if None in codes:
            return "Running"
        return "Failed" if any(codes) else "Succeeded"


def _coverage() -> dict[str, str]:
    """Return the variables by which a process is measured, if this one is."""
    return {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
