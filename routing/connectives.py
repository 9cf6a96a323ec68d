"""``&&``, ``||`` and ``!`` over predicates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from routing.facts import Facts
from routing.predicates import (
    ANY,
    ANYTHING,
    MAX_KEYS,
    NOTHING,
    REST,
    Everything,
    HeaderIs,
    HostIs,
    Key,
    MethodIs,
    Params,
    Path,
    PathIs,
    Predicate,
    QueryIs,
    TypeIs,
)

# Cheap ones first: a refusal by method costs a tenth of parsing a query.
_COST: dict[type, int] = {
    Everything: 0,
    MethodIs: 0,
    TypeIs: 0,
    PathIs: 1,
    HostIs: 2,
    HeaderIs: 3,
    QueryIs: 4,
}
_COST_OF_OTHERS = 5


class AllOf:
    """Accepts what every child accepts, with the parameters of all."""

    __slots__ = ("_children", "text")

    def __init__(self, children: Sequence[Predicate]) -> None:
        """Order the children by cost; which one is asked first does not change the answer."""
        self.text = " && ".join(child.text for child in children)
        self._children = tuple(
            sorted(children, key=lambda child: _COST.get(type(child), _COST_OF_OTHERS))
        )

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if every child does."""
        params = NOTHING
        for child in self._children:
            found = child.accepts(facts)
            if found is None:
                return None
            if found:
                params = {**params, **found} if params else found
        return params

    def refusal(self, facts: Facts) -> str:
        """Return what the first child that refused says."""
        for child in self._children:
            if child.accepts(facts) is None:
                return child.refusal(facts)
        return self.text

    def index_keys(self) -> tuple[Key, ...]:
        """Return the keys that satisfy every child."""
        keys: tuple[Key, ...] = (ANYTHING,)
        for child in self._children:
            narrowed = {_both(key, other) for key in keys for other in child.index_keys()}
            if len(narrowed) <= MAX_KEYS:
                keys = tuple(narrowed)
        return keys

    def shape(self) -> Hashable:
        """Return the children without order and repetition."""
        shapes = frozenset(child.shape() for child in self._children)
        shapes = shapes - {("everything",)} or shapes
        return next(iter(shapes)) if len(shapes) == 1 else ("all", shapes)


class AnyOf:
    """Accepts what some child accepts, with the parameters of the first that does."""

    __slots__ = ("_children", "text")

    def __init__(self, children: Sequence[Predicate]) -> None:
        """Keep the children in order: it decides about parameters."""
        self.text = f"({' || '.join(child.text for child in children)})"
        self._children = tuple(children)

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if a child does."""
        for child in self._children:
            params = child.accepts(facts)
            if params is not None:
                return params
        return None

    def refusal(self, facts: Facts) -> str:
        """Return what every child says."""
        return " || ".join(child.refusal(facts) for child in self._children)

    def index_keys(self) -> tuple[Key, ...]:
        """Return the keys of all children."""
        keys = tuple(dict.fromkeys(key for child in self._children for key in child.index_keys()))
        return keys if len(keys) <= MAX_KEYS else (ANYTHING,)

    def shape(self) -> Hashable:
        """Return the children without order and repetition."""
        shapes = frozenset(child.shape() for child in self._children)
        return next(iter(shapes)) if len(shapes) == 1 else ("any", shapes)


class NoneOf:
    """``!``: accepts what its child refuses, without parameters."""

    __slots__ = ("_child", "text")

    def __init__(self, child: Predicate) -> None:
        """Keep the child."""
        self.text = f"!{child.text}" if not isinstance(child, AllOf) else f"!({child.text})"
        self._child = child

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if the child refuses."""
        return NOTHING if self._child.accepts(facts) is None else None

    def refusal(self, facts: Facts) -> str:
        """Return the text of this predicate."""
        return self.text

    def index_keys(self) -> tuple[Key, ...]:
        """Return the key of everything: what is refused says little about what is left."""
        return (ANYTHING,)

    def shape(self) -> Hashable:
        """Return the child's shape, negated."""
        return ("not", self._child.shape())


def _both(key: Key, other: Key) -> Key:
    host, path, method = key
    other_host, other_path, other_method = other
    return (
        other_host if host is ANY else host,
        _narrower(path, other_path),
        other_method if method is ANY else method,
    )


def _narrower(path: Path, other: Path) -> Path:
    if path[-1] is REST and other[-1] is not REST:
        return other
    if other[-1] is REST and path[-1] is not REST:
        return path
    return max(path, other, key=len)
