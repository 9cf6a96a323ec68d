"""The pod of control that a command talks to, from the pods of a namespace."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from fox.cli.support.control_client import NoPlatform
from fox.cli.support.kubectl import KubeTarget, read
from kubefox.errors import InternalError, InvalidRequest, NotAuthorized

_COMMAND = ["fox", "serve", "control"]
_SELECTOR = "app.kubernetes.io/component=control"
_INSTANCE = "app.kubernetes.io/instance"
_DEFAULT_PORT = "8081"
_LOOPBACK = "127.0.0.1"
_POD_IP = "status.podIP"


class _Camel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An object of Kubernetes; unknown fields are ignored."""


class _Meta(_Camel, frozen=True):
    name: str
    labels: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class _FieldRef(_Camel, frozen=True):
    field_path: str = ""


class _Source(_Camel, frozen=True):
    field_ref: _FieldRef | None = None


class _Variable(_Camel, frozen=True):
    name: str
    value: str = ""
    value_from: _Source | None = None


class _Container(_Camel, frozen=True):
    command: list[str] = []
    env: list[_Variable] = []


class _Spec(_Camel, frozen=True):
    containers: list[_Container]


class _Condition(_Camel, frozen=True):
    type: str
    status: str


class _Status(_Camel, frozen=True):
    phase: str = ""
    conditions: list[_Condition] = []
    # camel would be podIp.
    pod_ip: str = msgspec.field(default="", name="podIP")


class Pod(_Camel, frozen=True):
    """The fields of a pod by which control is found."""

    metadata: _Meta
    spec: _Spec
    status: _Status = _Status()

    @property
    def control(self) -> list[_Container]:
        """The container that runs control; empty in a pod of another program."""
        return [each for each in self.spec.containers if each.command[:3] == _COMMAND]

    @property
    def is_ready(self) -> bool:
        """Whether it is ready, and not being deleted."""
        states = {each.type: each.status for each in self.status.conditions}
        return states.get("Ready") == "True" and self.metadata.deletion_timestamp is None

    @property
    def instance(self) -> str:
        """The Helm release that it belongs to."""
        return self.metadata.labels.get(_INSTANCE, "")


class PodList(_Camel, frozen=True):
    """A list of pods, as the API sends it."""

    items: list[Pod]


class ControlPod(msgspec.Struct, frozen=True, kw_only=True):
    """A ready pod of control, and how its control API is reached inside of it.

    Attributes:
        name: Of the pod.
        address: IP address in the pod at which the kubelet connects to it.
        port: Its port.
        server_name: Name in its certificate; empty without TLS.
    """

    name: str
    address: str
    port: int
    server_name: str

    @property
    def url(self) -> str:
        """URL of the control API, as the pod knows it."""
        if self.server_name:
            return f"https://{self.server_name}:{self.port}"
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http://{host}:{self.port}"


def find_control(target: KubeTarget, timeout_s: float) -> ControlPod:
    """Return a ready pod of control, the newest one if there are several.

    Raises:
        InvalidRequest: There is no such namespace, or it has several platforms.
        NotAuthorized: Kubernetes does not let the user list pods.
        NoPlatform: No pod of control is ready, or the cluster cannot be asked.
    """
    namespace = f"/api/v1/namespaces/{quote(target.namespace, safe='')}"
    text = read(target, f"{namespace}/pods?labelSelector={quote(_SELECTOR)}", timeout_s)
    try:
        found = msgspec.json.decode(text, type=PodList).items
    except msgspec.MsgspecError as error:
        raise InternalError(f"the pods in {target} cannot be read: {error}") from error
    if not found:
        _check_exists(target, namespace, timeout_s)
    return choose(target, found)


def _check_exists(target: KubeTarget, path: str, timeout_s: float) -> None:
    """Check that a namespace exists, if the user may know that."""
    try:
        read(target, path, timeout_s)
    except NoPlatform as error:
        if "NotFound" in error.detail:
            raise InvalidRequest(
                f"{target} does not exist: name the namespace of the platform with --kube-namespace"
            ) from error
    except NotAuthorized:
        pass


def choose(target: KubeTarget, pods: Sequence[Pod]) -> ControlPod:
    """Return the pod to use; the arguments and errors are those of ``find_control``."""
    found = [pod for pod in pods if pod.control]
    if not found:
        raise NoPlatform(
            f"{target} has no pod of control: name the namespace of the platform with "
            "--kube-namespace, or install the chart there"
        )
    releases = sorted({pod.instance for pod in found})
    if len(releases) > 1:
        raise InvalidRequest(
            f"{target} has several platforms, the Helm releases {', '.join(releases)}: reach one "
            "with `kubectl port-forward` and --control-url"
        )
    ready = [pod for pod in found if pod.is_ready]
    if not ready:
        names = ", ".join(f"{pod.metadata.name} ({pod.status.phase})" for pod in found)
        command = " ".join(target.command("describe", "pod", found[0].metadata.name))
        raise NoPlatform(f"no pod of control is ready in {target}: {names}; see `{command}`")
    return _control_pod(max(ready, key=_age))


def _age(pod: Pod) -> tuple[str, str]:
    return pod.metadata.creation_timestamp, pod.metadata.name


def _control_pod(pod: Pod) -> ControlPod:
    variables = {each.name: _value(each, pod) for own in pod.control for each in own.env}
    host = variables.get("FOX_CONTROL_HOST", "").replace("$(POD_IP)", pod.status.pod_ip)
    is_tls = bool(variables.get("FOX_CONTROL_TLS_CERT"))
    names = variables.get("FOX_CONTROL_ALLOWED_HOSTS", "").split(",")
    return ControlPod(
        name=pod.metadata.name,
        address=_reached_at(host),
        port=int(variables.get("FOX_CONTROL_PORT") or _DEFAULT_PORT),
        server_name=_server_name(names) if is_tls else "",
    )


def _value(variable: _Variable, pod: Pod) -> str:
    source = variable.value_from
    if source and source.field_ref and source.field_ref.field_path == _POD_IP:
        return pod.status.pod_ip
    return variable.value


def _reached_at(host: str) -> str:
    """Return the address in the pod to which the kubelet connects.

    It connects to the pod's loopback. An address of its own is for pods without one.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _LOOPBACK
    return _LOOPBACK if address.is_unspecified else str(address)


def _server_name(names: Sequence[str]) -> str:
    """Return the full name of the Service in the cluster, which the chart allows as a host."""
    given = [name.strip() for name in names if name.strip()]
    return next((name for name in given if name.endswith(".svc")), (given or ["localhost"])[0])
