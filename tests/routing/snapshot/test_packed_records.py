"""A packed record is the same record, in a fraction of the memory."""

from __future__ import annotations

import functools
import gc
import tracemalloc
import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion, Route
from kubefox.deployment import Deployment, SourceRef
from kubefox.environment import Environment, EnvironmentData, VirtualEnvironment
from kubefox.records import KINDS, Change, Record
from kubefox.release import Release, ReleasedApp, ReleaseManifest, ReleaseState
from routing.snapshot.packed_records import RecordEntry
from routing.snapshot.snapshot import Snapshot
from tests.routing.world import digest_of

APP = "order-app"
COMPONENTS = ("order-ui", "api-server", "order-worker")
TRIPLES = 1_000
MAX_TRIPLE_BYTES = 2_200
"""With the allocator's own cost this is 2.5 KB of resident memory."""


@functools.cache
def strategy_of(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of any type that a record's field has, made once."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return strategy_of(parts[0])
    if origin is Union or isinstance(kind, types.UnionType):
        return st.one_of([strategy_of(part) for part in parts])
    if origin is dict:
        return st.dictionaries(*map(strategy_of, parts), max_size=2)
    if origin is list:
        return st.lists(strategy_of(parts[0]), max_size=2)
    if origin is tuple:
        return st.lists(strategy_of(parts[0]), max_size=2).map(tuple)
    if issubclass(kind, msgspec.Struct):
        fields = msgspec.structs.fields(kind)
        return st.builds(kind, **{field.name: strategy_of(field.type) for field in fields})
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return SIMPLE[kind]


SIMPLE: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False, width=64),
    bool: st.booleans(),
    type(None): st.none(),
}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_record_is_the_same_after_packing(kind: str, data: st.DataObject) -> None:
    record = data.draw(strategy_of(KINDS[kind]))

    entry = RecordEntry.of(kind, record, 7)

    assert entry.record == record
    assert records.encode(entry.record) == records.encode(record)
    assert type(entry.record) is type(record)
    assert entry.revision == 7


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_the_fields_of_a_packed_record_are_those_of_the_record(
    kind: str, data: st.DataObject
) -> None:
    record = data.draw(strategy_of(KINDS[kind]))

    fields = RecordEntry.of(kind, record, 7).fields

    names = [field.name for field in msgspec.structs.fields(KINDS[kind])]
    read = {name: getattr(fields, name) for name in names}
    assert msgspec.convert(read, KINDS[kind], from_attributes=True) == record


@pytest.mark.parametrize("kind", ["virtual-environment", "manifest"])
def test_an_integer_of_more_than_64_bits_is_kept(kind: str) -> None:
    data = EnvironmentData(vars={"size": 2**80})
    record: Record = VirtualEnvironment(name="a", environment="dev", data=data)
    if kind == "manifest":
        frozen = {APP: deployment(1)}
        record = ReleaseManifest(id="r", virtual_environment="a", deployments=frozen, data=data)

    assert RecordEntry.of(kind, record, 1).record == record


def test_deployments_of_equal_content_share_it() -> None:
    one, other = (RecordEntry.of("deployment", deployment(number), 1) for number in (1, 2))

    assert one.shared is other.shared
    assert one.record.components is other.record.components


def deployment(number: int) -> Deployment:
    return Deployment(
        name=f"order-app-pr-{number}",
        app=APP,
        components={name: digest_of(name) for name in COMPONENTS},
        title="Order App",
        source=SourceRef(commit=f"{number:07x}".ljust(40, "0"), branch=f"pr-{number}"),
        created_at_s=1.7e9 + number,
        activated_at_s=1.7e9 + number,
    )


def changes(*, frozen: bool) -> Iterator[tuple[str, Record]]:
    """Yield three or four records for each of many deployments, each released in its own place."""
    yield records.environment_key("dev"), Environment(name="dev")
    for name in COMPONENTS:
        route = Route(id=0, rule=f"PathPrefix(`/{{{{.Vars.subPath}}}}/{name}`)")
        definition = ComponentDefinition(name=name, routes=(route,))
        version = ComponentVersion(app=APP, hash=digest_of(name), definition=definition)
        yield records.component_key(APP, name, version.hash), version
    for number in range(TRIPLES):
        yield from released(number, frozen=frozen)


def released(number: int, *, frozen: bool) -> Iterator[tuple[str, Record]]:
    found, name = deployment(number), f"pr-{number}"
    data = EnvironmentData(vars={"subPath": name})
    yield records.deployment_key(found.name), found
    virtual = VirtualEnvironment(name=name, environment="dev", data=data)
    yield records.virtual_environment_key(name), virtual
    manifest = f"{1_700_000_000 + number}-abcdef"
    if frozen:
        content = ReleaseManifest(
            id=manifest, virtual_environment=name, deployments={APP: found}, data=data
        )
        yield records.manifest_key(name, manifest), content
    active = Release(
        id=manifest,
        apps={APP: ReleasedApp(deployment=found.name)},
        manifest=manifest if frozen else None,
        requested_at_s=1.7e9 + number,
        activated_at_s=1.7e9 + number + 0.25,
    )
    yield records.release_key(name), ReleaseState(virtual_environment=name, active=active)


@pytest.mark.parametrize("frozen", [False, True], ids=["live", "frozen"])
def test_a_deployment_released_in_its_own_environment_takes_few_bytes(frozen: bool) -> None:
    encoded = [(key, records.encode(record)) for key, record in changes(frozen=frozen)]
    arriving = (
        Change(key=str(key), revision=revision, record=records.decode(key, value))
        for revision, (key, value) in enumerate(encoded, 1)
    )
    gc.collect()
    tracemalloc.start()

    snapshot = Snapshot.empty(has_labels=False).apply(arriving)
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(snapshot.release_index.active_releases) == TRIPLES
    assert taken / TRIPLES < MAX_TRIPLE_BYTES
