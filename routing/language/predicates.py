"""Predicates: a rule with resolved variables is a tree of them.

``accepts`` returns the captured parameters, or None to refuse, so a predicate that refuses leaves
no parameters behind. ``equivalence`` is equal for predicates that accept the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from sys import intern
from typing import NamedTuple, Protocol

from routing.language.facts import Facts
from routing.language.regex import Regex, Spend
from routing.language.segments import (
    NO_PARAMS,
    NO_SEGMENT_VALUES,
    Params,
    SegmentPattern,
    SegmentsView,
    SegmentValues,
)

MAX_HOST_LENGTH = 253
"""Longest host with captures that matches: no name of the DNS is longer."""

Accepts = Callable[[Facts], Params | None]
"""Returns the captured parameters, or None to refuse."""


class Predicate(Protocol):
    """One node of a rule with resolved variables."""

    @property
    def text(self) -> str:
        """The predicate as the rule writes it."""

    @property
    def accepts(self) -> Accepts:
        """The function that matches; a frequent caller keeps it instead of looking it up again."""

    def refusal(self, facts: Facts) -> str:
        """Return the text of the predicate that refused; only valid after ``accepts`` refused."""

    def equivalence(self) -> Hashable:
        """Return a value that is equal for predicates that accept the same requests."""


class Leaf:
    """A predicate without children: its text is its refusal."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def refusal(self, facts: Facts) -> str:
        """Return the text of this predicate."""
        return self.text


class Everything(Leaf):
    """``All()`` and ``Any()``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept."""
        return NO_PARAMS

    def equivalence(self) -> Hashable:
        """Return one value for both names."""
        return ("everything",)


class OneOf(Leaf):
    """``Method`` or ``Type``: an attribute that must have one of several values."""

    __slots__ = ("_allowed",)

    def __init__(self, text: str, allowed: frozenset[str]) -> None:
        super().__init__(text)
        self._allowed = tuple(sorted(map(intern, allowed)))


class MethodIs(OneOf):
    """``Method(m, …)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept one of the methods."""
        return NO_PARAMS if facts.method in self._allowed else None

    def equivalence(self) -> Hashable:
        """Return the methods in sorted order."""
        return ("method", self._allowed)


class TypeIs(OneOf):
    """``Type(t)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept the event type."""
        return NO_PARAMS if facts.type in self._allowed else None

    def equivalence(self) -> Hashable:
        """Return the types in sorted order."""
        return ("type", self._allowed)


class Alternatives:
    """Alternative patterns of segments; the first one that accepts wins."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Sequence[SegmentPattern]) -> None:
        self._patterns = tuple(patterns)

    def accepts(self, view: SegmentsView) -> Params | None:
        """Return the captured parameters, or None to refuse."""
        for pattern in self._patterns:
            params = pattern.accepts(view)
            if params is not None:
                return params
        return None


class SegmentPredicate(Leaf):
    """A predicate with alternative patterns of segments."""

    __slots__ = ("_accepts_segments", "_alternatives")

    def __init__(self, text: str, alternatives: Sequence[SegmentPattern]) -> None:
        super().__init__(text)
        self._alternatives = tuple(alternatives)
        pattern = alternatives[0] if len(alternatives) == 1 else Alternatives(alternatives)
        self._accepts_segments = pattern.accepts

    def equivalence(self) -> Hashable:
        """Ignore the order of the alternatives."""
        alternatives = frozenset(pattern.equivalence() for pattern in self._alternatives)
        return (type(self).__name__, alternatives)


class PathIs(SegmentPredicate):
    """``Path(p)`` and ``PathPrefix(p)``."""

    __slots__ = ()

    @property
    def accepts(self) -> Accepts:
        """The pattern's own ``accepts``, which saves one call."""
        return self._accepts_segments


class HostIs(SegmentPredicate):
    """``Host(h)``. A capture stands for one label.

    Args:
        text: The predicate as the rule writes it.
        alternatives: Patterns over the labels.
        hosts: All hosts that match, if there is no capture; then there are no alternatives.
    """

    __slots__ = ("_hosts",)

    def __init__(
        self, text: str, alternatives: Sequence[SegmentPattern], hosts: frozenset[str]
    ) -> None:
        super().__init__(text, alternatives)
        self._hosts = hosts

    def equivalence(self) -> Hashable:
        """Ignore the order of the alternatives."""
        return (super().equivalence(), self._hosts)

    def accepts(self, facts: Facts) -> Params | None:
        """Accept the host."""
        host = facts.host
        if self._hosts:
            return NO_PARAMS if host in self._hosts else None
        if len(host) > MAX_HOST_LENGTH:
            return None
        return self._accepts_segments(_Labels(host.split("."), facts.spend))


class _Labels(NamedTuple):
    """A host in the form that segment patterns read."""

    segments: list[str]
    spend: Spend
    segment_values: SegmentValues = NO_SEGMENT_VALUES


class ValueIs(Leaf):
    """A header or query parameter of which one value is a given text or matches a pattern."""

    __slots__ = ("_compiled", "_names", "_pattern", "_texts")

    def __init__(
        self,
        text: str,
        *,
        names: frozenset[str],
        texts: frozenset[str] = frozenset(),
        pattern: str | None = None,
        compiled: Regex | None = None,
    ) -> None:
        super().__init__(text)
        self._names = names
        self._texts = texts
        self._pattern = pattern
        self._compiled = compiled

    def _accepts(self, values: dict[str, list[str]], spend: Spend) -> Params | None:
        for name in self._names:
            if name in values and self._matches_any(values[name], spend):
                return NO_PARAMS
        return None

    def _matches_any(self, values: list[str], spend: Spend) -> bool:
        compiled = self._compiled
        if compiled is None:
            return not self._texts.isdisjoint(values)
        return any(compiled.matches(value, spend) for value in values)

    def equivalence(self) -> Hashable:
        """Return the names and the values that match."""
        return (type(self).__name__, self._names, self._texts, self._pattern)


class HeaderIs(ValueIs):
    """``Header(k, v)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if any value of the header matches."""
        return self._accepts(facts.headers, facts.spend)


class QueryIs(ValueIs):
    """``Query(k, v)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if any value of the parameter matches."""
        return self._accepts(facts.query, facts.spend)
