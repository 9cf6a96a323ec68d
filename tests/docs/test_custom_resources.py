"""The definitions of custom resources in the chart are those of the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from docs.generator.custom_resources import FOLDER, definition, files
from kubefox.custom_resources import KINDS, MIRRORS, ResourceKind
from kubefox.yaml_kinds import KINDS as YAML_KINDS


def schema_of(kind: ResourceKind) -> dict[str, Any]:
    (version,) = definition(kind)["spec"]["versions"]
    schema: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return schema


def paths(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, inner in schema.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from paths(inner, f"{prefix}{name}.")


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    children = schema.values() if isinstance(schema, dict) else schema
    for child in children:
        if isinstance(child, dict | list):
            yield from nodes(child)


def test_the_files_of_the_chart_are_up_to_date() -> None:
    written = {path.name: path.read_text() for path in FOLDER.glob("*.yaml")}

    assert written == files(), "run `make crds`"


def test_every_yaml_kind_is_a_resource() -> None:
    assert {kind.kind for kind in KINDS} == YAML_KINDS.keys()


@pytest.mark.parametrize("kind", [*KINDS, *MIRRORS], ids=lambda kind: kind.kind)
def test_a_definition_has_no_keyword_that_the_api_server_does_not_know(kind: ResourceKind) -> None:
    known = {
        *("type", "format", "description", "properties", "required", "items", "enum", "default"),
        *("pattern", "maxLength", "minimum", "exclusiveMinimum", "maximum", "maxProperties"),
        *("additionalProperties", "x-kubernetes-validations", "rule", "message"),
        *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"),
        *("x-kubernetes-list-map-keys", "x-kubernetes-map-type"),
    }
    schema = schema_of(kind)
    names = {path.rpartition(".")[2] for path in all_properties(schema)}

    keywords = {keyword for node in nodes(schema) for keyword in node}

    assert keywords - names <= known


def all_properties(schema: dict[str, Any]) -> Iterator[str]:
    for node in nodes(schema):
        yield from node.get("properties", {})


def test_limits_of_the_platform_are_those_of_the_definition() -> None:
    schemas = {kind.kind: schema_of(kind) for kind in KINDS}
    policy = schemas["Environment"]["properties"]["spec"]["properties"]["releasePolicy"]
    virtual = schemas["VirtualEnvironment"]["properties"]
    adapter = schemas["HTTPAdapter"]["properties"]["spec"]["properties"]

    assert policy["properties"]["historyLimits"]["properties"]["count"]["maximum"] == 100
    assert policy["properties"]["activationDeadlineSeconds"]["exclusiveMinimum"] is True
    assert policy["properties"]["type"]["enum"] == ["Stable", "Testing"]
    assert virtual["spec"]["properties"]["environment"]["maxLength"] == 63
    assert "spec.release.apps" in set(paths(schemas["VirtualEnvironment"]))
    assert virtual["data"]["properties"]["vars"]["maxProperties"] == 10_000
    assert adapter["headers"]["maxProperties"] == 100
    assert adapter["url"]["pattern"].startswith("^((?:https?://")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_resource_of_users_has_a_status_from_the_beginning(kind: ResourceKind) -> None:
    assert schema_of(kind)["properties"]["status"]["default"] == {"observedGeneration": -1}
