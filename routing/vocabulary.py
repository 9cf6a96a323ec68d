"""The predicates a rule may use, and what their strings may hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from routing.keys import ANY, EVERYTHING, REST, Keys
from routing.paths import host_string, path_string
from routing.pattern import Brace, Part, check_regex, filled_regex, parts
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
from routing.regex import compile_regex
from routing.rule import Argument, Call, RuleError
from routing.segments import PATH_SUFFIX
from routing.template import Fillings, Hole, Text, alternatives, join

Build = Callable[[Fillings], Predicate]
FindKeys = Callable[[Fillings], Keys]

MAX_INDEXED_METHODS = 4
NO_FILLINGS: Fillings = {}


class Template(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate before its variables are known.

    Attributes:
        build: Makes the predicate.
        keys: Finds its index keys.
        variables: Names of every variable it uses.
        counted: Names of the variables whose values count for the rule's length.
        saved: By how many characters the rule's length is less than its text, before the
            values of ``counted`` are added.
        parameters: Names it captures.
        takes_words: Whether words can be put in for its variables when a request is matched.
    """

    build: Build
    keys: FindKeys
    variables: frozenset[str]
    counted: tuple[str, ...]
    saved: int
    parameters: frozenset[str]
    takes_words: bool


def template(rule: str, call: Call) -> Template:
    """Return what a call means.

    Raises:
        RuleError: No such predicate, or its strings are not what it takes.
    """
    if call.name not in _VOCABULARY:
        known = ", ".join(sorted(_VOCABULARY))
        raise RuleError(rule, call.column, call.name, f"one of {known}", "UnknownPredicate")
    word = _VOCABULARY[call.name]
    _check_count(rule, call, word)
    strings = tuple(tuple(parts(rule, argument)) for argument in call.arguments)
    return _measured(strings, word.meaning(_Strings(rule=rule, call=call, parts=strings)))


class _Strings(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    call: Call
    parts: tuple[tuple[Part, ...], ...]

    @property
    def source(self) -> str:
        return self.call.source

    @property
    def first(self) -> Argument:
        return self.call.arguments[0]


class _Meaning(msgspec.Struct, frozen=True):
    build: Build
    keys: FindKeys = lambda _: EVERYTHING
    parameters: tuple[str, ...] = ()
    takes_words: bool = False


class _Word(msgspec.Struct, frozen=True):
    usage: str
    least: int
    most: int | None
    meaning: Callable[[_Strings], _Meaning]


def _check_count(rule: str, call: Call, word: _Word) -> None:
    count = len(call.arguments)
    if count < word.least or (word.most is not None and count > word.most):
        wanted = str(word.least) if word.most is not None else f"at least {word.least}"
        found = f"{call.name} with {count} strings"
        raise RuleError(rule, call.column, found, f"{wanted}: {word.usage}")


def _measured(strings: tuple[tuple[Part, ...], ...], meaning: _Meaning) -> Template:
    flat = [part for string in strings for part in string]
    braces = [part for part in flat if isinstance(part, Brace)]
    holes = [part for part in flat if isinstance(part, Hole)]
    inner = {part.variable for each in braces for part in each.content if isinstance(part, Hole)}
    saved = sum(each.width - len("{}") for each in braces) + sum(each.width for each in holes)
    counted = tuple(each.variable for each in holes)
    return Template(
        build=meaning.build,
        keys=meaning.keys,
        variables=frozenset(counted) | inner,
        counted=counted,
        saved=saved,
        parameters=frozenset(meaning.parameters),
        takes_words=meaning.takes_words or not (holes or inner),
    )


def _everything(strings: _Strings) -> _Meaning:
    return _Meaning(lambda _: Everything(strings.source))


def _method(strings: _Strings) -> _Meaning:
    texts = [_literal(strings, at) for at in range(len(strings.parts))]

    def allowed(fillings: Fillings) -> frozenset[str]:
        return frozenset(
            method.upper() for text in texts for method in alternatives(text, fillings)
        )

    def keys(fillings: Fillings) -> Keys:
        methods = allowed(fillings)
        if len(methods) > MAX_INDEXED_METHODS:
            return EVERYTHING
        return tuple([(ANY, (REST,), method) for method in sorted(methods)])

    return _Meaning(lambda fillings: MethodIs(strings.source, allowed(fillings)), keys)


def _type(strings: _Strings) -> _Meaning:
    text = _literal(strings, 0)
    return _Meaning(lambda fillings: TypeIs(strings.source, _set(text, fillings)))


def _header(strings: _Strings) -> _Meaning:
    return _named_value(strings, HeaderIs, str.lower)


def _query(strings: _Strings) -> _Meaning:
    return _named_value(strings, QueryIs, str)


def _named_value(
    strings: _Strings, kind: type[HeaderIs | QueryIs], normal: Callable[[str], str]
) -> _Meaning:
    name, value = _literal(strings, 0), _value(strings, 1)
    source = strings.source

    def build(fillings: Fillings) -> Predicate:
        names = frozenset(map(normal, alternatives(name, fillings)))
        if isinstance(value, Brace):
            pattern = filled_regex(value.content, fillings)
            return kind(source, names=names, pattern=pattern, compiled=compile_regex(pattern))
        return kind(source, names=names, texts=_set(value, fillings))

    return _Meaning(build)


def _path(strings: _Strings) -> _Meaning:
    string = path_string(strings.rule, strings.first, strings.parts[0], is_open=False)
    return _Meaning(
        lambda fillings: PathIs(strings.source, string.segments(fillings)),
        string.path_keys,
        string.parameters,
        string.takes_words,
    )


def _path_prefix(strings: _Strings) -> _Meaning:
    string = path_string(strings.rule, strings.first, strings.parts[0], is_open=True)
    return _Meaning(
        lambda fillings: PathIs(strings.source, string.segments(fillings)),
        string.path_keys,
        (*string.parameters, PATH_SUFFIX),
        string.takes_words,
    )


def _host(strings: _Strings) -> _Meaning:
    string = host_string(strings.rule, strings.first, strings.parts[0])
    return _Meaning(
        lambda fillings: HostIs(
            strings.source, string.segments(fillings), string.literal_hosts(fillings)
        ),
        string.host_keys,
        string.parameters,
    )


_VOCABULARY: Mapping[str, _Word] = {
    "All": _Word("All()", 0, 0, _everything),
    "Any": _Word("Any()", 0, 0, _everything),
    "Host": _Word("Host(`example.com`)", 1, 1, _host),
    "Path": _Word("Path(`/orders/{id}`)", 1, 1, _path),
    "PathPrefix": _Word("PathPrefix(`/orders`)", 1, 1, _path_prefix),
    "Method": _Word("Method(`GET`, `POST`)", 1, None, _method),
    "Header": _Word("Header(`name`, `value`)", 2, 2, _header),
    "Query": _Word("Query(`name`, `value`)", 2, 2, _query),
    "Type": _Word("Type(`http`)", 1, 1, _type),
}


def _literal(strings: _Strings, at: int) -> Text:
    for part in strings.parts[at]:
        if isinstance(part, Brace):
            raise RuleError(strings.rule, part.column, "'{'", "literal text, or '\\{'")
    return join(part for part in strings.parts[at] if not isinstance(part, Brace))


def _value(strings: _Strings, at: int) -> Text | Brace:
    string = strings.parts[at]
    if len(string) == 1 and isinstance(string[0], Brace):
        check_regex(strings.rule, string[0], string[0].content)
        return string[0]
    for part in string:
        if isinstance(part, Brace):
            expected = "a regular expression for the whole value, or '\\{'"
            raise RuleError(strings.rule, part.column, "'{'", expected)
    return _literal(strings, at)


def _set(text: Text, fillings: Fillings) -> frozenset[str]:
    return frozenset(alternatives(text, fillings))
