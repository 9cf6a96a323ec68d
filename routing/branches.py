"""A decision tree over the routes of one table: a few look-ups from request to candidates.

The tree asks first what tells the routes apart best, which for an app below one prefix is the
segment after it; what all routes have in common is never asked. The candidates at a leaf are
sorted, so the first that accepts wins. Like every index it narrows and never decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar, Union

from routing.facts import Facts
from routing.keys import ANY, END, Element, Key, Keys

Route = TypeVar("Route")

Candidates: TypeAlias = tuple[Route, ...]
"""Routes in the order in which they win."""
Tree: TypeAlias = Union["Branch[Route]", Candidates[Route]]

# Asking three routes costs about as much as asking one more branch.
SMALL = 3
MAX_POSITION = 12
# A route that any value may lead to is repeated in every branch; the repetitions are bounded.
COPIES = 16


class Branch(Generic[Route]):
    """Candidates by one thing that is asked of a request."""

    __slots__ = ("cases", "otherwise")

    def __init__(self, cases: dict[str, Tree[Route]], otherwise: Tree[Route]) -> None:
        """Make a branch; ``otherwise`` is for values that no route names."""
        self.cases = cases
        self.otherwise = otherwise

    def follow(self, facts: Facts) -> Tree[Route]:
        """Return what is below for this request."""
        # No abstract class: it makes the way down the tree 3 % longer.
        raise NotImplementedError


class ByHost(Branch[Route]):
    """Asks for the host."""

    __slots__ = ()

    def follow(self, facts: Facts) -> Tree[Route]:
        """Return what is below for the host."""
        return self.cases.get(facts.host, self.otherwise)


class ByMethod(Branch[Route]):
    """Asks for the method."""

    __slots__ = ()

    def follow(self, facts: Facts) -> Tree[Route]:
        """Return what is below for the method."""
        return self.cases.get(facts.method, self.otherwise)


class BySegment(Branch[Route]):
    """Asks for the segment at one position; ``ended`` is for paths that end before it."""

    __slots__ = ("at", "ended")

    def __init__(
        self,
        at: int,
        cases: dict[str, Tree[Route]],
        otherwise: Tree[Route],
        ended: Tree[Route],
    ) -> None:
        """Make a branch."""
        super().__init__(cases, otherwise)
        self.at = at
        self.ended = ended

    def follow(self, facts: Facts) -> Tree[Route]:
        """Return what is below for the segment."""
        segments = facts.segments
        if self.at < len(segments):
            return self.cases.get(segments[self.at], self.otherwise)
        return self.ended


def candidates(tree: Tree[Route], facts: Facts) -> Candidates[Route]:
    """Return the routes that could accept the request, best first."""
    while not isinstance(tree, tuple):
        tree = tree.follow(facts)
    return tree


def grow(routes: Sequence[Route], keys: Sequence[Keys]) -> Tree[Route]:
    """Return the tree over routes.

    Args:
        routes: Best first.
        keys: Of each route.
    """
    items = [(number, key) for number, each in enumerate(keys) for key in each]
    return _Grower(routes, COPIES * len(items)).grow(items)


Item = tuple[int, Key]
Question = Callable[[Key], Element]
"""What a key says about one thing that can be asked of a request."""


class _Parts:
    """How the answers to one question part the routes."""

    def __init__(self, items: list[Item], question: Question) -> None:
        elements = [(item, question(item[1])) for item in items]
        self.cases: dict[str, list[Item]] = {
            element: [] for _, element in elements if isinstance(element, str)
        }
        self.otherwise: list[Item] = []
        self.ended: list[Item] = []
        for item, element in elements:
            for part in self._parts_for(element):
                part.append(item)
        sizes = [_count(part) for part in (*self.cases.values(), self.otherwise, self.ended)]
        self.largest = max(sizes)
        self.copies = sum(sizes) - _count(items)

    def _parts_for(self, element: Element) -> list[list[Item]]:
        if isinstance(element, str):
            return [self.cases[element]]
        if element is END:
            return [self.ended]
        everywhere = [*self.cases.values(), self.otherwise]
        return everywhere if element is ANY else [*everywhere, self.ended]


class _Grower(Generic[Route]):
    def __init__(self, routes: Sequence[Route], copies: int) -> None:
        self._routes = routes
        self._copies = copies

    def grow(self, items: list[Item]) -> Tree[Route]:
        count = _count(items)
        best: tuple[int, _Parts] | None = None
        if count > SMALL:
            for at, question in _questions(items):
                parts = _Parts(items, question)
                least = best[1].largest if best else count
                if parts.largest < least and parts.copies <= self._copies:
                    best = (at, parts)
        if best is None:
            numbers = sorted({number for number, _ in items})
            return tuple([self._routes[number] for number in numbers])
        return self._branch(*best)

    def _branch(self, at: int, parts: _Parts) -> Branch[Route]:
        self._copies -= max(0, parts.copies)
        cases = {element: self.grow(part) for element, part in parts.cases.items()}
        otherwise = self.grow(parts.otherwise)
        if at == _HOST:
            return ByHost(cases, otherwise)
        if at == _METHOD:
            return ByMethod(cases, otherwise)
        return BySegment(at, cases, otherwise, self.grow(parts.ended))


_HOST, _METHOD = -1, -2


def _questions(items: list[Item]) -> Iterator[tuple[int, Question]]:
    longest = max(len(path) for _, (_, path, _) in items)
    for at in range(min(longest, MAX_POSITION)):
        yield at, _segment_question(at)
    yield _HOST, lambda key: key[0]
    yield _METHOD, lambda key: key[2]


def _segment_question(at: int) -> Question:
    def ask(key: Key) -> Element:
        path = key[1]
        return path[at] if at < len(path) else path[-1]

    return ask


def _count(items: list[Item]) -> int:
    return len({number for number, _ in items})
