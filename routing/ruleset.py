"""The rules of all components of a deployment, shared by every deployment with the same ones.

Deployments mostly differ in components without routes, and virtual environments in variables that
no rule uses. So rules are kept once per set of route-bearing components, and tables once per set of
values that its rules use. Both are held weakly: they go when the last binding that uses them goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from weakref import WeakValueDictionary

from model.component import ComponentDefinition
from routing.compiled import Rule, compile_rule
from routing.keytemplate import KeyTemplate
from routing.keytree import KeyTree
from routing.matcher import ComponentRoutes, Table, compile_table
from routing.opentable import OpenRoutes
from routing.rule import RuleError
from routing.segments import Words
from routing.template import Filling, Layers, fill

Components = tuple[ComponentRoutes, ...]


class RuleSet:
    """The routes of some components and the tables made of them.

    Attributes:
        components: In order of their names.
        variables: Names of every variable the rules use, sorted.
    """

    __slots__ = (
        "__weakref__",
        "_can_be_open",
        "_keys",
        "_open",
        "_tables",
        "components",
        "variables",
    )

    def __init__(self, components: Components) -> None:
        """Find the variables; a rule that cannot be read has none, and is a problem later."""
        self.components = components
        rules = tuple(_readable(components))
        self.variables = tuple(sorted({name for rule in rules for name in rule.variables}))
        self._keys = KeyTemplate(rules)
        is_readable = len(rules) == sum(len(each.routes) for each in components)
        self._can_be_open = is_readable and all(rule.takes_words for rule in rules)
        self._open: OpenRoutes | None = None
        self._tables: WeakValueDictionary[tuple[Filling | None, ...], Table]
        self._tables = WeakValueDictionary()

    def used(self, layers: Layers) -> tuple[Filling | None, ...]:
        """Return the values of ``variables``: all that a table depends on."""
        return tuple([fill(name, layers) for name in self.variables])

    def table(self, layers: Layers) -> Table:
        """Return the table for these values, made if nobody holds it."""
        used = self.used(layers)
        table = self._tables.get(used)
        if table is None:
            table = self._tables[used] = self._new_table(used, layers)
        return table

    def keys(self, layers: Layers) -> KeyTree:
        """Return the index keys of all routes for these values."""
        used = zip(self.variables, self.used(layers), strict=True)
        return self._keys.keys({name: each for name, each in used if each is not None})

    def _new_table(self, used: Iterable[Filling | None], layers: Layers) -> Table:
        words = _words(used)
        if words is None or not self._can_be_open:
            return compile_table(self.components, layers)
        if self._open is None:
            self._open = OpenRoutes(self.components, self.variables)
        return self._open.table(words)


_shared: WeakValueDictionary[Components, RuleSet] = WeakValueDictionary()


def rule_set(definitions: Iterable[ComponentDefinition]) -> RuleSet:
    """Return the rule set of some components; the same object while somebody holds it."""
    components = tuple(
        ComponentRoutes(each.name, each.routes)
        for each in sorted(definitions, key=lambda each: each.name)
        if each.routes
    )
    found = _shared.get(components)
    if found is None:
        found = _shared[components] = RuleSet(components)
    return found


def _words(used: Iterable[Filling | None]) -> Words | None:
    """Return the values, or None if one is missing or is not one word."""
    words = []
    for filling in used:
        if filling is None or not filling.is_word:
            return None
        words.append(filling.texts[0])
    return tuple(words)


def _readable(components: Components) -> Iterator[Rule]:
    for each in components:
        for route in each.routes:
            try:
                yield compile_rule(route.rule)
            except RuleError:
                continue
