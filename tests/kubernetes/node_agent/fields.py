"""The texts of a container: references to variables and fields, and the paths of its mounts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pods.kubernetes.api import Object

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class UnsupportedError(Exception):
    """The pod needs something that this node does not have."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Return ``text`` with each ``$(NAME)`` replaced by its variable, if there is one."""

    def replace(found: re.Match[str]) -> str:
        if found[1] is None:
            return "$"
        return variables.get(found[1], found[0])

    return _REFERENCE.sub(replace, text)


def with_mounts(text: str, mounts: Mapping[str, Path]) -> str:
    """Return ``text`` with the path of each mount replaced by the folder that it stands for."""
    for path in sorted(mounts, key=len, reverse=True):
        text = re.sub(rf"{re.escape(path)}(?=/|$|[^\w.-])", str(mounts[path]), text)
    return text


def pod_field(pod: Object, path: str) -> str:
    """Return a field of a pod, as the downward API does.

    Raises:
        UnsupportedError: It is none that the downward API offers.
    """
    if found := _KEYED.fullmatch(path):
        return str(pod["metadata"].get(found[1], {}).get(found[2], ""))
    value: Any = pod
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if not isinstance(value, str):
        raise UnsupportedError(f"field {path} of a pod")
    return value
