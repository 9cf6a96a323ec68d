"""Patterns over a sequence of segments: of a path, or the labels of a host."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

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
    """

    __slots__ = (
        "_names",
        "_patterns",
        "_tail",
        "captures",
        "ending",
        "least",
        "length",
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
        self.length = length
        self.least = length + (tail is not None)
        self.most = _NO_LIMIT if is_open or tail is not None else length
        self.ending = END if self.most == length else REST
        self.regexes = tuple((at, compiled) for at, _, compiled in regexes)
        self.captures = bool(names) or self.most > length
        self._patterns = tuple((at, pattern) for at, pattern, _ in regexes)
        self._names = tuple(names)
        self._tail = tail

    def captured(self, segments: list[str]) -> Params:
        """Return the parameters of segments that match."""
        params = {}
        # A comprehension would be a call of its own: it costs more than what it does here.
        for at, name in self._names:
            params[name] = segments[at]
        if self._tail is not None:
            params[self._tail] = "/".join(segments[self.length :])
        elif self.most > self.length:
            params[PATH_SUFFIX] = "/" + "/".join(segments[self.length :])
        return params

    def identity(self) -> Hashable:
        """Return what is matched besides literals, whatever the parameters are called."""
        return self._patterns, self.least, self.most


Literal = str | int | None
"""A text; the place in the words of an environment where it is; None where the shape decides."""
Words = tuple[str, ...]
"""Values of variables, each of them one whole segment."""
NO_WORDS: Words = ()


class Segments:
    """One pattern: a shape and its literals.

    Args:
        shape: All but the literals.
        literals: One for each position.
    """

    __slots__ = ("_literals", "_places", "_shape")

    def __init__(self, shape: Shape, literals: Sequence[Literal]) -> None:
        """Part the literals by what they are compared with."""
        self._shape = shape
        self._literals = tuple(
            (at, each) for at, each in enumerate(literals) if isinstance(each, str)
        )
        self._places = tuple(
            (at, each) for at, each in enumerate(literals) if isinstance(each, int)
        )

    def accepts(self, segments: list[str], words: Words = NO_WORDS) -> Params | None:
        """Return the captured parameters, or None.

        Args:
            segments: Of the request.
            words: What the pattern has places for.
        """
        shape = self._shape
        if not shape.least <= len(segments) <= shape.most:
            return None
        for at, place in self._places:
            if segments[at] != words[place]:
                return None
        for at, literal in self._literals:
            if segments[at] != literal:
                return None
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
