"""No pattern and no request can hold the event loop."""

from __future__ import annotations

import re

import pytest

from routing.regex import MAX_LENGTH, RegexError, compile_regex, matches, quote


@pytest.mark.parametrize("pattern", ["(a+)+b", "(a|a)*b", "(x+x+)+y", "(a?){60}a{60}b"])
def test_a_pattern_that_makes_backtracking_engines_explode_is_answered(pattern: str) -> None:
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
