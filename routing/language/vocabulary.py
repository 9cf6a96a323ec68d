"""The predicates that a rule may use, and the valid content of their strings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod

import msgspec

from routing.language.index_keys import ANY, CATCH_ALL, REST, IndexKeys
from routing.language.paths import SegmentString, host_string, path_string
from routing.language.pattern import BraceGroup, Part, check_regex, parts, resolved_regex
from routing.language.predicates import (
    Everything,
    HeaderIs,
    HostIs,
    MethodIs,
    PathIs,
    Predicate,
    QueryIs,
    TypeIs,
)
from routing.language.regex import compile_regex
from routing.language.rule import Argument, PredicateCall, RuleError
from routing.language.segments import PATH_SUFFIX
from routing.language.template import Placeholder, ResolvedValues, Text, alternatives, join

Build = Callable[[ResolvedValues], Predicate]
FindKeys = Callable[[ResolvedValues], IndexKeys]

MAX_INDEXED_METHODS = 4
NO_VALUES: ResolvedValues = {}


class PredicateTemplate(msgspec.Struct, frozen=True, kw_only=True):
    """A predicate before its variables are resolved.

    Attributes:
        build: Function that makes the predicate.
        keys: Function that computes its index keys.
        variables: Names of all variables it uses.
        counted: Names of the variables whose values count for the rule's length.
        saved: How many characters of the text do not count for the rule's length, before the values
            of ``counted`` are added.
        parameters: Names it captures.
        combined: Variables of each string in which a list makes alternatives, one for each text.
        is_parameterizable: Whether the values of its variables can be read at match time, from
            ``Facts.segment_values``.
    """

    build: Build
    keys: FindKeys
    variables: frozenset[str]
    counted: tuple[str, ...]
    saved: int
    parameters: frozenset[str]
    combined: tuple[tuple[str, ...], ...]
    is_parameterizable: bool

    def alternatives(self, values: ResolvedValues) -> int:
        """Return how many alternatives lists make, except those that are kept as one set."""
        if self.is_parameterizable and all(values[name].segment for name in self.variables):
            return 0
        counts = [prod([len(values[name].texts) for name in names]) for names in self.combined]
        return sum([count for count in counts if count > 1])


def predicate_template(rule: str, call: PredicateCall) -> PredicateTemplate:
    """Return the template of a predicate call.

    Raises:
        RuleError: The predicate is unknown, or its strings are not valid.
    """
    if call.name not in _VOCABULARY:
        known = ", ".join(sorted(_VOCABULARY))
        raise RuleError(rule, call.column, call.name, f"one of {known}", "UnknownPredicate")
    spec = _VOCABULARY[call.name]
    _check_count(rule, call, spec)
    strings = tuple(tuple(parts(rule, argument)) for argument in call.arguments)
    return _template(strings, spec.compile(_CallStrings(rule=rule, call=call, parts=strings)))


class _CallStrings(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    call: PredicateCall
    parts: tuple[tuple[Part, ...], ...]

    @property
    def source(self) -> str:
        return self.call.source

    @property
    def first(self) -> Argument:
        return self.call.arguments[0]


class _Compiled(msgspec.Struct, frozen=True):
    build: Build
    keys: FindKeys = lambda _: CATCH_ALL
    parameters: tuple[str, ...] = ()
    is_parameterizable: bool = False


class _PredicateSpec(msgspec.Struct, frozen=True):
    usage: str
    least: int
    most: int | None
    compile: Callable[[_CallStrings], _Compiled]


def _check_count(rule: str, call: PredicateCall, spec: _PredicateSpec) -> None:
    count = len(call.arguments)
    if count < spec.least or (spec.most is not None and count > spec.most):
        wanted = str(spec.least) if spec.most is not None else f"at least {spec.least}"
        found = f"{call.name} with {count} strings"
        raise RuleError(rule, call.column, found, f"{wanted}: {spec.usage}")


def _template(strings: tuple[tuple[Part, ...], ...], compiled: _Compiled) -> PredicateTemplate:
    flat = [part for string in strings for part in string]
    groups = [part for part in flat if isinstance(part, BraceGroup)]
    outer = [part for part in flat if isinstance(part, Placeholder)]
    inner = [part for group in groups for part in group.content if isinstance(part, Placeholder)]
    saved = sum(group.width - len("{}") for group in groups) + sum(part.width for part in outer)
    counted = tuple(placeholder.variable for placeholder in outer)
    return PredicateTemplate(
        build=compiled.build,
        keys=compiled.keys,
        variables=frozenset(counted).union(placeholder.variable for placeholder in inner),
        counted=counted,
        saved=saved,
        parameters=frozenset(compiled.parameters),
        combined=tuple(_variables_of(string) for string in strings if len(string) > 1),
        is_parameterizable=compiled.is_parameterizable or not (outer or inner),
    )


def _variables_of(string: tuple[Part, ...]) -> tuple[str, ...]:
    return tuple([part.variable for part in string if isinstance(part, Placeholder)])


def _everything(strings: _CallStrings) -> _Compiled:
    return _Compiled(lambda _: Everything(strings.source))


def _method(strings: _CallStrings) -> _Compiled:
    texts = [_literal(strings, at) for at in range(len(strings.parts))]

    def allowed(values: ResolvedValues) -> frozenset[str]:
        return frozenset().union(*[_methods(alternatives(text, values)) for text in texts])

    def keys(values: ResolvedValues) -> IndexKeys:
        methods = allowed(values)
        if len(methods) > MAX_INDEXED_METHODS:
            return CATCH_ALL
        return tuple([(ANY, (REST,), method) for method in sorted(methods)])

    return _Compiled(lambda values: MethodIs(strings.source, allowed(values)), keys)


@lru_cache(maxsize=256)
def _methods(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(str.upper, texts))


def _type(strings: _CallStrings) -> _Compiled:
    text = _literal(strings, 0)
    return _Compiled(lambda values: TypeIs(strings.source, _set(text, values)))


def _header(strings: _CallStrings) -> _Compiled:
    return _named_value(strings, HeaderIs, str.lower)


def _query(strings: _CallStrings) -> _Compiled:
    return _named_value(strings, QueryIs, str)


def _named_value(
    strings: _CallStrings, kind: type[HeaderIs | QueryIs], normal: Callable[[str], str]
) -> _Compiled:
    name, value = _literal(strings, 0), _value(strings, 1)
    source = strings.source

    def build(values: ResolvedValues) -> Predicate:
        names = frozenset(map(normal, alternatives(name, values)))
        if isinstance(value, BraceGroup):
            pattern = resolved_regex(value.content, values)
            return kind(source, names=names, pattern=pattern, compiled=compile_regex(pattern))
        return kind(source, names=names, texts=_set(value, values))

    return _Compiled(build)


def _path(strings: _CallStrings) -> _Compiled:
    string = path_string(strings.rule, strings.first, strings.parts[0], is_open=False)
    return _compiled_path(strings, string, string.parameters)


def _path_prefix(strings: _CallStrings) -> _Compiled:
    string = path_string(strings.rule, strings.first, strings.parts[0], is_open=True)
    return _compiled_path(strings, string, (*string.parameters, PATH_SUFFIX))


def _compiled_path(
    strings: _CallStrings, string: SegmentString, parameters: tuple[str, ...]
) -> _Compiled:
    return _Compiled(
        lambda values: PathIs(strings.source, string.patterns(values)),
        string.path_keys,
        parameters,
        string.is_parameterizable,
    )


def _host(strings: _CallStrings) -> _Compiled:
    string = host_string(strings.rule, strings.first, strings.parts[0])

    def build(values: ResolvedValues) -> Predicate:
        hosts = string.literal_hosts(values)
        return HostIs(strings.source, () if hosts else string.patterns(values), hosts)

    return _Compiled(build, string.host_keys, string.parameters)


_VOCABULARY: Mapping[str, _PredicateSpec] = {
    "All": _PredicateSpec("All()", 0, 0, _everything),
    "Any": _PredicateSpec("Any()", 0, 0, _everything),
    "Host": _PredicateSpec("Host(`example.com`)", 1, 1, _host),
    "Path": _PredicateSpec("Path(`/orders/{id}`)", 1, 1, _path),
    "PathPrefix": _PredicateSpec("PathPrefix(`/orders`)", 1, 1, _path_prefix),
    "Method": _PredicateSpec("Method(`GET`, `POST`)", 1, None, _method),
    "Header": _PredicateSpec("Header(`name`, `value`)", 2, 2, _header),
    "Query": _PredicateSpec("Query(`name`, `value`)", 2, 2, _query),
    "Type": _PredicateSpec("Type(`http`)", 1, 1, _type),
}


def _literal(strings: _CallStrings, at: int) -> Text:
    for part in strings.parts[at]:
        if isinstance(part, BraceGroup):
            raise RuleError(strings.rule, part.column, "'{'", "literal text, or '\\{'")
    return join(part for part in strings.parts[at] if not isinstance(part, BraceGroup))


def _value(strings: _CallStrings, at: int) -> Text | BraceGroup:
    string = strings.parts[at]
    if len(string) == 1 and isinstance(string[0], BraceGroup):
        check_regex(strings.rule, string[0], string[0].content)
        return string[0]
    for part in string:
        if isinstance(part, BraceGroup):
            expected = "a regular expression for the whole value, or '\\{'"
            raise RuleError(strings.rule, part.column, "'{'", expected)
    return _literal(strings, at)


def _set(text: Text, values: ResolvedValues) -> frozenset[str]:
    return _shared_set(alternatives(text, values))


# All routes of a table share the set of a long list.
_shared_set = lru_cache(maxsize=256)(frozenset[str])
