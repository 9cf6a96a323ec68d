"""The cache of route bindings.

A binding is made when it is first needed and kept while it is used. It remembers the record entries
it was made of and is valid for every snapshot that holds the same entries. Therefore all snapshots
that descend from one share the cache.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from kubefox.context import EventContext
from kubefox.deployment import Deployment
from kubefox.environment import Environment, VirtualEnvironment, selection_of
from kubefox.errors import DeploymentNotFound, EnvironmentNotFound, Unavailable
from kubefox.selection import Access, Selection, needed_access
from kubefox.sized_cache import SizedCache
from kubefox.steps import Steps, in_steps
from routing.snapshot.active_release import ActiveRelease, Released
from routing.snapshot.content_rules import definitions_of
from routing.snapshot.packed_records import RecordEntry, SharedContent
from routing.snapshot.records import Records
from routing.snapshot.release_index import ReleaseIndex
from routing.snapshot.route_binding import RouteBinding
from routing.table.rule_set import RuleSet, rule_set

CACHE_BYTES = 256 << 20
"""Default memory for bindings: enough for 100,000 contexts whose rules share their tables."""
MAX_PREPARED = 64
"""Rule sets of the latest new deployments that are kept for their first requests."""

CacheKey = tuple[str, str] | Released
"""Names of a deployment and a virtual environment; or a released app, whose memo has the binding"""


class RouteBindings:
    """The route bindings of a snapshot and its descendants.

    Args:
        max_bytes: Memory for the bindings; see ``SizedCache``.

    Attributes:
        cache: The bindings.
    """

    __slots__ = ("_prepared", "cache")

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.cache: SizedCache[CacheKey, RouteBinding] = SizedCache(
            max_bytes, attrgetter("size_bytes"), _detach
        )
        self._prepared: deque[RuleSet] = deque(maxlen=MAX_PREPARED)

    def explicit(
        self,
        deployment: str,
        virtual_environment: str,
        records: Records,
        latest: RouteBinding | None = None,
        access: Access = Access.OPEN,
    ) -> RouteBinding:
        """Return a deployment bound to the live values of a virtual environment.

        Args:
            deployment: Name of the deployment.
            virtual_environment: Name of the virtual environment.
            records: The records for which the binding must be valid.
            latest: An earlier result for these names, perhaps for other records.
            access: What the request may select.

        Raises:
            DeploymentNotFound: No deployment has the name.
            EnvironmentNotFound: No virtual environment has the name, or the policy of selection
                does not allow it.
            Unavailable: A required record is missing.
            Unprepared: Its table takes long to make.
        """
        names = (deployment, virtual_environment)
        binding = self.cache.get(names)
        if binding is None and latest is not None:
            # A caller with a memo uses the binding without this cache, which has dropped it.
            binding = latest
            self._store(names, latest)
        if (
            binding is not None
            and binding.verified_for is records.version
            and binding.needed_access <= access
        ):
            return binding
        entries = _entries(deployment, virtual_environment, records, access)
        if binding is None or not binding.is_valid_for(entries, records.removals):
            binding = _live(names, entries, records)
            self._store(names, binding)
        binding.verified_for = records.version
        return binding

    def released(
        self, released: Released, release_index: ReleaseIndex, records: Records
    ) -> RouteBinding:
        """Return an app of an active release bound to that release's values.

        Args:
            released: The app; its memo keeps the binding.
            release_index: The index that holds the active release.
            records: The records of the same snapshot.

        Raises:
            Unprepared: Its table takes long to make.
        """
        binding = released.memo
        if binding is not None and binding.verified_for is records.version:
            return binding
        active = release_index.active_releases[released.virtual_environment]
        environment = release_index.environment_of(released.virtual_environment, records)
        if binding is None or not binding.is_valid_for((active, environment)):
            made = _of_release(released, active, environment)
            self.cache.misses += 1
            self._store(released, made)
            binding = released.memo = made
        binding.verified_for = records.version
        return binding

    def prepare(self, deployment: Deployment, records: Records) -> Steps[None]:
        """Make, in steps, what the first request for a new deployment needs.

        Args:
            deployment: The deployment.
            records: The records that hold its component versions.
        """
        definitions, missing = definitions_of(deployment, records)
        if not missing:
            rules = yield from in_steps(lambda: rule_set(definitions.values()))
            # Rule sets are held weakly elsewhere, until a request uses them.
            self._prepared.append(rules)
            yield from rules.prepare()

    def _store(self, key: CacheKey, binding: RouteBinding) -> None:
        self.cache.put(key, binding)
        binding.on_growth = self.cache.grow


def _detach(key: CacheKey, binding: RouteBinding) -> None:
    """Forget a binding that had to make room; its next request makes it again."""
    binding.on_growth = None
    if isinstance(key, Released):
        key.memo = None


def not_selectable(virtual_environment: str) -> EnvironmentNotFound:
    """Return the error for a virtual environment that does not exist, or may not be selected.

    It is the same for both, so nobody learns which names exist.
    """
    return EnvironmentNotFound(
        f"no virtual environment is named {virtual_environment!r}, "
        "or this request may select only what is released in it"
    )


Entries = tuple[RecordEntry[Deployment], RecordEntry[VirtualEnvironment], RecordEntry[Environment]]


def selectable_environment(
    name: str, records: Records, access: Access
) -> tuple[RecordEntry[VirtualEnvironment], RecordEntry[Environment]]:
    """Return a virtual environment in which a request may select what is not released.

    Args:
        name: Name of the virtual environment.
        records: The records.
        access: What the request may select.

    Returns:
        The records of the virtual environment and of its environment.

    Raises:
        EnvironmentNotFound: No virtual environment has the name, or its policy does not allow it.
        Unavailable: A required record is missing.
    """
    virtual = records.virtual_environments.get(name) if access else None
    if virtual is None:
        raise not_selectable(name)
    environment_name = virtual.fields.environment
    environment = records.environments.get(environment_name)
    if environment is None:
        raise Unavailable(
            f"the local snapshot lacks environment {environment_name} "
            f"of virtual environment {name}: retry"
        )
    if _needed_access(virtual, environment) > access:
        raise not_selectable(name)
    return virtual, environment


def selection_in(name: str, records: Records) -> Selection | None:
    """Return the policy of selection of a virtual environment, None if it does not exist."""
    virtual = records.virtual_environments.get(name)
    environment = records.environments.get(virtual.fields.environment) if virtual else None
    return selection_of(environment.record, virtual.record) if virtual and environment else None


def _needed_access(
    virtual: RecordEntry[VirtualEnvironment], environment: RecordEntry[Environment]
) -> Access:
    return needed_access(selection_of(environment.record, virtual.record))


def _entries(
    deployment: str, virtual_environment: str, records: Records, access: Access
) -> Entries:
    # First: a request that may not select the deployment must not learn whether it exists.
    virtual, environment = selectable_environment(virtual_environment, records, access)
    deployment_entry = records.deployments.get(deployment)
    if deployment_entry is None:
        raise DeploymentNotFound(f"no deployment is named {deployment!r}")
    return deployment_entry, virtual, environment


def _live(names: tuple[str, str], entries: Entries, records: Records) -> RouteBinding:
    deployment, virtual, environment = entries
    content: SharedContent = deployment.shared
    definitions, missing = definitions_of(content, records)
    if missing:
        raise Unavailable(f"the local snapshot lacks {missing[0]} of deployment {names[0]}: retry")
    return RouteBinding(
        EventContext(
            app=content.app,
            deployment=names[0],
            virtual_environment=names[1],
            deployment_revision=deployment.revision,
            virtual_environment_revision=virtual.revision,
            environment_revision=environment.revision,
        ),
        content,
        rule_set(definitions.values()),
        (virtual.record.data.vars, environment.record.data.vars),
        sources=entries,
        removals=records.removals,
        needed_access=_needed_access(virtual, environment),
    )


def _of_release(
    released: Released, active: ActiveRelease, environment: RecordEntry[Environment] | None
) -> RouteBinding:
    app = active.app(released)
    return RouteBinding(
        active.context(app, environment.revision if environment else 0),
        app.content,
        app.rules,
        active.layers,
        sources=(active, environment),
        recency=active.recency,
    )
