"""Resources that their definition allows, and that cannot be applied."""

from __future__ import annotations

from typing import Any

import pytest

from fox.custom_resources.cluster_objects import (
    ClusterObject,
    ResourceFault,
    ResourceKey,
    ResourceMeta,
    read_fields,
    read_manifest,
)
from kubefox.custom_resources import ENVIRONMENT


def test_a_value_that_is_nested_too_deeply_is_a_fault_of_its_resource() -> None:
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    found = ClusterObject(metadata=ResourceMeta(name="dev"), data={"vars": {"a": deep}})
    fields = read_fields(ResourceKey(ENVIRONMENT, "dev"), found)

    with pytest.raises(ResourceFault, match="a value is nested too deeply") as fault:
        read_manifest("dev", fields, {})

    assert fault.value.reason == "Invalid"
