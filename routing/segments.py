"""Patterns over a sequence of segments: of a path, or the labels of a host."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import Protocol

from routing.keys import ANY, END, REST, Path
from routing.regex import Regex, matches

Params = dict[str, str]
NOTHING: Params = {}
"""Accepted without parameters. Never changed, so it is shared."""

PATH_SUFFIX = "path_suffix"
_NO_LIMIT = 1 << 30


class Shape:
    """All of a pattern but its literals: shared by every environment that fills it in.

    Args:
        length: How many segments are described.
        regexes: Position, pattern and its compiled form.
        names: Position and the parameter that gets the segment.
        tail: Parameter that gets the rest, of at least one segment, or None.
        is_open: Whether more segments may follow, as the path's suffix.

    Attributes:
        least: How many segments a request has at least.
        most: How many it has at most.
        ending: The element that ends its index key.
        regexes: Position and compiled form.
        captures: Whether there are parameters.
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
        """Work out what is asked of every request."""
        self.least = length + (tail is not None)
        self.most = _NO_LIMIT if is_open or tail is not None else length
        self.ending = END if self.most == length else REST
        self.regexes = tuple((at, compiled) for at, _, compiled in regexes)
        self.captures = bool(names) or self.most > length
        self._length = length
        self._patterns = tuple((at, pattern) for at, pattern, _ in regexes)
        self._names = tuple(pair(at, name) for at, name in names)
        self._tail = tail

    def captured(self, segments: list[str]) -> Params:
        """Return the parameters of segments that match."""
        params = {}
        # A comprehension would be a call of its own: it costs more than what it does here.
        for at, name in self._names:
            params[name] = segments[at]
        if self._tail is not None:
            params[self._tail] = "/".join(segments[self._length :])
        elif self.most > self._length:
            params[PATH_SUFFIX] = "/" + "/".join(segments[self._length :])
        return params

    def identity(self) -> Hashable:
        """Return what is matched besides literals, whatever the parameters are called."""
        return self._patterns, self.least, self.most


@lru_cache(maxsize=4_096)
def pair(at: int, text: str) -> tuple[int, str]:
    """Return a position and a text; the same object for the same ones.

    The rules of an app, and of many apps, mostly begin alike and end in the same few words. What
    one request has looked at is then at hand for the next.
    """
    return at, text


Literal = str | int | None
"""A text; the place in the words of an environment where it is; None where the shape decides."""
Words = tuple[str, ...]
"""Values of variables, each of them one whole segment."""
NO_WORDS: Words = ()


class Asked(Protocol):
    """What a pattern looks at."""

    @property
    def segments(self) -> list[str]:
        """Of the request."""

    @property
    def words(self) -> Words:
        """What the pattern has places for."""


class Segments:
    """One pattern: a shape and its literals.

    Args:
        shape: All but the literals.
        literals: One for each position.
    """

    __slots__ = ("_least", "_literals", "_most", "_places", "_shape")

    def __init__(self, shape: Shape, literals: Sequence[Literal]) -> None:
        """Part the literals by what they are compared with."""
        self._shape = shape
        # Here as well: most patterns refuse by their length.
        self._least, self._most = shape.least, shape.most
        self._literals = tuple(
            [pair(at, each) for at, each in enumerate(literals) if isinstance(each, str)]
        )
        self._places = tuple(
            [(at, each) for at, each in enumerate(literals) if isinstance(each, int)]
        )

    def accepts(self, asked: Asked) -> Params | None:
        """Return the captured parameters, or None."""
        segments = asked.segments
        count = len(segments)
        if count < self._least or count > self._most:
            return None
        for at, literal in self._literals:
            if segments[at] != literal:
                return None
        if self._places:
            words = asked.words
            for at, place in self._places:
                if segments[at] != words[place]:
                    return None
        shape = self._shape
        for at, pattern in shape.regexes:
            if not matches(pattern, segments[at]):
                return None
        return shape.captured(segments) if shape.captures else NOTHING

    def identity(self) -> Hashable:
        """Return a value that is equal for patterns that accept the same segments."""
        return self._literals, self._places, self._shape.identity()


def key_path(shape: Shape, literals: Sequence[Literal]) -> Path:
    """Return the path part of the index key of a pattern."""
    return (*(each if isinstance(each, str) else ANY for each in literals), shape.ending)
