"""What a rule is when its variables are filled in: a tree of predicates.

``accepts`` returns the captured parameters, or None when it refuses, so a predicate that fails
leaves nothing behind. ``shape`` is equal for rules that accept the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from sys import intern
from typing import NamedTuple, Protocol

from routing.facts import Facts
from routing.regex import Regex, matches
from routing.segments import NO_WORDS, NOTHING, Asked, Params, Segments, Words

Accepts = Callable[[Facts], Params | None]
"""Returns the captured parameters, or None to refuse."""


class Predicate(Protocol):
    """One node of a filled rule."""

    @property
    def text(self) -> str:
        """How the rule writes it."""

    @property
    def accepts(self) -> Accepts:
        """Asks it; to be kept by who asks it often."""

    def refusal(self, facts: Facts) -> str:
        """Return the text of what refused; only asked after ``accepts`` refused."""

    def shape(self) -> Hashable:
        """Return a value that is equal for predicates that accept the same requests."""


class Leaf:
    """A predicate without children, which is its own refusal and can be anywhere."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        """Keep how the rule writes it."""
        self.text = text

    def refusal(self, facts: Facts) -> str:
        """Return the text of this predicate."""
        return self.text


class Everything(Leaf):
    """``All()`` and ``Any()``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept."""
        return NOTHING

    def shape(self) -> Hashable:
        """Return the same for both names."""
        return ("everything",)


class OneOf(Leaf):
    """``Method`` or ``Type``: an attribute that has one of some values."""

    __slots__ = ("_allowed",)

    def __init__(self, text: str, allowed: frozenset[str]) -> None:
        """Keep the values; there are few, and a tuple of few is faster to look through."""
        super().__init__(text)
        self._allowed = tuple(sorted(map(intern, allowed)))


class MethodIs(OneOf):
    """``Method(m, …)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept one of the methods."""
        return NOTHING if facts.method in self._allowed else None

    def shape(self) -> Hashable:
        """Return the methods, whatever their order."""
        return ("method", self._allowed)


class TypeIs(OneOf):
    """``Type(t)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept the event type."""
        return NOTHING if facts.type in self._allowed else None

    def shape(self) -> Hashable:
        """Return the types."""
        return ("type", self._allowed)


class Alternatives:
    """Alternative patterns of segments; the first that accepts decides."""

    __slots__ = ("_patterns",)

    def __init__(self, patterns: Sequence[Segments]) -> None:
        """Keep the patterns."""
        self._patterns = tuple(patterns)

    def accepts(self, asked: Asked) -> Params | None:
        """Return the captured parameters, or None."""
        for pattern in self._patterns:
            params = pattern.accepts(asked)
            if params is not None:
                return params
        return None


class AnySegments(Leaf):
    """A predicate with alternative patterns of segments."""

    __slots__ = ("_alternatives", "_ask")

    def __init__(self, text: str, alternatives: Sequence[Segments]) -> None:
        """Keep the alternatives; nearly always there is one, which is asked without a loop."""
        super().__init__(text)
        self._alternatives = tuple(alternatives)
        only = len(alternatives) == 1
        self._ask = alternatives[0].accepts if only else Alternatives(alternatives).accepts

    def shape(self) -> Hashable:
        """Return the alternatives, whatever their order."""
        shapes = frozenset(each.identity() for each in self._alternatives)
        return (type(self).__name__, shapes)


class PathIs(AnySegments):
    """``Path(p)`` and ``PathPrefix(p)``."""

    __slots__ = ()

    @property
    def accepts(self) -> Accepts:
        """Accepts the path: the pattern itself, with nothing in between."""
        return self._ask


class HostIs(AnySegments):
    """``Host(h)``. Captures stand for one label; literal hosts are in the index."""

    __slots__ = ("_hosts",)

    def __init__(self, text: str, alternatives: Sequence[Segments], hosts: Sequence[str]) -> None:
        """Keep the alternatives; ``hosts`` names them all, or is empty if some have captures."""
        super().__init__(text, alternatives)
        self._hosts = tuple(hosts)

    def accepts(self, facts: Facts) -> Params | None:
        """Accept the host."""
        if self._hosts:
            return NOTHING if facts.host in self._hosts else None
        return self._ask(_Labels(facts.host.split(".")))


class _Labels(NamedTuple):
    """A host, as patterns look at it."""

    segments: list[str]
    words: Words = NO_WORDS


class ValueIs(Leaf):
    """A named value, of possibly several, that is one of some texts or matches a pattern."""

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
        """Keep what is compared with what."""
        super().__init__(text)
        self._names = names
        self._texts = texts
        self._pattern = pattern
        self._compiled = compiled

    def _accepts(self, values: dict[str, list[str]]) -> Params | None:
        for name in self._names:
            for value in values.get(name, ()):
                if self._is_right(value):
                    return NOTHING
        return None

    def _is_right(self, value: str) -> bool:
        if self._compiled is not None:
            return matches(self._compiled, value)
        return value in self._texts

    def shape(self) -> Hashable:
        """Return names and what their values may be."""
        return (type(self).__name__, self._names, self._texts, self._pattern)


class HeaderIs(ValueIs):
    """``Header(k, v)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if any value of the header is right."""
        return self._accepts(facts.headers)


class QueryIs(ValueIs):
    """``Query(k, v)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if any value of the parameter is right."""
        return self._accepts(facts.query)
