"""A second, simple matcher: the rule language implemented directly from its description.

It works on rules as data, not as text, so it shares nothing with the parser; and it tries every
route on every request, so it shares nothing with the indexes. Used only to compare with.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, unquote

from kubefox.component import Value
from routing.request import GenesisRequest


@dataclass(frozen=True)
class Var:
    """A variable in a string."""

    name: str


@dataclass(frozen=True)
class Cap:
    """A pair of braces."""

    name: str = ""
    regex: str | None = None
    tail: bool = False


@dataclass(frozen=True)
class Rx:
    """A pattern for a whole value."""

    regex: str


Segment = str | Var | Cap


@dataclass(frozen=True)
class P:
    """A predicate: its name and its strings; a path or host is a tuple of segments."""

    name: Literal["All", "Path", "PathPrefix", "Host", "Method", "Header", "Query", "Type"]
    strings: tuple[str | Var | Rx | tuple[Segment, ...], ...] = ()


@dataclass(frozen=True)
class Combined:
    """``&&``, ``||`` or ``!`` over rules."""

    word: Literal["&&", "||", "!"]
    rules: tuple[Tree, ...]


Tree = P | Combined
Params = dict[str, str]
Variables = dict[str, Value]


@dataclass(frozen=True)
class RefRoute:
    """A route of a component, with an explicit priority or 0."""

    component: str
    id: int
    rule: Tree
    priority: int = 0


def best(
    routes: Sequence[RefRoute], variables: Variables, request: GenesisRequest
) -> tuple[str, int, Params] | None:
    """Match all routes and return the winner."""
    accepting = []
    for route in routes:
        if any(name not in variables or variables[name] == [] for name in used(route.rule)):
            continue
        params = accepts(route.rule, variables, request)
        if params is not None:
            rank = (-route.priority, -length(route.rule, variables), route.component, route.id)
            accepting.append((rank, params))
    if not accepting:
        return None
    (_, _, component, number), params = min(accepting, key=lambda winner: winner[0])
    return component, number, params


def used(rule: Tree) -> set[str]:
    """Return the variables of a rule."""
    if isinstance(rule, Combined):
        return {name for child in rule.rules for name in used(child)}
    parts = [
        part
        for string in rule.strings
        for part in (string if isinstance(string, tuple) else (string,))
    ]
    return {part.name for part in parts if isinstance(part, Var)}


def accepts(rule: Tree, variables: Variables, request: GenesisRequest) -> Params | None:
    """Return the parameters, or None."""
    if isinstance(rule, P):
        return _predicate(rule, variables, request)
    found = [accepts(child, variables, request) for child in rule.rules]
    if rule.word == "!":
        return {} if found[0] is None else None
    if rule.word == "||":
        return next((item for item in found if item is not None), None)
    params: Params = {}
    for item in found:
        if item is None:
            return None
        params.update(item)
    return params


def text(rule: Tree, variables: Variables | None = None) -> str:
    """Write the rule; with variables, as resolved for its length: without blanks."""
    blank = " " if variables is None else ""
    if isinstance(rule, P):
        strings = f",{blank}".join(_string(string, rule, variables) for string in rule.strings)
        return f"{rule.name}({strings})"
    if rule.word == "!":
        return f"!({text(rule.rules[0], variables)})"
    return f"{blank}{rule.word}{blank}".join(f"({text(child, variables)})" for child in rule.rules)


def length(rule: Tree, variables: Variables) -> int:
    """Return the length of the resolved rule, braces and lists counted as two."""
    return len(text(rule, variables))


def _string(string: object, rule: P, variables: Variables | None) -> str:
    if not isinstance(string, tuple):
        return f"`{_written(string, variables)}`"
    segments = [_written(segment, variables) for segment in string]
    return f"`{'.'.join(segments)}`" if rule.name == "Host" else f"`/{'/'.join(segments)}`"


def _written(part: object, variables: Variables | None) -> str:
    match part:
        case Var(name):
            if variables is None:
                return f"{{{{.Vars.{name}}}}}"
            value = variables[name]
            return "{}" if isinstance(value, list) else _shown(value)
        case Cap() | Rx() if variables is not None:
            return "{}"
        case Rx(regex):
            return f"{{{regex}}}"
        case Cap(name, regex, tail):
            return f"{{{name}{'...' if tail else ''}{'' if regex is None else ':' + regex}}}"
        case _:
            return str(part)


def _predicate(rule: P, variables: Variables, request: GenesisRequest) -> Params | None:
    match rule.name:
        case "All":
            return {}
        case "Method":
            allowed = [text for string in rule.strings for text in _texts(string, variables)]
            return {} if request.method in [method.upper() for method in allowed] else None
        case "Type":
            return {} if request.type in _texts(rule.strings[0], variables) else None
        case "Header":
            pairs = [(name.lower(), value) for name, value in request.headers]
            return _value(rule, variables, pairs, lower=True)
        case "Query":
            return _value(rule, variables, parse_qsl(request.query, keep_blank_values=True))
        case "Host":
            host = request.host.lower().split(":")[0]
            return _walk(_items(rule), variables, host.split("."), ".", prefix=False)
        case _:
            segments = [unquote(part) for part in request.path.split("/") if part]
            return _walk(_items(rule), variables, segments, "/", prefix=rule.name == "PathPrefix")


def _items(rule: P) -> list[Segment]:
    string = rule.strings[0]
    assert isinstance(string, tuple)
    return list(string)


def _value(
    rule: P, variables: Variables, pairs: list[tuple[str, str]], *, lower: bool = False
) -> Params | None:
    names = _texts(rule.strings[0], variables)
    names = [name.lower() for name in names] if lower else names
    values = [value for name, value in pairs if name in names]
    wanted = rule.strings[1]
    if isinstance(wanted, Rx):
        right = any(re.fullmatch(wanted.regex, value) for value in values)
    else:
        right = any(value in _texts(wanted, variables) for value in values)
    return {} if right else None


def _texts(part: object, variables: Variables) -> list[str]:
    if not isinstance(part, Var):
        return [str(part)]
    value = variables[part.name]
    return [_shown(member) for member in value] if isinstance(value, list) else [_shown(value)]


def _shown(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _walk(
    items: list[Segment], variables: Variables, segments: list[str], separator: str, *, prefix: bool
) -> Params | None:
    if not items:
        if not prefix:
            return {} if not segments else None
        return {"path_suffix": "/" + "/".join(segments)}
    first, rest = items[0], items[1:]
    if isinstance(first, Cap):
        return _walk_capture(first, rest, variables, segments, separator, prefix=prefix)
    for alternative in _texts(first, variables) if isinstance(first, Var) else [first]:
        wanted = [part for part in alternative.split(separator) if part]
        wanted = [part.lower() if separator == "." else unquote(part) for part in wanted]
        if segments[: len(wanted)] == wanted:
            params = _walk(rest, variables, segments[len(wanted) :], separator, prefix=prefix)
            if params is not None:
                return params
    return None


def _walk_capture(
    first: Cap,
    rest: list[Segment],
    variables: Variables,
    segments: list[str],
    separator: str,
    *,
    prefix: bool,
) -> Params | None:
    if not segments:
        return None
    if first.tail:
        return {first.name: "/".join(segments)}
    if first.regex is not None and not re.fullmatch(first.regex, segments[0]):
        return None
    params = _walk(rest, variables, segments[1:], separator, prefix=prefix)
    if params is None:
        return None
    return {first.name: segments[0], **params} if first.name else params
