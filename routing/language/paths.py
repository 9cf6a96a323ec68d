"""``Path``, ``PathPrefix`` and ``Host``: strings of segments, parsed once and resolved often.

Between two separators, a rule writes either literal text, perhaps with variables, or one capture. A
value may contain separators, and a list makes alternatives. The usual value, one segment, takes a
short cut: see ``SegmentString.resolve``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from sys import intern

import msgspec

from routing.language.facts import normal_host, path_segments
from routing.language.index_keys import ANY, CATCH_ALL, REST, IndexKeys
from routing.language.pattern import BraceGroup, Capture, Part, capture, resolved_regex
from routing.language.regex import compile_regex
from routing.language.rule import Argument, RuleError
from routing.language.segments import (
    Combinations,
    Literal,
    Segment,
    SegmentPattern,
    SegmentShape,
    key_path,
)
from routing.language.template import (
    MAX_ALTERNATIVES,
    Placeholder,
    ResolvedValues,
    Text,
    TooManyAlternatives,
    alternatives,
    join,
)

Item = Text | Capture
ResolvedItems = list[Segment | Capture]
ResolvedPattern = tuple[SegmentShape, Sequence[Literal], Combinations | None]
Split = Callable[[str], list[str]]

MAX_SEGMENTS = 100
"""Segments of a path, or labels of a host, in a rule."""
MAX_LISTED_KEYS = 4
"""Up to this number, the texts of lists get an index key each; else the key has "any" there."""
MAX_LISTED_HOSTS = 16
"""The same for hosts."""


class SegmentString(msgspec.Struct, frozen=True, kw_only=True):
    """A string of a rule that is matched segment by segment.

    Attributes:
        items: The texts and captures between the separators.
        split: Function that splits and normalizes literal text.
        is_open: Whether more segments may follow.
        parameters: Names it captures.
        shape: The shape of the resolved string if every variable is one segment; None if a regular
            expression in it holds a variable.
    """

    items: tuple[Item, ...]
    split: Split
    is_open: bool
    parameters: tuple[str, ...]
    shape: SegmentShape | None

    @property
    def is_parameterizable(self) -> bool:
        """Whether it is a path in which every variable is one whole segment."""
        is_path = self.shape is not None and self.split is path_segments
        return is_path and all(len(item) == 1 for item in self.items if isinstance(item, tuple))

    def resolve(self, values: ResolvedValues) -> list[ResolvedPattern]:
        """Return the alternatives that the values make.

        Raises:
            TooManyAlternatives: The lists make more than MAX_ALTERNATIVES.
        """
        if self.shape is not None and self.split is path_segments:
            literals = [_literal(item, values) for item in self.items if not _is_tail(item)]
            if _NO_SHORT_CUT not in literals:
                return [(self.shape, literals, None)]
        return [
            (*_pattern(items, values, is_open=self.is_open), combinations)
            for items, combinations in _merged(self._resolved(values))
        ]

    def patterns(self, values: ResolvedValues) -> list[SegmentPattern]:
        """Return a matcher for each alternative."""
        return [SegmentPattern(*resolved) for resolved in self.resolve(values)]

    def path_keys(self, values: ResolvedValues) -> IndexKeys:
        """Return the index keys of a path."""
        return tuple(
            [
                (ANY, key_path(shape, listed), ANY)
                for shape, literals, _ in self.resolve(values)
                for listed in _listed(literals)
            ]
        )

    def literal_hosts(self, values: ResolvedValues) -> frozenset[str]:
        """Return every host that the string matches, or no host if it has captures."""
        texts = [item for item in self.items if not isinstance(item, Capture)]
        if len(texts) < len(self.items):
            return frozenset()
        if len(texts) == 1:
            return _hosts(alternatives(texts[0], values))
        return frozenset(
            ".".join([label for label in labels if isinstance(label, str)])
            for labels in self._resolved(values)
        )

    def host_keys(self, values: ResolvedValues) -> IndexKeys:
        """Return the index keys of a host."""
        hosts = self.literal_hosts(values)
        if len(hosts) > MAX_LISTED_HOSTS:
            return CATCH_ALL
        return tuple([(host, (REST,), ANY) for host in sorted(hosts)]) or CATCH_ALL

    def _resolved(self, values: ResolvedValues) -> list[ResolvedItems]:
        choices = [self._choices(item, values) for item in self.items]
        if prod(map(len, choices)) > MAX_ALTERNATIVES:
            raise TooManyAlternatives(f"the lists make more than {MAX_ALTERNATIVES} alternatives")
        return [[part for parts in choice for part in parts] for choice in product(*choices)]

    def _choices(self, item: Item, values: ResolvedValues) -> list[ResolvedItems]:
        if isinstance(item, Capture):
            return [[item]]
        if all(isinstance(part, str) for part in item):
            # Literal text was split and decoded when it was parsed; decoding twice changes it.
            return [[part for part in item if isinstance(part, str)]]
        return [[*self.split(text)] for text in alternatives(item, values)]


def path_string(
    rule: str, argument: Argument, parts: Sequence[Part], *, is_open: bool
) -> SegmentString:
    """Return the string of ``Path``; with ``is_open``, of ``PathPrefix``.

    Raises:
        RuleError: It does not begin with a slash, or a capture is not a whole segment.
    """
    first = parts[0] if parts else ""
    if first != "/" and not isinstance(first, Placeholder):
        shown = repr(argument.text[0]) if argument.text else "nothing"
        raise RuleError(rule, argument.columns[0], shown, "a path that begins with '/'")
    items, parameters = _items(rule, argument, parts, "/", path_segments)
    if is_open:
        _refuse_tail(rule, argument, items, "PathPrefix already matches the rest")
    return _string(items, path_segments, parameters, is_open=is_open)


def host_string(rule: str, argument: Argument, parts: Sequence[Part]) -> SegmentString:
    """Return the string of ``Host``.

    Raises:
        RuleError: It has a port or a tail capture, or a capture is not a whole label.
    """
    if isinstance(parts[-1] if parts else None, str) and not argument.text.startswith("["):
        _refuse_port(rule, argument)
    items, parameters = _items(rule, argument, parts, ".", host_labels)
    _refuse_tail(rule, argument, items, "a tail can only end a path")
    return _string(items, host_labels, parameters, is_open=False)


@lru_cache(maxsize=256)
def _hosts(texts: tuple[str, ...]) -> frozenset[str]:
    """Return the hosts of a value, which all routes of a table share."""
    return frozenset([".".join(host_labels(text)) for text in texts])


def host_labels(text: str) -> list[str]:
    """Return the labels of a host, or of a part of a host, in lower case and without port."""
    return [label for label in normal_host(text).split(".") if label]


def _string(
    items: tuple[Item, ...], split: Split, parameters: tuple[str, ...], *, is_open: bool
) -> SegmentString:
    captures = [item for item in items if isinstance(item, Capture)]
    regexes = [part for capture in captures for part in capture.regex or ()]
    has_variables = any(isinstance(part, Placeholder) for part in regexes)
    sample: ResolvedItems = [item if isinstance(item, Capture) else "text" for item in items]
    shape = None if has_variables else _pattern(sample, {}, is_open=is_open)[0]
    return SegmentString(
        items=items, split=split, is_open=is_open, parameters=parameters, shape=shape
    )


def _items(
    rule: str, argument: Argument, parts: Sequence[Part], separator: str, split: Split
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    if parts.count(separator) > MAX_SEGMENTS:
        many = f"more than {MAX_SEGMENTS} {separator!r}"
        raise RuleError(rule, argument.columns[0], many, f"at most {MAX_SEGMENTS} segments")
    items: list[Item] = []
    names: list[str] = []
    text: list[str | Placeholder] = []
    for at, part in enumerate(parts):
        if isinstance(part, BraceGroup):
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


def _text_items(text: list[str | Placeholder], split: Split) -> list[Item]:
    joined = join(text)
    if any(isinstance(part, Placeholder) for part in joined):
        return [joined]
    return [(intern(segment),) for part in joined for segment in split(str(part))]


def _check_whole(rule: str, parts: Sequence[Part], at: int, separator: str) -> None:
    before = parts[at - 1] if at else separator
    after = parts[at + 1] if at + 1 < len(parts) else separator
    brace = parts[at]
    if isinstance(brace, BraceGroup) and not (before == separator == after):
        expected = f"a capture that is the whole text between two {separator!r}"
        raise RuleError(rule, brace.column, "'{'", expected)


def _check_capture(
    rule: str, brace: BraceGroup, found: Capture, names: list[str], *, is_last: bool
) -> None:
    if found.is_tail and not is_last:
        raise RuleError(
            rule, brace.column, f"{{{found.name}...}}", "a tail capture only at the end"
        )
    if found.name is None:
        return
    if found.name in names:
        raise RuleError(rule, brace.column, f"{found.name} again", "another name")
    names.append(found.name)


def _refuse_tail(rule: str, argument: Argument, items: tuple[Item, ...], why: str) -> None:
    if any(_is_tail(item) for item in items):
        raise RuleError(rule, argument.columns[0], "a tail capture", f"no tail capture: {why}")


def _refuse_port(rule: str, argument: Argument) -> None:
    name, colon, port = argument.text.rpartition(":")
    if colon and port.isdigit():
        column = argument.columns[len(name)]
        raise RuleError(rule, column, "':'", "a host without port: matching ignores ports")


def _is_tail(item: Item) -> bool:
    return isinstance(item, Capture) and item.is_tail


_NO_SHORT_CUT = ""


def _literal(item: Item, values: ResolvedValues) -> Literal:
    """Return the literal of one segment, or _NO_SHORT_CUT if a value is not one segment."""
    if isinstance(item, Capture):
        return None
    if len(item) > 1:
        return _NO_SHORT_CUT
    part = item[0]
    if isinstance(part, str):
        return part
    resolved = values[part.variable]
    if resolved.slot is not None:
        return resolved.slot
    return _NO_SHORT_CUT if resolved.segment is None else resolved.segment


def _listed(literals: Sequence[Literal]) -> Iterable[Sequence[Literal]]:
    """Return the literals for each combination of a few texts; "any" in place of long lists."""
    sizes = [len(literal) for literal in literals if isinstance(literal, frozenset)]
    if not sizes:
        return (literals,)
    if prod(sizes) > MAX_LISTED_KEYS:
        return ([None if isinstance(one, frozenset) else one for one in literals],)
    return product(*[sorted(one) if isinstance(one, frozenset) else (one,) for one in literals])


def _merged(
    alternatives: list[ResolvedItems],
) -> Iterator[tuple[ResolvedItems, Combinations | None]]:
    """Merge the alternatives that differ in their texts only, so that all of them are one pattern.

    Alternatives that differ in one segment have the set of its texts there. If they differ in
    several segments, "any" stands there, and the valid combinations are listed.
    """
    groups: dict[tuple[Capture | None, ...], list[ResolvedItems]] = {}
    for items in alternatives:
        kinds = tuple([part if isinstance(part, Capture) else None for part in items])
        groups.setdefault(kinds, []).append(items)
    for group in groups.values():
        columns = [frozenset(column) for column in zip(*group, strict=True)]
        varying = [at for at, texts in enumerate(columns) if len(texts) > 1]
        merged: ResolvedItems = list(group[0])
        combinations = None
        if len(varying) == 1:
            merged[varying[0]] = frozenset([str(items[varying[0]]) for items in group])
        elif varying:
            for at in varying:
                merged[at] = ANY_TEXT
            rows = [tuple([str(items[at]) for at in varying]) for items in group]
            combinations = (tuple(varying), frozenset(rows))
        yield merged, combinations


def _pattern(
    items: ResolvedItems, values: ResolvedValues, *, is_open: bool
) -> tuple[SegmentShape, Sequence[Literal]]:
    last = items[-1] if items else ""
    tail = last.name if isinstance(last, Capture) and last.is_tail else None
    whole = items[:-1] if tail else items
    captures = [(at, part) for at, part in enumerate(whole) if isinstance(part, Capture)]
    regexes = [
        (at, resolved_regex(found.regex, values))
        for at, found in captures
        if found.regex is not None
    ]
    shape = SegmentShape(
        length=len(whole),
        regexes=[(at, pattern, compile_regex(pattern)) for at, pattern in regexes],
        names=[(at, found.name) for at, found in captures if found.name],
        tail=tail,
        is_open=is_open,
    )
    return shape, [None if isinstance(part, Capture) else part for part in whole]


ANY_TEXT = Capture(name=None)
"""Any one segment, which is not captured."""
