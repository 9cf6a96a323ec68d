"""The rules of deployments' components in some records, resolved once for each content.

Most deployments have their components in common with others. A starting process with 100,000
releases would otherwise look up the same definitions and rules 100,000 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kubefox import records as keys
from kubefox.component import ComponentDefinition
from kubefox.deployment import HasComponents
from routing.snapshot.packed_records import SharedContent
from routing.snapshot.records import Records
from routing.table.rule_set import RuleSet, rule_set


class ContentRules(NamedTuple):
    """The part of a deployment's components that routing needs.

    Attributes:
        rules: Their rules; None if a component version is missing.
        has_schedules: Whether one of them declares a schedule.
        missing: KV keys of the missing component versions.
    """

    rules: RuleSet | None
    has_schedules: bool
    missing: tuple[str, ...]


class ContentResolver:
    """Resolves the contents of deployments; made for one update of the release index.

    Args:
        records: All records; they do not change while this object is used.

    Attributes:
        records: All records.
    """

    def __init__(self, records: Records) -> None:
        self.records = records
        self._rules: dict[SharedContent, ContentRules] = {}
        self._keys: dict[SharedContent, tuple[str, ...]] = {}

    def rules(self, content: SharedContent) -> ContentRules:
        """Return the rules of a content.

        Raises:
            Unprepared: It takes long to parse them.
        """
        found = self._rules.get(content)
        if found is None:
            found = self._rules[content] = self._resolve(content)
        return found

    def keys(self, content: SharedContent) -> tuple[str, ...]:
        """Return the KV keys of all component versions of a content."""
        found = self._keys.get(content)
        if found is None:
            found = self._keys[content] = tuple(component_keys(content))
        return found

    def _resolve(self, content: SharedContent) -> ContentRules:
        definitions, missing = definitions_of(content, self.records)
        if missing:
            return ContentRules(None, has_schedules=False, missing=missing)
        has_schedules = any(definition.schedules for definition in definitions.values())
        return ContentRules(rule_set(definitions.values()), has_schedules, ())


def definitions_of(
    deployment: HasComponents, records: Records
) -> tuple[dict[str, ComponentDefinition], tuple[str, ...]]:
    """Return the definitions of a deployment's components, and the keys of missing ones."""
    found, missing = {}, []
    for name, digest in deployment.components.items():
        version = records.component(deployment.app, name, digest)
        if version is None:
            missing.append(keys.component_key(deployment.app, name, digest))
        else:
            found[name] = version.definition
    return found, tuple(missing)


def component_keys(deployment: HasComponents) -> Iterator[str]:
    """Return the keys of all component versions of a deployment."""
    for name, digest in deployment.components.items():
        yield keys.component_key(deployment.app, name, digest)
