"""The usage index, moved from change to change, equals what a walk over all records finds."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from kubefox import records
from kubefox.component import ComponentDefinition, ComponentVersion, Route, Value, Variable
from kubefox.deployment import Deployment
from kubefox.distill import Version, versions_in_use
from kubefox.environment import EnvironmentData, VirtualEnvironment
from kubefox.records import Change, Record
from kubefox.release import Release, ReleasedApp, ReleaseManifest, ReleaseState, deployments_in_use
from kubefox.rollout import RolloutState, begin, complete
from routing.snapshot.snapshot import Snapshot
from routing.snapshot.usage import variables_of
from routing.snapshot.usage_index import UsageIndex, usage_of

ENVIRONMENTS = ("dev", "prod")
VIRTUALS = ("a", "b", "c")
DEPLOYMENTS = ("v1", "v2", "v3")
APPS = ("shop", "blog")
HASHES = ("1" * 32, "2" * 32)
MANIFESTS = ("m1", "m2")
VARIABLES = ("color", "path", "size")
VERSIONS = tuple(
    Version(app, component, digest)
    for app in APPS
    for component in ("api", "web")
    for digest in HASHES
)

Written = tuple[str, Record | None]


def component(version: Version) -> Written:
    """Return the record of a version; the definition follows from its hash."""
    first = version.hash == HASHES[0]
    definition = ComponentDefinition(
        name=version.component,
        routes=(Route(id=0, rule="Path(`/{{.Vars.path}}`)"),) if version.component == "web" else (),
        variables=(Variable(name="color" if first else "size"),),
    )
    record = ComponentVersion(app=version.app, hash=version.hash, definition=definition)
    return records.component_key(*version), record


@st.composite
def contents(draw: st.DrawFn, name: str) -> Deployment:
    app = draw(st.sampled_from(APPS))
    hashes = st.sampled_from(HASHES)
    components = draw(st.dictionaries(st.sampled_from(("api", "web")), hashes, min_size=1))
    return Deployment(name=name, app=app, components=components)


@st.composite
def releases(draw: st.DrawFn) -> Release | None:
    if draw(st.booleans()):
        return None
    named = st.sampled_from(DEPLOYMENTS).map(lambda name: ReleasedApp(deployment=name))
    return Release(
        id="r",
        apps=draw(st.dictionaries(st.sampled_from(APPS), named, min_size=1)),
        manifest=draw(st.none() | st.sampled_from(MANIFESTS)),
        requested_at_s=0,
    )


@st.composite
def written(draw: st.DrawFn) -> Written:
    """Return a record of any kind that the index reads, or its deletion."""
    kind = draw(st.sampled_from(("deployment", "virtual", "release", "manifest", "rollout", "v")))
    virtual, name = draw(st.sampled_from(VIRTUALS)), draw(st.sampled_from(DEPLOYMENTS))
    is_deleted = draw(st.integers(0, 4)) == 0
    record: Record | None
    match kind:
        case "deployment":
            key, record = records.deployment_key(name), draw(contents(name))
        case "virtual":
            values: st.SearchStrategy[dict[str, Value]] = st.dictionaries(
                st.sampled_from(VARIABLES), st.just("x"), max_size=2
            )
            key = records.virtual_environment_key(virtual)
            record = VirtualEnvironment(
                name=virtual,
                environment=draw(st.sampled_from(ENVIRONMENTS)),
                data=EnvironmentData(vars=draw(values)),
            )
        case "release":
            key = records.release_key(virtual)
            record = ReleaseState(
                virtual_environment=virtual, active=draw(releases()), pending=draw(releases())
            )
        case "manifest":
            manifest = draw(st.sampled_from(MANIFESTS))
            key = records.manifest_key(virtual, manifest)
            frozen = draw(contents(name))
            record = ReleaseManifest(
                id=manifest,
                virtual_environment=virtual,
                deployments={frozen.app: frozen},
                data=EnvironmentData(),
            )
        case "rollout":
            key = records.rollout_key(name)
            before, after = draw(contents(name)), draw(contents(name))
            rolling = begin(RolloutState(deployment=name), before, after, now_s=0, deadline_s=1)
            record = rolling if draw(st.booleans()) else complete(rolling)
        case _:
            key, record = component(draw(st.sampled_from(VERSIONS)))
    return key, None if is_deleted else record


def frozen_and_live(
    snapshot: Snapshot, name: str, release: Release | None
) -> tuple[list[Deployment], list[Deployment]]:
    if release is None:
        return [], []
    if release.manifest is not None:
        manifest = snapshot.manifest(name, release.manifest)
        return list(manifest.deployments.values()) if manifest else [], []
    named = (snapshot.deployments.get(app.deployment) for app in release.apps.values())
    return [], [deployment for deployment in named if deployment is not None]


def wanted_by_walk(snapshot: Snapshot) -> set[Version]:
    found = set(versions_in_use(snapshot.deployments.values()))
    found |= versions_in_use(state.rolling.target for state in snapshot.rolling if state.rolling)
    for name, state in snapshot.releases.items():
        for release in (state.active, state.pending):
            found |= versions_in_use(frozen_and_live(snapshot, name, release)[0])
    return found


def needed_by_walk(snapshot: Snapshot, name: str, state: ReleaseState) -> set[str]:
    """Return the variables that the live active release of a virtual environment inherits."""
    _, live = frozen_and_live(snapshot, name, state.active)
    found = (snapshot.component(*version) for version in versions_in_use(live))
    needed = {name for version in found if version for name in variables_of(version.definition)}
    virtual = snapshot.virtual_environments.get(name)
    return needed - virtual.data.vars.keys() if virtual is not None else set()


def names(found: Iterable[str]) -> list[str]:
    return sorted(found)


def check(index: UsageIndex) -> None:
    """Compare every answer of the index with a walk over all records."""
    snapshot = index.snapshot
    states, virtuals = dict(snapshot.releases), dict(snapshot.virtual_environments)
    for deployment in DEPLOYMENTS:
        users = [name for name, state in states.items() if deployment in deployments_in_use(state)]
        assert names(index.release_users(deployment)) == names(users)
        live = [
            name
            for name, state in states.items()
            if state.active is not None
            and state.active.manifest is None
            and any(app.deployment == deployment for app in state.active.apps.values())
        ]
        assert names(index.live_users(deployment)) == names(live)
    for environment in ENVIRONMENTS:
        members = [v.name for v in virtuals.values() if v.environment == environment]
        assert names(index.members(environment)) == names(members)
        for variable in VARIABLES:
            own = [name for name in members if variable in virtuals[name].data.vars]
            assert names(index.setting(environment, variable)) == names(own)
            inheriting = [
                name
                for name in members
                if name in states and variable in needed_by_walk(snapshot, name, states[name])
            ]
            assert names(index.inheriting(environment, variable)) == names(inheriting)
    for app in APPS:
        used = {
            virtuals[name].environment
            for name, state in states.items()
            if name in virtuals
            and any(release and app in release.apps for release in (state.active, state.pending))
        }
        assert set(index.environments_of(app)) == used
    check_versions(index)
    pending = [name for name, state in states.items() if state.pending is not None]
    assert names(index.pending) == names(pending)
    for name in VIRTUALS:
        stored = [key.split(".")[1] for key in snapshot.records.manifests if key[0] == name]
        assert names(index.manifests(name)) == names(stored)


def check_versions(index: UsageIndex) -> None:
    snapshot = index.snapshot
    wanted = wanted_by_walk(snapshot)
    assert set(index.wanted()) == wanted
    for version in VERSIONS:
        assert index.is_wanted(version) == (version in wanted)
        assert (version in index.wanted_of(*version[:2])) == (version in wanted)
        awaiting, released = [], False
        for name, state in snapshot.releases.items():
            frozen, live = frozen_and_live(snapshot, name, state.pending)
            awaiting += [name] if version in versions_in_use([*frozen, *live]) else []
            frozen, live = frozen_and_live(snapshot, name, state.active)
            released = released or version in versions_in_use([*frozen, *live])
        rolling = [
            state.deployment
            for state in snapshot.rolling
            if state.rolling and version in versions_in_use([state.rolling.target])
        ]
        assert names(index.awaiting(version)) == names(awaiting)
        assert names(index.rolling(version)) == names(rolling)
        assert index.is_released(version) == released
        assert index.is_awaited(version) == bool(awaiting or rolling)


def finish(index: UsageIndex, snapshot: Snapshot, keys: Iterable[str]) -> UsageIndex:
    for _ in index.update(snapshot, keys):
        pass
    return index


@given(st.lists(st.lists(written(), min_size=1, max_size=4), min_size=1, max_size=12))
def test_the_index_equals_a_walk_over_all_records_after_each_change(
    batches: list[list[Written]],
) -> None:
    index, revision = UsageIndex(), 0
    for batch in batches:
        changes = []
        for key, record in batch:
            revision += 1
            changes.append(Change(key=key, revision=revision, record=record))
        before = {version: index.is_wanted(version) for version in VERSIONS}
        position = index.changed_versions.position

        finish(index, index.snapshot.apply(changes), [change.key for change in changes])

        check(index)
        changed = index.changed_versions.since(position)
        assert changed is not None
        assert {v for v in VERSIONS if before[v] != index.is_wanted(v)} <= changed.keys()


@given(st.lists(written(), max_size=30))
def test_an_index_made_at_once_equals_a_walk_over_all_records(batch: list[Written]) -> None:
    changes = [
        Change(key=key, revision=revision, record=record)
        for revision, (key, record) in enumerate(batch, 1)
    ]
    snapshot = Snapshot.empty().apply(changes)

    index = usage_of(snapshot)

    check(index)


def test_a_rollout_names_the_version_that_it_replaces() -> None:
    before = Deployment(name="v1", app="shop", components={"api": HASHES[0], "web": HASHES[0]})
    after = Deployment(name="v1", app="shop", components={"api": HASHES[1], "web": HASHES[0]})
    state = begin(RolloutState(deployment="v1"), before, after, now_s=0, deadline_s=1)
    change = Change(key=records.rollout_key("v1"), revision=1, record=state)

    index = finish(UsageIndex(), Snapshot.empty().apply([change]), [change.key])

    assert index.replaced_by(Version("shop", "api", HASHES[1])) == ("shop", "api", HASHES[0])
    assert index.replaced_by(Version("shop", "web", HASHES[0])) is None


def test_keys_that_are_not_well_formed_are_ignored() -> None:
    kinds = ("component", "scale", "manifest", "release", "rollout", "deployment", "platform", "")
    keys = [f"{kind}{rest}" for kind in kinds for rest in ("", ".", ".x", ".x.y.z.more", "....")]

    check(finish(UsageIndex(), Snapshot.empty(), keys))
