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


class Segments:
    """One pattern: a shape and its literals.

    Args:
        shape: All but the literals.
        literals: At each position the text, or None where the shape decides.
    """

    __slots__ = ("_further", "_leading", "_shape")

    def __init__(self, shape: Shape, literals: Sequence[str | None]) -> None:
        """Keep leading literals apart: they are compared in one go."""
        leading = 0
        while leading < len(literals) and literals[leading] is not None:
            leading += 1
        self._shape = shape
        self._leading = list(literals[:leading])
        self._further = tuple(
            (at, literals[at]) for at in range(leading, len(literals)) if literals[at] is not None
        )

    def accepts(self, segments: list[str]) -> Params | None:
        """Return the captured parameters, or None."""
        shape, leading = self._shape, self._leading
        if not shape.least <= len(segments) <= shape.most:
            return None
        if segments[: len(leading)] != leading:
            return None
        for at, literal in self._further:
            if segments[at] != literal:
                return None
        for at, pattern in shape.regexes:
            if not matches(pattern, segments[at]):
                return None
        return shape.captured(segments) if shape.captures else NOTHING

    def identity(self) -> Hashable:
        """Return a value that is equal for patterns that accept the same segments."""
        return tuple(self._leading), self._further, self._shape.identity()


def key_path(shape: Shape, literals: Sequence[str | None]) -> Path:
    """Return the path part of the index key of a pattern."""
    return (*(ANY if each is None else each for each in literals), shape.ending)
