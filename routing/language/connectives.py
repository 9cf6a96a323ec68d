"""The connectives ``&&``, ``||`` and ``!`` over predicates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from routing.language.facts import Facts
from routing.language.predicates import (
    Everything,
    HeaderIs,
    HostIs,
    MethodIs,
    PathIs,
    Predicate,
    QueryIs,
    TypeIs,
)
from routing.language.segments import NO_PARAMS, Params

# Cheap predicates are evaluated first: refusing by method costs a tenth of parsing a query.
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
    """``&&``: accepts if every child accepts, with the parameters of all."""

    __slots__ = ("_accepts", "_children", "text")

    def __init__(self, children: Sequence[Predicate]) -> None:
        self.text = " && ".join(child.text for child in children)
        self._children = tuple(
            sorted(children, key=lambda child: _COST.get(type(child), _COST_OF_OTHERS))
        )
        # Bound once: the children differ in type, so a method look-up for each request is slow.
        self._accepts = tuple([child.accepts for child in self._children])

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if every child does."""
        params = NO_PARAMS
        for child_accepts in self._accepts:
            found = child_accepts(facts)
            if found is None:
                return None
            if found:
                params = {**params, **found} if params else found
        return params

    def refusal(self, facts: Facts) -> str:
        """Return the refusal of the first child that refused."""
        for child in self._children:
            if child.accepts(facts) is None:
                return child.refusal(facts)
        return self.text

    def equivalence(self) -> Hashable:
        """Ignore order, repetition and children that accept everything."""
        children = frozenset(child.equivalence() for child in self._children)
        children = children - {("everything",)} or children
        return next(iter(children)) if len(children) == 1 else ("all", children)


class AnyOf:
    """``||``: accepts if some child accepts, with the parameters of the first that does."""

    __slots__ = ("_children", "text")

    def __init__(self, children: Sequence[Predicate]) -> None:
        self.text = f"({' || '.join(child.text for child in children)})"
        self._children = tuple(children)

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if some child does."""
        for child in self._children:
            params = child.accepts(facts)
            if params is not None:
                return params
        return None

    def refusal(self, facts: Facts) -> str:
        """Return the refusals of all children."""
        return " || ".join(child.refusal(facts) for child in self._children)

    def equivalence(self) -> Hashable:
        """Ignore order and repetition of the children."""
        children = frozenset(child.equivalence() for child in self._children)
        return next(iter(children)) if len(children) == 1 else ("any", children)


class NoneOf:
    """``!``: accepts if its child refuses, without parameters."""

    __slots__ = ("_child", "text")

    def __init__(self, child: Predicate) -> None:
        self.text = f"!{child.text}" if not isinstance(child, AllOf) else f"!({child.text})"
        self._child = child

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if the child refuses."""
        return NO_PARAMS if self._child.accepts(facts) is None else None

    def refusal(self, facts: Facts) -> str:
        """Return the text of this predicate."""
        return self.text

    def equivalence(self) -> Hashable:
        """Negate the child's."""
        return ("not", self._child.equivalence())
