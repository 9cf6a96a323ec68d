"""The custom resource definitions (CRDs), from the structs of the resources.

``python -m docs.generator.custom_resources`` writes them into the chart.
"""

from __future__ import annotations

import enum
import re
import types
import typing
from pathlib import Path
from typing import Any

import msgspec
import yaml

from docs.generator.markdown import check_complete, fields, summary
from kubefox.custom_resources import (
    APP_DEPLOYMENT,
    ENVIRONMENT,
    GROUP,
    HTTP_ADAPTER,
    KINDS,
    MIRRORS,
    RELEASE_MANIFEST,
    VERSION,
    VIRTUAL_ENVIRONMENT,
    Condition,
    ResourceData,
    ResourceKind,
)
from kubefox.formats import NAME
from kubefox.yaml_kinds import VirtualEnvironmentSpec

FOLDER = Path(__file__).parents[2] / "charts" / "kubefox" / "crds"
_HEAD = "# Made by `make crds` from the structs in kubefox/custom_resources.py: change these.\n"

Schema = dict[str, Any]

_SCALARS: dict[object, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {"x-kubernetes-preserve-unknown-fields": True},
}
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-f]{4})")


def _rule(rule: str, message: str) -> Schema:
    return {"rule": rule, "message": message}


_NAME_RULE = _rule(
    f"self.metadata.name.size() <= {NAME.max_length} && !self.metadata.name.contains('.')",
    f"metadata.name must have {NAME.expected}",
)
_RULES: dict[tuple[type, str], Schema] = {
    (VirtualEnvironmentSpec, "environment"): _rule(
        "self == oldSelf",
        "a virtual environment cannot move to another environment: create another one",
    ),
    (ResourceData, ""): _rule(
        "!has(self.secrets)",
        "a resource has no secrets, because its readers would see them: put them into a Secret, "
        "and name it in data.secretRef",
    ),
}
# Without the field, the API server would drop the secrets, and the rule would not see them.
_REFUSED: dict[type, dict[str, Schema]] = {
    ResourceData: {
        "secrets": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "description": "Refused: use secretRef.",
        }
    }
}


def _column(name: str, path: str, kind: str = "string", **more: object) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, **more}


def _condition(name: str, field: str = "status") -> str:
    return f'.status.conditions[?(@.type=="{name}")].{field}'


_READY = (
    _column("Synced", _condition("Synced")),
    _column("Ready", _condition("Ready")),
    _column("Reason", _condition("Ready", "reason")),
    _column("Age", ".metadata.creationTimestamp", "date"),
)
_COLUMNS: dict[ResourceKind, tuple[Schema, ...]] = {
    ENVIRONMENT: _READY,
    VIRTUAL_ENVIRONMENT: (
        _column("Environment", ".spec.environment"),
        *_READY[:-1],
        _column("Release", ".status.activeRelease", priority=1),
        _READY[-1],
    ),
    HTTP_ADAPTER: (_column("URL", ".spec.url"), *_READY),
    APP_DEPLOYMENT: (
        _column("App", ".spec.app"),
        _column("Version", ".spec.version"),
        *_READY[1:],
    ),
    RELEASE_MANIFEST: (
        _column("Virtual-Environment", ".spec.virtualEnvironment"),
        *_READY[1:],
    ),
}


def definition(kind: ResourceKind) -> Schema:
    """Return the definition of one kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [*kind.short_names],
                "categories": ["kubefox"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [*_COLUMNS[kind]],
                    "schema": {"openAPIV3Schema": _root(kind)},
                }
            ],
        },
    }


def files() -> dict[str, str]:
    """Return the text of each file of the folder, by its name."""
    return {
        f"{kind.plural}.yaml": _HEAD
        + yaml.safe_dump(definition(kind), sort_keys=False, width=100, allow_unicode=True)
        for kind in (*KINDS, *MIRRORS)
    }


def _root(kind: ResourceKind) -> Schema:
    schema = _of_struct(kind.resource)
    head = {name: {"type": "string"} for name in ("apiVersion", "kind")}
    schema["properties"] = {
        **head,
        "metadata": {"type": "object"},
        **schema["properties"],
        "status": _of_struct(kind.status),
    }
    if kind in MIRRORS:
        # The platform's next write replaces all of it, with what others may have added.
        schema["properties"]["spec"]["x-kubernetes-map-type"] = "atomic"
    else:
        schema["x-kubernetes-validations"] = [_NAME_RULE]
        # Tools that wait for a resource take one without a status for one that is in effect.
        schema["properties"]["status"]["default"] = {"observedGeneration": -1}
    return schema


def _of(kind: Any) -> Schema:
    """Return the schema of a type."""
    if kind in _SCALARS:
        return {**_SCALARS[kind]}
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return _limited(_of(parts[0]), parts[1:])
    if origin in (typing.Union, types.UnionType):
        # A field without a value is left out, so no schema allows null.
        (given,) = (part for part in parts if part is not type(None))
        return _of(given)
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(parts[1])}
    if origin is tuple:
        return _list(parts[0])
    if issubclass(kind, enum.Enum):
        return {"type": "string", "enum": [member.value for member in kind]}
    return _of_struct(kind)


def _list(item: Any) -> Schema:
    keys = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {"type": "array", "items": _of(item), **(keys if item is Condition else {})}


def _of_struct(struct: type[msgspec.Struct]) -> Schema:
    """Return the schema of a struct; its docstring describes the fields.

    Raises:
        ValueError: The docstring does not describe a field.
    """
    infos = {info.name: info for info in msgspec.structs.fields(struct)}
    meanings: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        meanings |= fields(base.__doc__) if base not in (msgspec.Struct, object) else {}
    check_complete(struct.__name__, infos, meanings)
    properties = {
        infos[name].encode_name: _field(struct, infos[name], meaning)
        for name, meaning in meanings.items()
    }
    schema: Schema = {"type": "object", "description": summary(struct.__doc__)}
    if required := [info.encode_name for info in infos.values() if info.required]:
        schema["required"] = required
    schema["properties"] = {**properties, **_REFUSED.get(struct, {})}
    if rule := _RULES.get((struct, "")):
        schema["x-kubernetes-validations"] = [rule]
    return schema


def _field(struct: type, info: msgspec.structs.FieldInfo, meaning: str) -> Schema:
    schema = {**_of(info.type), "description": meaning}
    default = info.default.value if isinstance(info.default, enum.Enum) else info.default
    if isinstance(default, bool) or (default and isinstance(default, str | int)):
        schema["default"] = default
    if rule := _RULES.get((struct, info.name)):
        schema["x-kubernetes-validations"] = [rule]
    return schema


def _limited(schema: Schema, marks: tuple[Any, ...]) -> Schema:
    """Return a schema with the limits of its marks, in the terms of a cluster."""
    for mark in marks:
        limits = dict(mark.extra_json_schema or {}) if isinstance(mark, msgspec.Meta) else {}
        if "pattern" in limits:
            limits["pattern"] = _go_pattern(limits["pattern"])
        if "exclusiveMinimum" in limits:
            limits |= {"minimum": limits["exclusiveMinimum"], "exclusiveMinimum": True}
        keys = limits.pop("propertyNames", None)
        schema |= limits
        # CEL does not see mappings of any values: the platform checks their keys.
        if keys is not None and "type" in schema["additionalProperties"]:
            pattern = _go_pattern(keys["pattern"])
            rule = f'self.all(key, key.matches(r"{pattern}"))'
            schema["x-kubernetes-validations"] = [_rule(rule, f"the keys must match {pattern}")]
    return schema


def _go_pattern(pattern: str) -> str:
    return _UNICODE_ESCAPE.sub(r"\\x{\1}", pattern)


def main() -> None:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
