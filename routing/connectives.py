"""``&&``, ``||`` and ``!`` over predicates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from routing.facts import Facts
from routing.predicates import (
    Everything,
    HeaderIs,
    HostIs,
    MethodIs,
    PathIs,
    Predicate,
    QueryIs,
    TypeIs,
)
from routing.segments import NOTHING, Params

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

    __slots__ = ("_ask", "_children", "text")

    def __init__(self, children: Sequence[Predicate]) -> None:
        """Order the children by cost; which one is asked first does not change the answer."""
        self.text = " && ".join(child.text for child in children)
        self._children = tuple(
            sorted(children, key=lambda child: _COST.get(type(child), _COST_OF_OTHERS))
        )
        # Children differ in type, so looking their method up for each request is slow.
        self._ask = tuple([child.accepts for child in self._children])

    def accepts(self, facts: Facts) -> Params | None:
        """Accept if every child does."""
        params = NOTHING
        for ask in self._ask:
            found = ask(facts)
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

    def shape(self) -> Hashable:
        """Return the child's shape, negated."""
        return ("not", self._child.shape())
