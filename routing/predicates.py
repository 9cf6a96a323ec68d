"""What a rule is when its variables are filled in: a tree of predicates.

``accepts`` returns the captured parameters, or None when it refuses, so a predicate that fails
leaves nothing behind. ``index_keys`` says which requests can be accepted at all, for the index: it
may promise too much, never too little. ``shape`` is equal for rules that accept the same requests.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Protocol

from routing.facts import Facts
from routing.regex import Regex, matches

Params = dict[str, str]
NOTHING: Params = {}
"""Accepted without parameters. Never changed, so it is shared."""

PATH_SUFFIX = "path_suffix"


class Mark:
    """An element of an index key that is not text."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        """Keep a name for people."""
        self._name = name

    def __repr__(self) -> str:
        """Return the name."""
        return self._name


ANY = Mark("ANY")
"""Any host, any method, or any one segment."""
END = Mark("END")
"""The path ends here."""
REST = Mark("REST")
"""The path may go on here."""

Element = str | Mark
Path = tuple[Element, ...]
Key = tuple[Element, Path, Element]
"""Host, path up to and with END or REST, method."""

ANYTHING: Key = (ANY, (REST,), ANY)
MAX_KEYS = 1_024
MAX_INDEXED_METHODS = 4


class Predicate(Protocol):
    """One node of a filled rule."""

    @property
    def text(self) -> str:
        """How the rule writes it."""

    def accepts(self, facts: Facts) -> Params | None:
        """Return the captured parameters, or None to refuse."""

    def refusal(self, facts: Facts) -> str:
        """Return the text of what refused; only asked after ``accepts`` refused."""

    def index_keys(self) -> tuple[Key, ...]:
        """Return where the index must look for this."""

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

    def index_keys(self) -> tuple[Key, ...]:
        """Return the key of everything."""
        return (ANYTHING,)


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
        """Keep the values."""
        super().__init__(text)
        self._allowed = allowed


class MethodIs(OneOf):
    """``Method(m, …)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept one of the methods."""
        return NOTHING if facts.method in self._allowed else None

    def index_keys(self) -> tuple[Key, ...]:
        """Return a key for each method, unless they are many."""
        if len(self._allowed) > MAX_INDEXED_METHODS:
            return (ANYTHING,)
        return tuple((ANY, (REST,), method) for method in sorted(self._allowed))

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


class Segments:
    """One pattern for a sequence of segments, or of the labels of a host.

    Args:
        literals: Position and text.
        regexes: Position, pattern and its compiled form.
        names: Position and the parameter that gets the segment.
        length: How many segments the above are about.
        tail: Parameter that gets the rest, or None.
        is_open: Whether more segments may follow; with a tail, at least one does.
    """

    __slots__ = ("_length", "_literals", "_names", "_open", "_patterns", "_regexes", "_tail")

    def __init__(
        self,
        *,
        literals: Sequence[tuple[int, str]],
        regexes: Sequence[tuple[int, str, Regex]] = (),
        names: Sequence[tuple[int, str]] = (),
        length: int,
        tail: str | None = None,
        is_open: bool = False,
    ) -> None:
        """Keep them as tuples."""
        self._literals = tuple(literals)
        self._regexes = tuple((at, compiled) for at, _, compiled in regexes)
        self._patterns = tuple((at, pattern) for at, pattern, _ in regexes)
        self._names = tuple(names)
        self._length = length
        self._tail = tail
        self._open = is_open

    def accepts(self, segments: list[str]) -> Params | None:
        """Return the captured parameters, or None."""
        if not self._fits(len(segments)):
            return None
        for at, literal in self._literals:
            if segments[at] != literal:
                return None
        for at, pattern in self._regexes:
            if not matches(pattern, segments[at]):
                return None
        return self._captured(segments) if self._names or self._open else NOTHING

    def path(self) -> Path:
        """Return the path part of the index key."""
        literals = dict(self._literals)
        ending = REST if self._open or self._tail else END
        return (*(literals.get(at, ANY) for at in range(self._length)), ending)

    def shape(self) -> Hashable:
        """Return what is matched, whatever the parameters are called."""
        is_tail = self._tail is not None
        return (self._literals, self._patterns, self._length, is_tail, self._open)

    def _fits(self, count: int) -> bool:
        if self._tail is not None:
            return count > self._length
        return count >= self._length if self._open else count == self._length

    def _captured(self, segments: list[str]) -> Params:
        params = {name: segments[at] for at, name in self._names}
        if self._tail is not None:
            params[self._tail] = "/".join(segments[self._length :])
        elif self._open:
            params[PATH_SUFFIX] = "/" + "/".join(segments[self._length :])
        return params


class AnySegments(Leaf):
    """A predicate with alternative patterns of segments; the first that accepts decides."""

    __slots__ = ("_alternatives",)

    def __init__(self, text: str, alternatives: Sequence[Segments]) -> None:
        """Keep the alternatives."""
        super().__init__(text)
        self._alternatives = tuple(alternatives)

    def _accepts(self, segments: list[str]) -> Params | None:
        for alternative in self._alternatives:
            params = alternative.accepts(segments)
            if params is not None:
                return params
        return None

    def shape(self) -> Hashable:
        """Return the alternatives, whatever their order."""
        shapes = frozenset(each.shape() for each in self._alternatives)
        return (type(self).__name__, shapes)


class PathIs(AnySegments):
    """``Path(p)`` and ``PathPrefix(p)``."""

    __slots__ = ()

    def accepts(self, facts: Facts) -> Params | None:
        """Accept the path."""
        return self._accepts(facts.segments)

    def index_keys(self) -> tuple[Key, ...]:
        """Return a key for each alternative."""
        paths = dict.fromkeys(each.path() for each in self._alternatives)
        return tuple((ANY, path, ANY) for path in paths)


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
        return self._accepts(facts.host.split("."))

    def index_keys(self) -> tuple[Key, ...]:
        """Return a key for each literal host."""
        return tuple((host, (REST,), ANY) for host in self._hosts) or (ANYTHING,)


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
