"""The rules of all components of a deployment, shared by every deployment with the same rules.

Most deployments of an app differ only in components without routes, and most environments only in
variables that no rule uses. Therefore one rule set exists for each set of components with routes,
and one table for each set of values that its rules use. Both are held weakly: they are dropped with
the last route binding that uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from weakref import WeakValueDictionary

from kubefox.component import ComponentDefinition
from kubefox.steps import SharedSteps, Steps, Unprepared, finish
from routing.language.rule import RuleError
from routing.language.template import (
    Layers,
    ResolvedValue,
    ResolvedValues,
    has_value,
    resolve_value,
)
from routing.table.compiled_rule import Rule, compile_rule
from routing.table.key_pattern import KeyPattern, key_pattern
from routing.table.key_trie import KeyTrie
from routing.table.matcher import ComponentRoutes, Table, table_in_steps
from routing.table.parameterized_table import ParameterizedRoutes

Components = tuple[ComponentRoutes, ...]
OptionalValues = tuple[ResolvedValue | None, ...]
"""A value for each variable of a rule set, None where the environment has no value."""


class RuleSet:
    """The routes of some components and the tables made of them.

    What takes long to make is made in steps: the methods raise ``Unprepared`` while it is missing.

    Args:
        components: In order of their names.
        rules: The valid rules of their routes.

    Attributes:
        components: In order of their names.
        variables: Names of all variables that the rules use, sorted.
    """

    __slots__ = (
        "__weakref__",
        "_is_parameterizable",
        "_key_tries",
        "_keys",
        "_making",
        "_parameterized",
        "_predicates",
        "_rules",
        "_tables",
        "components",
        "variables",
    )

    def __init__(self, components: Components, rules: Sequence[Rule]) -> None:
        self.components = components
        self.variables = tuple(sorted({name for rule in rules for name in rule.variables}))
        self._rules = rules
        self._predicates = sum([rule.predicates for rule in rules])
        self._keys: KeyPattern | None = None
        self._key_tries: WeakValueDictionary[OptionalValues, KeyTrie] = WeakValueDictionary()
        is_valid = len(rules) == sum(len(declared.routes) for declared in components)
        self._is_parameterizable = is_valid and all(rule.is_parameterizable for rule in rules)
        self._parameterized: ParameterizedRoutes | None = None
        self._tables: WeakValueDictionary[OptionalValues, Table] = WeakValueDictionary()
        self._making: WeakValueDictionary[OptionalValues, SharedSteps[Table]]
        self._making = WeakValueDictionary()

    def values(self, layers: Layers) -> OptionalValues:
        """Return the values of ``variables``, on which a table depends."""
        return tuple([resolve_value(name, layers) for name in self.variables])

    def lacks_value(self, layers: Layers) -> bool:
        """Return whether a variable of the rules has no value."""
        return not all(has_value(name, layers) for name in self.variables)

    def table(self, layers: Layers) -> Table:
        """Return the table for these values; the same object while another caller holds it.

        Raises:
            Unprepared: It takes long to make.
        """
        values = self.values(layers)
        table = self._tables.get(values)
        if table is None:
            table = self._known_table(values)
            if table is None:
                if not self._is_short(values):
                    raise Unprepared(self._make_together(values, layers))
                table = finish(self._new_table(values, layers))
            self._tables[values] = table
        return table

    def prepare(self) -> Steps[None]:
        """Make what all environments share, in steps; else the first request would wait for it."""
        if self._keys is None:
            self._keys = yield from key_pattern(self._rules)
        if self._is_parameterizable and self._parameterized is None:
            parameterized = yield from ParameterizedRoutes.compile(self.components, self.variables)
            yield from parameterized.prepare_usual()
            self._parameterized = parameterized

    def keys(self, layers: Layers) -> KeyTrie:
        """Return the index keys of all routes for these values.

        Raises:
            Unprepared: They take long to make.
        """
        values = {
            name: value
            for name in self.variables
            if (value := resolve_value(name, layers)) is not None
        }
        known = self._keys.known_keys(values) if self._keys else None
        if known is not None:
            return known
        optional = tuple(map(values.get, self.variables))
        known = self._key_tries.get(optional)
        if known is None:
            if not self._is_short(optional):
                raise Unprepared(lambda: self._new_keys(optional, values))
            known = finish(self._new_keys(optional, values))
        return known

    def _is_short(self, values: OptionalValues) -> bool:
        """Return whether tables and keys for these values are made in one short step."""
        texts = max([len(value.texts) for value in values if value is not None], default=0)
        return self._predicates * (_WORK_OF_PREDICATE + texts) <= _MAX_WORK_AT_ONCE

    def _known_table(self, values: OptionalValues) -> Table | None:
        segments = _segments(values)
        if self._parameterized is None or segments is None:
            return None
        return self._parameterized.known_table(segments)

    def _new_table(self, values: OptionalValues, layers: Layers) -> Steps[Table]:
        segments = _segments(values)
        if segments is None or not self._is_parameterizable:
            table: Table = yield from table_in_steps(self.components, layers)
        else:
            yield from self.prepare()
            table = yield from self._parameterized_table(segments)
        return self._tables.setdefault(values, table)

    def _make_together(self, values: OptionalValues, layers: Layers) -> Callable[[], Steps[Table]]:
        """Return what makes a table: the requests that wait for the same one make it together."""
        making = self._making.get(values)
        if making is None:
            making = self._making[values] = SharedSteps(self._new_table(values, layers))
        return making.join

    def _parameterized_table(self, segments: Sequence[ResolvedValue]) -> Steps[Table]:
        while True:
            if self._parameterized is not None:
                table = self._parameterized.known_table(segments)
                if table is not None:
                    return table
                yield from self._parameterized.prepare(segments)

    def _new_keys(self, optional: OptionalValues, values: ResolvedValues) -> Steps[KeyTrie]:
        if self._keys is None:
            self._keys = yield from key_pattern(self._rules)
        keys = yield from self._keys.keys(values)
        self._key_tries[optional] = keys
        return keys


# A predicate takes about 20 µs in a table and its tree, and each text of a list about 1 µs.
_WORK_OF_PREDICATE = 20
_MAX_WORK_AT_ONCE = 1_500

_shared: WeakValueDictionary[Components, RuleSet] = WeakValueDictionary()
_MAX_TEXT_AT_ONCE = 2_048


def rule_set(definitions: Iterable[ComponentDefinition]) -> RuleSet:
    """Return the rule set of some components; the same object while another caller holds it.

    Raises:
        Unprepared: The rules are many or long, so it takes long to parse them.
    """
    components = tuple(
        ComponentRoutes(definition.name, definition.routes)
        for definition in sorted(definitions, key=lambda definition: definition.name)
        if definition.routes
    )
    found = _shared.get(components)
    if found is None:
        length = sum([len(route.rule) for declared in components for route in declared.routes])
        if length > _MAX_TEXT_AT_ONCE:
            raise Unprepared(lambda: new_rule_set(components))
        found = finish(new_rule_set(components))
    return found


def new_rule_set(components: Components) -> Steps[RuleSet]:
    """Parse the rules of some components, one in each step."""
    rules = []
    for declared in components:
        for route in declared.routes:
            with suppress(RuleError):
                rules.append(compile_rule(route.rule))
            yield
    return _shared.setdefault(components, RuleSet(components, rules))


def _segments(values: OptionalValues) -> tuple[ResolvedValue, ...] | None:
    """Return the values, or None if a value is missing or is not one segment."""
    segments = tuple(value for value in values if value is not None and value.segment is not None)
    return segments if len(segments) == len(values) else None
