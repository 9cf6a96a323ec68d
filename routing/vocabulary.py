"""The predicates a rule may use: what their strings mean, and how they are filled in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from math import prod

import msgspec

from routing.facts import normal_host, path_segments
from routing.pattern import Brace, Capture, Part, capture, check_regex, filled_regex, parts
from routing.predicates import (
    Everything,
    HeaderIs,
    HostIs,
    MethodIs,
    PathIs,
    Predicate,
    QueryIs,
    Segments,
    TypeIs,
)
from routing.regex import compile_regex
from routing.rule import Call, RuleError
from routing.template import (
    MAX_ALTERNATIVES,
    Fillings,
    Hole,
    Text,
    TooManyAlternatives,
    alternatives,
    join,
)

Build = Callable[[Fillings], Predicate]


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate before its variables are known.

    Attributes:
        build: Makes the predicate.
        variables: Names of every variable it uses.
        counted: Names of the variables whose values count for the rule's length.
        saved: By how many characters the rule's length is less than its text, before the
            values of ``counted`` are added.
        parameters: Names it captures.
    """

    build: Build
    variables: frozenset[str]
    counted: tuple[str, ...]
    saved: int
    parameters: tuple[str, ...] = ()


class _Strings(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    call: Call
    parts: tuple[tuple[Part, ...], ...]


def template(rule: str, call: Call) -> Template:
    """Return what a call means.

    Raises:
        RuleError: No such predicate, or its strings are not what it takes.
    """
    if call.name not in _VOCABULARY:
        known = ", ".join(sorted(_VOCABULARY))
        raise RuleError(rule, call.column, call.name, f"one of {known}", "UnknownPredicate")
    _check_count(rule, call)
    strings = _Strings(
        rule=rule,
        call=call,
        parts=tuple(tuple(parts(rule, argument)) for argument in call.arguments),
    )
    build, parameters = _VOCABULARY[call.name][2](strings)
    return _measured(strings, build, parameters)


def _check_count(rule: str, call: Call) -> None:
    least, most, _ = _VOCABULARY[call.name]
    count = len(call.arguments)
    if count < least or (most is not None and count > most):
        wanted = f"at least {least}" if most is None else str(least)
        raise RuleError(
            rule, call.column, f"{call.name} with {count} strings", f"{wanted}: {_usage(call)}"
        )


def _usage(call: Call) -> str:
    return _USAGE[call.name]


def _measured(strings: _Strings, build: Build, parameters: tuple[str, ...]) -> Template:
    flat = [part for string in strings.parts for part in string]
    braces = [part for part in flat if isinstance(part, Brace)]
    holes = [part for part in flat if isinstance(part, Hole)]
    inner = {part.variable for each in braces for part in each.content if isinstance(part, Hole)}
    saved = sum(each.width - len("{}") for each in braces) + sum(each.width for each in holes)
    counted = tuple(each.variable for each in holes)
    return Template(
        build=build,
        variables=frozenset(counted) | inner,
        counted=counted,
        saved=saved,
        parameters=parameters,
    )


Parsed = tuple[Build, tuple[str, ...]]


def _everything(strings: _Strings) -> Parsed:
    node = Everything(strings.call.source)
    return (lambda _: node), ()


def _method(strings: _Strings) -> Parsed:
    texts = [_literal(strings, at) for at in range(len(strings.parts))]

    def build(fillings: Fillings) -> Predicate:
        allowed = (each.upper() for text in texts for each in alternatives(text, fillings))
        return MethodIs(strings.call.source, frozenset(allowed))

    return build, ()


def _type(strings: _Strings) -> Parsed:
    text = _literal(strings, 0)
    return (lambda fillings: TypeIs(strings.call.source, _set(text, fillings))), ()


def _header(strings: _Strings) -> Parsed:
    return _named_value(strings, HeaderIs, str.lower)


def _query(strings: _Strings) -> Parsed:
    return _named_value(strings, QueryIs, str)


def _named_value(
    strings: _Strings, kind: type[HeaderIs | QueryIs], normal: Callable[[str], str]
) -> Parsed:
    name, value = _literal(strings, 0), _value(strings, 1)
    source = strings.call.source

    def build(fillings: Fillings) -> Predicate:
        names = frozenset(map(normal, alternatives(name, fillings)))
        if isinstance(value, Brace):
            pattern = filled_regex(value.content, fillings)
            return kind(source, names=names, pattern=pattern, compiled=compile_regex(pattern))
        return kind(source, names=names, texts=_set(value, fillings))

    return build, ()


def _path(strings: _Strings) -> Parsed:
    return _path_like(strings, is_prefix=False)


def _path_prefix(strings: _Strings) -> Parsed:
    return _path_like(strings, is_prefix=True)


def _path_like(strings: _Strings, *, is_prefix: bool) -> Parsed:
    _check_leading_slash(strings)
    pieces, parameters = _pieces(strings, separator="/")
    if is_prefix:
        _refuse_tail(strings, pieces, "PathPrefix takes the rest already")

    def build(fillings: Fillings) -> Predicate:
        found = [
            _segments([*_split(path, path_segments)], fillings, is_open=is_prefix)
            for path in _filled(pieces, fillings)
        ]
        return PathIs(strings.call.source, found)

    return build, parameters


def _host(strings: _Strings) -> Parsed:
    pieces, parameters = _pieces(strings, separator=".")
    _refuse_tail(strings, pieces, "a tail can only end a path")
    _refuse_port(strings, pieces)

    def build(fillings: Fillings) -> Predicate:
        hosts = [[*_split(host, _labels)] for host in _filled(pieces, fillings)]
        found = [_segments(host, fillings, is_open=False) for host in hosts]
        literal = [[label for label in host if isinstance(label, str)] for host in hosts]
        names = [".".join(labels) for labels in literal] if literal == hosts else []
        return HostIs(strings.call.source, found, names)

    return build, parameters


_VOCABULARY: dict[str, tuple[int, int | None, Callable[[_Strings], Parsed]]] = {
    "All": (0, 0, _everything),
    "Any": (0, 0, _everything),
    "Host": (1, 1, _host),
    "Path": (1, 1, _path),
    "PathPrefix": (1, 1, _path_prefix),
    "Method": (1, None, _method),
    "Header": (2, 2, _header),
    "Query": (2, 2, _query),
    "Type": (1, 1, _type),
}
_USAGE = {
    "All": "All()",
    "Any": "Any()",
    "Host": "Host(`example.com`)",
    "Path": "Path(`/orders/{id}`)",
    "PathPrefix": "PathPrefix(`/orders`)",
    "Method": "Method(`GET`, `POST`)",
    "Header": "Header(`name`, `value`)",
    "Query": "Query(`name`, `value`)",
    "Type": "Type(`http`)",
}


def _literal(strings: _Strings, at: int) -> Text:
    for part in strings.parts[at]:
        if isinstance(part, Brace):
            raise RuleError(strings.rule, part.column, "'{'", "literal text, or '\\{'")
    return join(part for part in strings.parts[at] if not isinstance(part, Brace))


def _value(strings: _Strings, at: int) -> Text | Brace:
    match strings.parts[at]:
        case (Brace() as brace,):
            check_regex(strings.rule, brace, brace.content)
            return brace
        case many:
            for part in many:
                if isinstance(part, Brace):
                    raise RuleError(
                        strings.rule, part.column, "'{'", "a regular expression for the whole value"
                    )
            return _literal(strings, at)


def _set(text: Text, fillings: Fillings) -> frozenset[str]:
    return frozenset(alternatives(text, fillings))


Piece = Text | Capture
"""Literal text, which may span segments, or one segment that is not literal."""


def _pieces(strings: _Strings, separator: str) -> tuple[tuple[Piece, ...], tuple[str, ...]]:
    pieces: list[Piece] = []
    names: list[str] = []
    literal: list[str | Hole] = []
    string = strings.parts[0]
    for at, part in enumerate(string):
        if not isinstance(part, Brace):
            literal.append(part)
            continue
        _check_whole_segment(strings, at, separator)
        found = capture(strings.rule, part)
        _check_capture(strings, part, found, names, is_last=at == len(string) - 1)
        pieces += [join(literal), found]
        literal = []
    return (*pieces, join(literal)), tuple(names)


def _check_whole_segment(strings: _Strings, at: int, separator: str) -> None:
    string, brace = strings.parts[0], strings.parts[0][at]
    before = string[at - 1] if at else separator
    after = string[at + 1] if at + 1 < len(string) else separator
    if isinstance(brace, Brace) and not (before == separator == after):
        raise RuleError(
            strings.rule, brace.column, "'{'", f"a capture that is all between two {separator!r}"
        )


def _check_capture(
    strings: _Strings, brace: Brace, found: Capture, names: list[str], *, is_last: bool
) -> None:
    if found.is_tail and not is_last:
        raise RuleError(strings.rule, brace.column, f"{{{found.name}...}}", "it to end the path")
    if found.name is None:
        return
    if found.name in names:
        raise RuleError(strings.rule, brace.column, f"{found.name} again", "another name")
    names.append(found.name)


def _check_leading_slash(strings: _Strings) -> None:
    argument = strings.call.arguments[0]
    first = strings.parts[0][0] if strings.parts[0] else ""
    if first != "/" and not isinstance(first, Hole):
        shown = repr(argument.text[0]) if argument.text else "nothing"
        raise RuleError(strings.rule, argument.columns[0], shown, "a path that begins with '/'")


def _refuse_tail(strings: _Strings, pieces: tuple[Piece, ...], why: str) -> None:
    if any(isinstance(piece, Capture) and piece.is_tail for piece in pieces):
        column = strings.call.arguments[0].columns[0]
        raise RuleError(strings.rule, column, "a tail capture", f"none: {why}")


def _refuse_port(strings: _Strings, pieces: tuple[Piece, ...]) -> None:
    argument = strings.call.arguments[0]
    literal = pieces[-1]
    if isinstance(literal, tuple) and not argument.text.startswith("["):
        text = "".join(part for part in literal if isinstance(part, str))
        if ":" in text:
            column = argument.columns[argument.text.rindex(":")]
            raise RuleError(strings.rule, column, "':'", "a host without port: ports do not matter")


Filled = list[str | Capture]
"""Runs of literal text and captures."""


def _filled(pieces: tuple[Piece, ...], fillings: Fillings) -> Iterator[Filled]:
    choices: list[tuple[str | Capture, ...]] = [
        (piece,) if isinstance(piece, Capture) else alternatives(piece, fillings)
        for piece in pieces
    ]
    if prod(map(len, choices)) > MAX_ALTERNATIVES:
        raise TooManyAlternatives(f"the lists make more than {MAX_ALTERNATIVES} alternatives")
    for choice in product(*choices):
        yield [*choice]


def _split(filled: Filled, split: Callable[[str], list[str]]) -> Iterator[str | Capture]:
    for part in filled:
        if isinstance(part, Capture):
            yield part
        else:
            yield from split(part)


def _labels(text: str) -> list[str]:
    return [label for label in normal_host(text).split(".") if label]


def _segments(found: list[str | Capture], fillings: Fillings, *, is_open: bool) -> Segments:
    tail = found[-1] if found and isinstance(found[-1], Capture) and found[-1].is_tail else None
    whole = found[:-1] if tail else found
    captures = [(at, part) for at, part in enumerate(whole) if isinstance(part, Capture)]
    patterns = [
        (at, filled_regex(each.regex, fillings)) for at, each in captures if each.regex is not None
    ]
    return Segments(
        literals=[(at, part) for at, part in enumerate(whole) if isinstance(part, str)],
        regexes=[(at, pattern, compile_regex(pattern)) for at, pattern in patterns],
        names=[(at, each.name) for at, each in captures if each.name],
        length=len(whole),
        tail=tail.name if tail else None,
        is_open=is_open,
    )
