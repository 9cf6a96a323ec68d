"""How long do the dearest inputs of users and clients hold a loop? Prints milliseconds.

``python -m benchmarks.routing.worst_inputs``
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random
from time import perf_counter, process_time

from kubefox.component import Route, Value
from kubefox.errors import HeadersTooLarge
from kubefox.steps import Steps, in_steps
from routing.language.facts import MAX_MATCH_WORK, Facts
from routing.language.regex import WORK_OF_CALL, compile_regex
from routing.language.rule import MAX_PREDICATES
from routing.request import GenesisRequest
from routing.request_text import MAX_PAIRS, MAX_SEGMENTS
from routing.selectors import extract
from routing.table.matcher import ComponentRoutes, RouteTable, compile_table
from routing.table.rule_set import new_rule_set
from routing.validate import MAX_ROUTES

ROUNDS = 15
_ENDED = object()
PATTERNS = (
    ".*a[ab]{300}b",
    ".*(a|b){900}c",
    ".*a.{100}b",
    ".*a.{20}b",
    "(.*.){100}b",
    r".*\pLa[ab]{300}b",
    r"\pL+",
)
# Texts over few letters make the automata large; each kind suits other patterns.
LETTERS = ("a", "ab", "abcdefgh", "aéß漢b")


def main() -> None:
    """Measure each input, and print the dearest one of each kind."""
    for name, took_s in (*_regexes(), *_requests(), *_tables()):
        print(f"{name:60} {took_s * 1e3:8.2f} ms")


def _regexes() -> Iterator[tuple[str, float]]:
    for pattern in PATTERNS:
        instructions = compile_regex(pattern).instructions
        length = (MAX_MATCH_WORK - WORK_OF_CALL) // instructions
        slowest = max(_first_match(pattern, letters, length) for letters in LETTERS)
        yield f"{pattern} ({instructions} instructions), {length:,} bytes", slowest


def _first_match(pattern: str, letters: str, length: int) -> float:
    """Return the shortest time of several first matches, each with automata to be built."""
    random, times = Random(1), []
    for number in range(ROUNDS):
        # Another text for the engine's cache, and another pattern for ours.
        regex = compile_regex(f"{pattern}|{number}")
        text = "".join(random.choices(letters, k=length)).encode()[:length].decode(errors="ignore")
        times.append(_timed(lambda regex=regex, text=text: regex.matches(text, lambda _: None)))  # type: ignore[misc]
    return min(times)


def _requests() -> Iterator[tuple[str, float]]:
    rules = ("PathPrefix(`/`) && Query(`a`, `1`)", "Header(`x`, `{.*a[ab]{300}b}`)")
    table = _table(*rules * 100)
    yield "200 routes, path of the most segments", _decision(table, path="/%61" * MAX_SEGMENTS)
    query = "%61=%62&" * MAX_PAIRS
    yield "200 routes, query of the most parameters", _decision(table, query=query)
    headers = (("x", "ab" * 30_000),)
    yield "200 routes, header of 60,000 bytes", _decision(table, headers=headers)
    cookies = (("cookie", "kf-ve=a;" + "a=b;" * (MAX_PAIRS - 1)),)
    yield "selector among the most cookies", _shortest(lambda: extract("", cookies))


def _tables() -> Iterator[tuple[str, float]]:
    """Yield the longest step in which the table of a new context is made, and all of them."""
    hosts: list[str | float] = [f"{number}.example.com" for number in range(1_000)]
    many = "||".join([f"Path(`/a#/{number}`)" for number in range(MAX_PREDICATES)])
    rules = (
        ("a list of 1,000 hosts", "Host(`{{.Vars.hosts}}`) && Path(`/#`)"),
        ("a list of 1,000 methods", "Method(`{{.Vars.hosts}}`) && Path(`/#`)"),
        ("a list in a regular expression", "Query(`q`, `{#{{.Vars.few}}}`) && Path(`/#`)"),
        (f"{MAX_PREDICATES} predicates each", many),
    )
    for name, rule in rules:
        steps = _preparing(rule, {"hosts": hosts, "few": hosts[:60]})
        times = list(_step_times(steps))
        yield f"200 rules with {name}, longest of {len(times):,} steps", max(times)
        yield f"200 rules with {name}, all steps", sum(times)


def _preparing(rule: str, layer: dict[str, Value]) -> Steps[None]:
    routes = tuple(Route(id=at, rule=rule.replace("#", str(at))) for at in range(MAX_ROUTES))
    rules = yield from new_rule_set((ComponentRoutes("main", routes),))
    yield from rules.prepare()
    yield from in_steps(lambda: rules.table([layer]))


def _step_times(steps: Steps[None]) -> Iterator[float]:
    """Yield the CPU time of each step, without collections of garbage."""
    gc.collect()
    gc.disable()
    has_ended = False
    while not has_ended:
        began = process_time()
        has_ended = next(steps, _ENDED) is _ENDED
        yield process_time() - began
    gc.enable()


def _table(*rules: str) -> RouteTable:
    routes = tuple(Route(id=number, rule=rule) for number, rule in enumerate(rules))
    return compile_table([ComponentRoutes("main", routes)], [])


def _decision(
    table: RouteTable,
    path: str = "/",
    query: str = "",
    headers: tuple[tuple[str, str], ...] = (),
) -> float:
    request = GenesisRequest(path=path, query=query, headers=headers)

    def decide() -> None:
        with suppress(HeadersTooLarge):
            table.match(Facts(request))

    return _shortest(decide)


def _shortest(call: Callable[[], object]) -> float:
    return min(_timed(call) for _ in range(ROUNDS))


def _timed(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


if __name__ == "__main__":
    main()
