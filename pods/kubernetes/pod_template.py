"""The fields of component pods that an administrator sets: placement, and the pull of the image.

All other fields are those of the platform: with them, a pod would not start, or would have rights
that a component must not have.
"""

from __future__ import annotations

import os
from typing import Any, Literal

import msgspec

from kubefox.decoding import DECODE_ERRORS, split_message
from kubefox.errors import InvalidRequest

SETTING = "FOX_POD_TEMPLATE"


class _Fields(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """Fields as the API of Kubernetes has them; those that are not set are left out."""


class PullSecret(_Fields, frozen=True, kw_only=True):
    """The Secret with the login to a registry.

    Attributes:
        name: Name of the Secret, in the namespace of the pods.
    """

    name: str


class Toleration(_Fields, frozen=True, kw_only=True):
    """A taint of nodes that the pods tolerate; see the API of Kubernetes for its fields."""

    key: str = ""
    operator: Literal["", "Exists", "Equal", "Lt", "Gt"] = ""
    value: str = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: int | None = None


class PodTemplate(_Fields, frozen=True, kw_only=True):
    """The fields of all pods of components besides those of the platform.

    Attributes:
        node_selector: Labels of the nodes on which the pods may run.
        tolerations: Taints of nodes that the pods tolerate.
        affinity: Further rules for the choice of a node; the API checks its fields.
        priority_class_name: Name of the PriorityClass of the pods.
        runtime_class_name: Name of the RuntimeClass of the pods.
        scheduler_name: Name of the scheduler that places the pods.
        image_pull_secrets: Secrets with the logins to registries.
        image_pull_policy: When a node pulls the image.
    """

    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()
    affinity: dict[str, Any] = {}
    priority_class_name: str = ""
    runtime_class_name: str = ""
    scheduler_name: str = ""
    image_pull_secrets: tuple[PullSecret, ...] = ()
    image_pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""

    def pod_fields(self) -> dict[str, Any]:
        """Return the fields of the pod."""
        fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        fields.pop("imagePullPolicy", None)
        return fields

    def container_fields(self) -> dict[str, Any]:
        """Return the fields of its container."""
        return {"imagePullPolicy": self.image_pull_policy} if self.image_pull_policy else {}


def parse_template(text: str) -> PodTemplate:
    """Return the template of ``FOX_POD_TEMPLATE``; an empty text is one without fields.

    Raises:
        InvalidRequest: It is not valid; the message names the path of the fault.
    """
    if not text.strip():
        return PodTemplate()
    try:
        return msgspec.json.decode(os.fsencode(text), type=PodTemplate)
    except msgspec.ValidationError as error:
        fault, path = split_message(error)
        raise InvalidRequest(f"{SETTING}={text!r}: {f'{path}: ' if path else ''}{fault}") from error
    except DECODE_ERRORS as error:
        raise InvalidRequest(f"{SETTING}={text!r}: expected a JSON object: {error}") from error
