"""``Path``, ``PathPrefix`` and ``Host``: strings of segments, read once and filled in often.

What a rule writes between two separators is literal text, perhaps with variables, or one capture. A
value may bring separators of its own, and a list brings alternatives; the usual value, one word,
takes a short cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from sys import intern

import msgspec

from routing.facts import normal_host, path_segments
from routing.keys import ANY, EVERYTHING, REST, Keys
from routing.pattern import Brace, Capture, Part, capture, filled_regex
from routing.regex import compile_regex
from routing.rule import Argument, RuleError
from routing.segments import Literal, Segments, Shape, key_path
from routing.template import (
    MAX_ALTERNATIVES,
    Fillings,
    Hole,
    Text,
    TooManyAlternatives,
    alternatives,
    join,
)

Item = Text | Capture
Filled = list[str | Capture]
Pattern = tuple[Shape, Sequence[Literal]]
Split = Callable[[str], list[str]]


class SegmentString(msgspec.Struct, frozen=True, kw_only=True):
    """A string of a rule that is matched segment by segment.

    Attributes:
        items: What stands between the separators.
        split: Splits and normalizes literal text.
        is_open: Whether more segments may follow.
        parameters: Names it captures.
        shape: Of the filled string, if every variable in it is one word; None if its regular
            expressions hold variables.
    """

    items: tuple[Item, ...]
    split: Split
    is_open: bool
    parameters: tuple[str, ...]
    shape: Shape | None

    @property
    def takes_words(self) -> bool:
        """Whether each variable in it is a whole segment of a path, apart from all else."""
        is_path = self.shape is not None and self.split is path_segments
        return is_path and all(len(item) == 1 for item in self.items if isinstance(item, tuple))

    def patterns(self, fillings: Fillings) -> list[Pattern]:
        """Return the alternatives that the values make.

        Raises:
            TooManyAlternatives: There are too many.
        """
        if self.shape is not None and self.split is path_segments:
            words = [_word(item, fillings) for item in self.items if not _is_tail(item)]
            if "" not in words:
                return [(self.shape, words)]
        return [_pattern(each, fillings, is_open=self.is_open) for each in self._filled(fillings)]

    def segments(self, fillings: Fillings) -> list[Segments]:
        """Return a matcher for each alternative."""
        return [Segments(shape, literals) for shape, literals in self.patterns(fillings)]

    def path_keys(self, fillings: Fillings) -> Keys:
        """Return the index keys of a path."""
        patterns = self.patterns(fillings)
        return tuple([(ANY, key_path(shape, literals), ANY) for shape, literals in patterns])

    def literal_hosts(self, fillings: Fillings) -> list[str]:
        """Return every host the string stands for, or nothing if it has captures."""
        hosts = []
        for _, labels in self.patterns(fillings):
            literal = [label for label in labels if isinstance(label, str)]
            if len(literal) < len(labels):
                return []
            hosts.append(".".join(literal))
        return hosts

    def host_keys(self, fillings: Fillings) -> Keys:
        """Return the index keys of a host."""
        hosts = self.literal_hosts(fillings)
        return tuple([(host, (REST,), ANY) for host in hosts]) or EVERYTHING

    def _filled(self, fillings: Fillings) -> list[Filled]:
        choices = [self._choices(item, fillings) for item in self.items]
        if prod(map(len, choices)) > MAX_ALTERNATIVES:
            raise TooManyAlternatives(f"the lists make more than {MAX_ALTERNATIVES} alternatives")
        return [[part for parts in choice for part in parts] for choice in product(*choices)]

    def _choices(self, item: Item, fillings: Fillings) -> list[Filled]:
        if isinstance(item, Capture):
            return [[item]]
        if all(isinstance(part, str) for part in item):
            # Already split and decoded, which must not happen twice.
            return [[part for part in item if isinstance(part, str)]]
        return [[*self.split(text)] for text in alternatives(item, fillings)]


def path_string(
    rule: str, argument: Argument, parts: Sequence[Part], *, is_open: bool
) -> SegmentString:
    """Return the string of ``Path``, or with ``is_open`` of ``PathPrefix``.

    Raises:
        RuleError: It does not begin with a slash, or a capture is not a whole segment.
    """
    first = parts[0] if parts else ""
    if first != "/" and not isinstance(first, Hole):
        shown = repr(argument.text[0]) if argument.text else "nothing"
        raise RuleError(rule, argument.columns[0], shown, "a path that begins with '/'")
    items, parameters = _items(rule, parts, "/", path_segments)
    if is_open:
        _refuse_tail(rule, argument, items, "PathPrefix takes the rest already")
    return _string(items, path_segments, parameters, is_open=is_open)


def host_string(rule: str, argument: Argument, parts: Sequence[Part]) -> SegmentString:
    """Return the string of ``Host``.

    Raises:
        RuleError: It has a port or a tail, or a capture is not a whole label.
    """
    if isinstance(parts[-1] if parts else None, str) and not argument.text.startswith("["):
        _refuse_port(rule, argument)
    items, parameters = _items(rule, parts, ".", host_labels)
    _refuse_tail(rule, argument, items, "a tail can only end a path")
    return _string(items, host_labels, parameters, is_open=False)


def host_labels(text: str) -> list[str]:
    """Return the labels of a host or of a part of one, in lower case and without port."""
    return [label for label in normal_host(text).split(".") if label]


def _string(
    items: tuple[Item, ...], split: Split, parameters: tuple[str, ...], *, is_open: bool
) -> SegmentString:
    captures = [item for item in items if isinstance(item, Capture)]
    has_holes = any(isinstance(part, Hole) for each in captures for part in each.regex or ())
    words: Filled = [item if isinstance(item, Capture) else "word" for item in items]
    shape = None if has_holes else _pattern(words, {}, is_open=is_open)[0]
    return SegmentString(
        items=items, split=split, is_open=is_open, parameters=parameters, shape=shape
    )


def _items(
    rule: str, parts: Sequence[Part], separator: str, split: Split
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    items: list[Item] = []
    names: list[str] = []
    text: list[str | Hole] = []
    for at, part in enumerate(parts):
        if isinstance(part, Brace):
            _check_whole(rule, parts, at, separator)
            found = capture(rule, part)
            _check_capture(rule, part, found, names, is_last=at == len(parts) - 1)
            items.append(found)
        elif part == separator:
            items += _text_items(text, split)
            text = []
        else:
            text.append(part)
    return (*items, *_text_items(text, split)), tuple(names)


def _text_items(text: list[str | Hole], split: Split) -> list[Item]:
    joined = join(text)
    if any(isinstance(part, Hole) for part in joined):
        return [joined]
    return [(intern(segment),) for part in joined for segment in split(str(part))]


def _check_whole(rule: str, parts: Sequence[Part], at: int, separator: str) -> None:
    before = parts[at - 1] if at else separator
    after = parts[at + 1] if at + 1 < len(parts) else separator
    brace = parts[at]
    if isinstance(brace, Brace) and not (before == separator == after):
        raise RuleError(
            rule, brace.column, "'{'", f"a capture that is all between two {separator!r}"
        )


def _check_capture(
    rule: str, brace: Brace, found: Capture, names: list[str], *, is_last: bool
) -> None:
    if found.is_tail and not is_last:
        raise RuleError(rule, brace.column, f"{{{found.name}...}}", "it to end the path")
    if found.name is None:
        return
    if found.name in names:
        raise RuleError(rule, brace.column, f"{found.name} again", "another name")
    names.append(found.name)


def _refuse_tail(rule: str, argument: Argument, items: tuple[Item, ...], why: str) -> None:
    if any(_is_tail(item) for item in items):
        raise RuleError(rule, argument.columns[0], "a tail capture", f"none: {why}")


def _refuse_port(rule: str, argument: Argument) -> None:
    name, colon, port = argument.text.rpartition(":")
    if colon and port.isdigit():
        column = argument.columns[len(name)]
        raise RuleError(rule, column, "':'", "a host without port: ports do not matter")


def _is_tail(item: Item) -> bool:
    return isinstance(item, Capture) and item.is_tail


def _word(item: Item, fillings: Fillings) -> Literal:
    """Return a literal segment, None for a capture, and "" for what needs the long way."""
    if isinstance(item, Capture):
        return None
    if len(item) > 1:
        return ""
    part = item[0]
    if isinstance(part, str):
        return part
    filling = fillings[part.variable]
    if filling.place is not None:
        return filling.place
    return filling.texts[0] if filling.is_word else ""


def _pattern(found: Filled, fillings: Fillings, *, is_open: bool) -> Pattern:
    last = found[-1] if found else ""
    tail = last.name if isinstance(last, Capture) and last.is_tail else None
    whole = found[:-1] if tail else found
    captures = [(at, part) for at, part in enumerate(whole) if isinstance(part, Capture)]
    regexes = [
        (at, filled_regex(each.regex, fillings)) for at, each in captures if each.regex is not None
    ]
    shape = Shape(
        length=len(whole),
        regexes=[(at, pattern, compile_regex(pattern)) for at, pattern in regexes],
        names=[(at, each.name) for at, each in captures if each.name],
        tail=tail,
        is_open=is_open,
    )
    return shape, [part if isinstance(part, str) else None for part in whole]
