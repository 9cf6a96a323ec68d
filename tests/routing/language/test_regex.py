"""Regular expressions are matched in linear time."""

from __future__ import annotations

import re

import pytest

from kubefox.errors import HeadersTooLarge
from routing.language.facts import MAX_MATCH_WORK, Facts
from routing.language.regex import (
    MAX_INSTRUCTIONS,
    MAX_LENGTH,
    WORK_OF_CALL,
    Regex,
    RegexError,
    compile_regex,
    quote,
)
from routing.request import GenesisRequest
from routing.table.matcher import ComponentRoutes, compile_table
from tests.routing.world import definition


def matches(regex: Regex, text: str) -> bool:
    return regex.matches(text, lambda work: None)


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(x+x+)+y", "(a?){60}a{60}b"])
def test_a_catastrophic_pattern_is_matched_in_linear_time(pattern: str) -> None:
    # 2 ** 8000 steps for an engine that backtracks: this test would never end.
    assert not matches(compile_regex(pattern), "a" * 8_000)


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing )"),
        ("(?=a)", "perl operator"),
        (r"(a)\1", "escape"),
        ("a" * (MAX_LENGTH + 1), "longer"),
        ("((a{100}){100})", "repetition"),
        (".{1000}" * 140, "too large"),
        (".*a.{950}b", f"at most {MAX_INSTRUCTIONS:,}"),
        ("\ud800", "UTF-8"),
    ],
)
def test_a_pattern_that_cannot_be_bounded_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(RegexError, match=re.escape(reason)):
        compile_regex(pattern)


def test_text_is_matched_whole_and_as_characters() -> None:
    assert matches(compile_regex("."), "é")
    assert not matches(compile_regex("a"), "ab")
    assert matches(compile_regex(".*"), "\ud800")


def test_quoted_text_matches_itself() -> None:
    assert matches(compile_regex(quote("a.b*[é]")), "a.b*[é]")
    assert not matches(compile_regex(quote("a.b")), "axb")


def test_a_common_pattern_is_within_the_limit() -> None:
    for pattern in (r"\pL+", "[^/]{1,100}", "[0-9a-f]{64}", ".*session=[0-9a-f]{32}.*"):
        assert compile_regex(pattern).instructions <= MAX_INSTRUCTIONS


def test_the_work_of_all_matches_of_one_request_is_limited() -> None:
    regex = compile_regex(".*a[ab]{200}c")
    facts = Facts(GenesisRequest())
    text = "ab" * 500
    times = MAX_MATCH_WORK // (WORK_OF_CALL + regex.instructions * len(text))

    for _ in range(times):
        assert not regex.matches(text, facts.spend)
    with pytest.raises(HeadersTooLarge, match="regular expressions"):
        regex.matches(text, facts.spend)


@pytest.mark.parametrize(
    ("rule", "request_"),
    [
        ("Header(`x`, `{.*a.{200}b}`)", GenesisRequest(headers=(("x", "a" * 60_000),))),
        ("Header(`x`, `{a}`)", GenesisRequest(headers=tuple([("x", "")] * 3_000))),
        ("Query(`x`, `{.*a.{200}b}`)", GenesisRequest(query="x=" + "a" * 16_000)),
        ("Path(`/{x:.*a.{200}b}`)", GenesisRequest(path="/" + "a" * 16_000)),
        ("Host(`{x:.*a[ab]{500}b}.{y:.*a[ab]{900}b}`)", GenesisRequest(host="ab" * 60 + ".aa")),
    ],
)
def test_no_request_makes_the_rules_of_a_table_do_more_than_the_limit(
    rule: str, request_: GenesisRequest
) -> None:
    table = compile_table([ComponentRoutes("c", definition("c", *[rule] * 10).routes)], [])
    facts = Facts(request_)

    with pytest.raises(HeadersTooLarge):
        table.match(facts)

    # The last match was refused before it began.
    assert facts.match_work_left < 0
