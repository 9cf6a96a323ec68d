"""Patterns over a sequence of segments: those of a path, or the labels of a host."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Protocol

from routing.language.index_keys import ANY, END, REST, Path
from routing.language.regex import Regex, Spend

Params = dict[str, str]
NO_PARAMS: Params = {}
"""The result of accepting without parameters. Never changed, so it is shared."""

PATH_SUFFIX = "path_suffix"
_NO_LIMIT = 1 << 30


class SegmentShape:
    """All of a pattern except its literals: every environment that resolves the pattern shares it.

    Args:
        length: How many segments the pattern describes.
        regexes: Position, pattern and compiled form of each regular expression.
        names: Position and name of each captured segment.
        tail: Parameter that captures the remaining segments, at least one; or None.
        is_open: Whether more segments may follow; they become the path's suffix.

    Attributes:
        least: Smallest number of segments that matches.
        most: Largest number of segments that matches.
        ending: The last path element of the pattern's index key.
        regexes: Position and compiled form of each regular expression.
        captures: Whether the pattern has parameters.
    """

    __slots__ = (
        "_length",
        "_names",
        "_patterns",
        "_tail",
        "captures",
        "ending",
        "least",
        "most",
        "regexes",
    )

    def __init__(
        self,
        *,
        length: int,
        regexes: Sequence[tuple[int, str, Regex]] = (),
        names: Sequence[tuple[int, str]] = (),
        tail: str | None = None,
        is_open: bool = False,
    ) -> None:
        self.least = length + (tail is not None)
        self.most = _NO_LIMIT if is_open or tail is not None else length
        self.ending = END if self.most == length else REST
        self.regexes = tuple((at, compiled) for at, _, compiled in regexes)
        self.captures = bool(names) or self.most > length
        self._length = length
        self._patterns = tuple((at, pattern) for at, pattern, _ in regexes)
        self._names = tuple(interned_pair(at, name) for at, name in names)
        self._tail = tail

    def captured(self, segments: list[str]) -> Params:
        """Return the parameters of segments that match."""
        params = {}
        # A loop: before Python 3.12 a comprehension is a call, which costs more than this loop.
        for at, name in self._names:
            params[name] = segments[at]
        if self._tail is not None:
            params[self._tail] = "/".join(segments[self._length :])
        elif self.most > self._length:
            params[PATH_SUFFIX] = "/" + "/".join(segments[self._length :])
        return params

    def equivalence(self) -> Hashable:
        """Return the matching part without literals; names of parameters do not matter."""
        return self._patterns, self.least, self.most


@lru_cache(maxsize=4_096)
def interned_pair(at: int, text: str) -> tuple[int, str]:
    """Return a position and a text; the same object for equal arguments.

    The rules of many apps share their first segments and names of parameters. With shared pairs, a
    request finds in the processor's caches what the request before it has read.
    """
    return at, text


Segment = str | frozenset[str]
"""One whole path segment: a text, or the texts of a list, one of which it must be."""
Literal = Segment | int | None
"""A segment; or the index of an environment's segment value; or None where the shape decides."""
Combinations = tuple[tuple[int, ...], frozenset[tuple[str, ...]]]
"""Positions of segments, and the texts that they may have together."""
SegmentValues = tuple[Segment, ...]
"""Values of variables, each of them one whole path segment."""
NO_SEGMENT_VALUES: SegmentValues = ()


class SegmentsView(Protocol):
    """The part of a request that segment patterns read."""

    @property
    def segments(self) -> list[str]:
        """The request's segments."""

    @property
    def spend(self) -> Spend:
        """Function that takes the work of regular expressions from the request's limit."""

    @property
    def segment_values(self) -> SegmentValues:
        """The environment's values that the pattern refers to by index."""


class SegmentPattern:
    """One pattern: a shape and its literals.

    Args:
        shape: All except the literals.
        literals: One for each position.
        combinations: Texts that some positions must have together.
    """

    __slots__ = (
        "_combinations",
        "_has_lists",
        "_least",
        "_lists",
        "_literals",
        "_most",
        "_shape",
        "_slots",
    )

    def __init__(
        self,
        shape: SegmentShape,
        literals: Sequence[Literal],
        combinations: Combinations | None = None,
    ) -> None:
        self._shape = shape
        self._combinations = combinations
        # Copied from the shape: most patterns refuse by their length.
        self._least, self._most = shape.least, shape.most
        self._literals = tuple(
            [interned_pair(at, text) for at, text in enumerate(literals) if isinstance(text, str)]
        )
        # However many values a list has, it is one look-up: no pattern for each of them.
        self._lists = tuple(
            [(at, texts) for at, texts in enumerate(literals) if isinstance(texts, frozenset)]
        )
        self._has_lists = bool(self._lists) or combinations is not None
        self._slots = tuple(
            [(at, slot) for at, slot in enumerate(literals) if isinstance(slot, int)]
        )

    def accepts(self, view: SegmentsView) -> Params | None:
        """Return the captured parameters, or None to refuse."""
        segments = view.segments
        count = len(segments)
        if count < self._least or count > self._most:
            return None
        for at, literal in self._literals:
            if segments[at] != literal:
                return None
        if self._slots:
            values = view.segment_values
            for at, slot in self._slots:
                value = values[slot]
                if segments[at] != value and not _holds(value, segments[at]):
                    return None
        if self._has_lists and not self._is_listed(segments):
            return None
        shape = self._shape
        for at, pattern in shape.regexes:
            if not pattern.matches(segments[at], view.spend):
                return None
        return shape.captured(segments) if shape.captures else NO_PARAMS

    def equivalence(self) -> Hashable:
        """Return a value that is equal for patterns that accept the same segments."""
        lists = self._lists, self._combinations
        return self._literals, self._slots, lists, self._shape.equivalence()

    def _is_listed(self, segments: list[str]) -> bool:
        if self._combinations is not None:
            positions, texts = self._combinations
            if tuple([segments[at] for at in positions]) not in texts:
                return False
        return all(segments[at] in texts for at, texts in self._lists)


def _holds(value: Segment, segment: str) -> bool:
    return isinstance(value, frozenset) and segment in value


def key_path(shape: SegmentShape, literals: Sequence[Literal]) -> Path:
    """Return the path part of a pattern's index key."""
    elements = (literal if isinstance(literal, str) else ANY for literal in literals)
    return (*elements, shape.ending)
