"""The volumes of a pod as folders: Secrets, ConfigMaps, tokens, fields, claims, empty folders."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path

from pods.kubernetes.api import Api, Object
from tests.kubernetes.node_agent.fields import UnsupportedError, pod_field
from tests.kubernetes.node_agent.stable_names import StableNames

Files = dict[str, bytes]


class Sources:
    """Reads the objects that a pod refers to.

    Args:
        api: The API.
        namespace: Of the pod.
    """

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._core = f"/api/v1/namespaces/{namespace}"

    async def secret(self, name: str) -> Files:
        """Return the content of a Secret."""
        found = await self._api.get(f"{self._core}/secrets/{name}")
        return {key: base64.b64decode(data) for key, data in (found.get("data") or {}).items()}

    async def config_map(self, name: str) -> Files:
        """Return the content of a ConfigMap."""
        found = await self._api.get(f"{self._core}/configmaps/{name}")
        return {key: text.encode() for key, text in (found.get("data") or {}).items()}

    async def claimed(self, name: str) -> Path:
        """Return the folder of the volume that a claim has got.

        Raises:
            KeyError: It has got none yet, or one of another kind.
        """
        claim = await self._api.get(f"{self._core}/persistentvolumeclaims/{name}")
        volume = claim["spec"]["volumeName"]
        found = await self._api.get(f"/api/v1/persistentvolumes/{volume}")
        return Path(found["spec"]["hostPath"]["path"])

    async def names(self, namespace: str) -> StableNames:
        """Return the names of the pods that Services of the namespace name."""
        found = await self._api.get(f"{self._core}/services")
        headless = (
            each["metadata"]["name"]
            for each in found["items"]
            if each["spec"].get("clusterIP") == "None"
        )
        return StableNames(namespace, headless)

    async def token(self, pod: Object, wanted: Object) -> bytes:
        """Return a new token of the pod's service account."""
        account = pod["spec"]["serviceAccountName"]
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        }
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [wanted["audience"]] if "audience" in wanted else [],
                "expirationSeconds": wanted.get("expirationSeconds", 3600),
                "boundObjectRef": reference,
            },
        }
        path = f"{self._core}/serviceaccounts/{account}/token"
        token: str = (await self._api.create(path, request))["status"]["token"]
        return token.encode()

    async def files(self, pod: Object, volume: Object) -> Files:
        """Return the files of a volume, by their path in it.

        Raises:
            ApiError: An object that it names does not exist.
            UnsupportedError: The kind of volume is not supported.
        """
        match volume:
            case {"emptyDir": _} | {"persistentVolumeClaim": _}:
                return {}
            case {"secret": dict(source)}:
                return _chosen(await self.secret(source["secretName"]), source)
            case {"configMap": dict(source)}:
                return _chosen(await self.config_map(source["name"]), source)
            case {"projected": {"sources": list(sources)}}:
                return await self._projected(pod, sources)
            case {"downwardAPI": {"items": list(items)}}:
                return {
                    item["path"]: pod_field(pod, item["fieldRef"]["fieldPath"]).encode()
                    for item in items
                }
        raise UnsupportedError(f"volume {volume['name']}")

    async def _projected(self, pod: Object, sources: list[Object]) -> Files:
        files: Files = {}
        for source in sources:
            if wanted := source.get("serviceAccountToken"):
                files[wanted["path"]] = await self.token(pod, wanted)
            elif secret := source.get("secret"):
                files |= _chosen(await self.secret(secret["name"]), secret)
            else:
                files |= await self.files(pod, source | {"name": "projected"})
        return files


async def mount_volumes(sources: Sources, pod: Object, folder: Path) -> Mapping[str, Path]:
    """Write the volumes of a pod below ``folder``; return the folder of each, by its name."""
    folders: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes", ()):
        place = folder / volume["name"]
        if claim := volume.get("persistentVolumeClaim"):
            place = await sources.claimed(claim["claimName"])
        folders[volume["name"]] = place
        place.mkdir(parents=True, exist_ok=True)
        for path, content in (await sources.files(pod, volume)).items():
            file = place / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
            file.chmod(_mode(volume))
    return folders


def localize_files(
    pod: Object, folders: Mapping[str, Path], localize: Callable[[str], str]
) -> None:
    """Change the texts in the files of Secrets and ConfigMaps."""
    for volume in pod["spec"].get("volumes", ()):
        if "secret" not in volume and "configMap" not in volume:
            continue
        for file in filter(Path.is_file, folders[volume["name"]].iterdir()):
            content = file.read_bytes()
            changed = localize(content.decode(errors="surrogateescape"))
            changed_content = changed.encode(errors="surrogateescape")
            if changed_content != content:
                file.unlink()
                file.write_bytes(changed_content)
                file.chmod(_mode(volume))


def _mode(volume: Object) -> int:
    """Return the permissions of a volume's files."""
    sources = (volume.get(kind, {}) for kind in ("secret", "configMap", "projected", "downwardAPI"))
    modes = [int(source["defaultMode"]) for source in sources if "defaultMode" in source]
    return modes[0] if modes else 0o644


def _chosen(files: Files, options: Object) -> Files:
    if "items" not in options:
        return files
    return {item["path"]: files[item["key"]] for item in options["items"]}
