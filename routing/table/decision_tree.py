"""A decision tree over the routes of one table: a few look-ups from request to candidates.

The tree first tests the part of a request that separates the routes best. For an app below one
prefix this is the segment after the prefix; a part that all routes have in common is never tested.
The candidates at a leaf are sorted, so the first one that accepts wins. Like every index, the tree
narrows the candidates and never decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeAlias, TypeVar, Union

from kubefox.steps import Steps
from routing.language.facts import Facts
from routing.language.index_keys import ANY, END, REST, Element, IndexKey, IndexKeys, Marker

Route = TypeVar("Route")

Candidates: TypeAlias = tuple[Route, ...]
"""Routes in the order in which they win."""
DecisionTree: TypeAlias = Union["DecisionNode[Route]", Candidates[Route]]

# Matching three routes takes about as long as one more node.
LEAF_SIZE = 3
MAX_POSITION = 12
# A route with "any" at a tested part is copied into every branch; this bounds the copies.
COPIES_PER_KEY = 16
_KEYS_A_STEP = 512


class DecisionNode(Generic[Route]):
    """A test of one part of a request, with the tree below for each outcome."""

    __slots__ = ("cases", "otherwise")

    def __init__(
        self, cases: dict[str, DecisionTree[Route]], otherwise: DecisionTree[Route]
    ) -> None:
        self.cases = cases
        self.otherwise = otherwise

    def follow(self, facts: Facts) -> DecisionTree[Route]:
        """Return the tree below for this request."""
        # Not abstract: an abstract class makes the way down the tree 3 % slower.
        raise NotImplementedError


class HostNode(DecisionNode[Route]):
    """A test of the host."""

    __slots__ = ()

    def follow(self, facts: Facts) -> DecisionTree[Route]:
        """Return the tree below for the request's host."""
        return self.cases.get(facts.host, self.otherwise)


class MethodNode(DecisionNode[Route]):
    """A test of the method."""

    __slots__ = ()

    def follow(self, facts: Facts) -> DecisionTree[Route]:
        """Return the tree below for the request's method."""
        return self.cases.get(facts.method, self.otherwise)


class SegmentNode(DecisionNode[Route]):
    """A test of the segment at position ``at``; ``ended`` is for paths that end before it."""

    __slots__ = ("at", "ended")

    def __init__(
        self,
        at: int,
        cases: dict[str, DecisionTree[Route]],
        otherwise: DecisionTree[Route],
        ended: DecisionTree[Route],
    ) -> None:
        super().__init__(cases, otherwise)
        self.at = at
        self.ended = ended

    def follow(self, facts: Facts) -> DecisionTree[Route]:
        """Return the tree below for the request's segment."""
        segments = facts.segments
        if self.at < len(segments):
            return self.cases.get(segments[self.at], self.otherwise)
        return self.ended


def candidates(tree: DecisionTree[Route], facts: Facts) -> Candidates[Route]:
    """Return the routes that could accept the request, best first."""
    while not isinstance(tree, tuple):
        tree = tree.follow(facts)
    return tree


def build_tree(routes: Sequence[Route], keys: Sequence[IndexKeys]) -> Steps[DecisionTree[Route]]:
    """Make the decision tree over some routes, in steps.

    Args:
        routes: Best first.
        keys: Index keys of each route.
    """
    items = [(number, key) for number, route_keys in enumerate(keys) for key in route_keys]
    return (yield from _TreeBuilder(routes, COPIES_PER_KEY * len(items)).build(items))


Item = tuple[int, IndexKey]
"""A route, by its number, and one of its keys."""
KeyPart = Callable[[IndexKey], Element]
"""Function that returns the element of a key for one part of a request."""


class _Split:
    """The routes, separated by one part of the request."""

    def __init__(self) -> None:
        self.cases: dict[str, list[Item]] = {}
        self.otherwise: list[Item] = []
        self.ended: list[Item] = []
        self.largest = 0
        self.copies = 0

    def branches(self) -> list[list[Item]]:
        return [*self.cases.values(), self.otherwise, self.ended]


def _split(items: list[Item], part: KeyPart, max_copies: int) -> Steps[_Split | None]:
    """Separate the routes by one part, in steps; None if that takes too many copies."""
    split = _Split()
    unnamed: list[tuple[Item, Marker]] = []
    for number, item in enumerate(items, 1):
        element = part(item[1])
        if isinstance(element, str):
            split.cases.setdefault(element, []).append(item)
        else:
            unnamed.append((item, element))
        if number % _KEYS_A_STEP == 0:
            yield
    if len(split.cases) * len(unnamed) > max_copies:
        return None
    all_branches = split.branches()
    branches_of = {ANY: all_branches[:-1], END: all_branches[-1:], REST: all_branches}
    added = 0
    for item, element in unnamed:
        for branch in branches_of[element]:
            branch.append(item)
        added += len(branches_of[element])
        if added >= _KEYS_A_STEP:
            yield
            added = 0
    yield
    split.copies = -_route_count(items)
    for number, branch in enumerate(split.branches(), 1):
        size = _route_count(branch)
        split.largest = max(split.largest, size)
        split.copies += size
        if number % _KEYS_A_STEP == 0:
            yield
    return split


class _TreeBuilder(Generic[Route]):
    def __init__(self, routes: Sequence[Route], copies_left: int) -> None:
        self._routes = routes
        self._copies_left = copies_left

    def build(self, items: list[Item]) -> Steps[DecisionTree[Route]]:
        count = _route_count(items)
        best: tuple[int, _Split] | None = None
        if count > LEAF_SIZE:
            for at, part in _parts(items):
                split = yield from _split(items, part, self._copies_left)
                least = best[1].largest if best else count
                if split and split.largest < least and split.copies <= self._copies_left:
                    best = (at, split)
        if best is None:
            numbers = sorted({number for number, _ in items})
            return tuple([self._routes[number] for number in numbers])
        return (yield from self._node(*best))

    def _node(self, at: int, split: _Split) -> Steps[DecisionNode[Route]]:
        self._copies_left -= max(0, split.copies)
        cases = {}
        for number, (element, branch) in enumerate(split.cases.items(), 1):
            cases[element] = yield from self.build(branch)
            if number % _KEYS_A_STEP == 0:
                yield
        otherwise = yield from self.build(split.otherwise)
        if at == _HOST:
            return HostNode(cases, otherwise)
        if at == _METHOD:
            return MethodNode(cases, otherwise)
        return SegmentNode(at, cases, otherwise, (yield from self.build(split.ended)))


_HOST, _METHOD = -1, -2


def _parts(items: list[Item]) -> Iterator[tuple[int, KeyPart]]:
    """Yield the parts of a request that a node can test: positions of segments, host and method."""
    longest = max(len(path) for _, (_, path, _) in items)
    for at in range(min(longest, MAX_POSITION)):
        yield at, _segment_at(at)
    yield _HOST, lambda key: key[0]
    yield _METHOD, lambda key: key[2]


def _segment_at(at: int) -> KeyPart:
    def element(key: IndexKey) -> Element:
        path = key[1]
        return path[at] if at < len(path) else path[-1]

    return element


def _route_count(items: list[Item]) -> int:
    return len({number for number, _ in items})
