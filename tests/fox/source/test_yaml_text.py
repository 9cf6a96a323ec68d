"""Loading YAML takes no more time and memory than its limits allow, whatever the text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fox.source import yaml_text
from fox.source.manifests import read_manifests
from fox.source.yaml_text import MAX_DEPTH, MAX_VALUES, READ_ERRORS
from kubefox.errors import InvalidRequest


def level(index: int, item: str) -> str:
    return f"a{index}: &a{index} [{', '.join([item] * 9)}]\n"


BILLION = level(0, "x") + "".join(level(index, f"*a{index - 1}") for index in range(1, 9))
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{index}: &a{index} {{<<: [{', '.join([f'*a{index - 1}'] * 9)}]}}\n" for index in range(1, 9)
)
LONG = f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 200)}]"


def reason_of(text: str) -> str:
    with pytest.raises(READ_ERRORS) as refused:
        yaml_text.document(text)
    return yaml_text.reason(refused.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BILLION, "line 5, column 35: the text has more than 50,000 values (an alias"),
        (MERGES, "line 6, column 20: the text has more than 50,000 values (an alias"),
        (LONG, "line 2, column 417: the text has more than 1,048,576 characters (an alias"),
        ("a: &a [*a]", "line 1, column 8: the text has an alias of a value that contains it"),
        (
            "a: &a {b: {c: *a}}",
            "line 1, column 15: the text has an alias of a value that contains it",
        ),
        ("[" * 100_000, "line 1, column 65: the text has more than 64 levels of values"),
        ("x, " * 400_000, "the text is over 1,048,576 characters"),
        (
            "a: 1" + ":1" * 100_000,
            "line 1, column 4: the text has a number of more than 64 characters",
        ),
        (
            "a: 0x" + "1" * 100_000,
            "line 1, column 4: the text has a number of more than 64 characters",
        ),
        (
            "a: !!float " + "1" * 100_000,
            "line 1, column 4: the text has a number of more than 64 characters",
        ),
        ("[" + "a," * 50_000 + "]", "more than 50,000 values"),
    ],
    ids=lambda text: text[:9],
)
def test_a_text_without_measure_is_refused_with_its_line(text: str, reason: str) -> None:
    assert reason in reason_of(text)


def test_an_alias_is_a_copy_of_its_value() -> None:
    text = "base: &base {a: 1, b: [x]}\nother: {<<: *base, a: 2}\nsame: *base"

    document = yaml_text.document(text)

    assert document["other"] == {"a": 2, "b": ["x"]}
    assert document["same"] == document["base"]


def test_an_anchor_may_be_used_again_in_another_document() -> None:
    text = "a: &a [1]\n---\na: &a [*a]\n"

    with pytest.raises(READ_ERRORS):
        list(yaml_text.documents(text))


def test_the_limits_count_all_documents_of_a_text() -> None:
    one = f"[{', '.join(['a'] * (MAX_VALUES // 2))}]\n"

    with pytest.raises(READ_ERRORS, match="more than 50,000 values"):
        list(yaml_text.documents("---\n".join([one] * 3)))


SCALARS = st.sampled_from(["x", "12", "''", "true"])


@st.composite
def texts_with_aliases(draw: st.DrawFn) -> str:
    """Lists and mappings, each of which repeats earlier ones by alias or merges them."""
    lines = []
    for index in range(draw(st.integers(1, 8))):
        earlier = [f"*a{other}" for other in range(index)]
        items = draw(st.lists(SCALARS | st.sampled_from(earlier or ["x"]), max_size=12))
        merged = draw(st.lists(st.sampled_from(earlier), max_size=12)) if earlier else []
        is_mapping = draw(st.booleans())
        pairs = [f"k{place}: {item}" for place, item in enumerate(items)]
        content = ", ".join([*pairs, f"<<: [{', '.join(merged)}]"] if is_mapping else items)
        lines.append(
            f"a{index}: &a{index} {{{content}}}"
            if is_mapping
            else f"a{index}: &a{index} [{content}]"
        )
    return "\n".join(lines)


@given(texts_with_aliases())
def test_what_is_loaded_has_no_more_values_than_the_limit(text: str) -> None:
    try:
        document = yaml_text.document(text)
    except READ_ERRORS:
        return

    assert values_of(document, {}) <= MAX_VALUES


def values_of(value: Any, known: dict[int, int]) -> int:
    """Return the number of values, each alias counted; a shared one is looked at once."""
    if id(value) not in known:
        below = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + (
            sum(values_of(one, known) for one in below) if isinstance(value, dict | list) else 0
        )
    return known[id(value)]


@given(st.integers(1, 200))
def test_values_are_read_to_the_deepest_level_that_is_allowed(depth: int) -> None:
    text = "[" * depth + "]" * depth

    if depth <= MAX_DEPTH:
        assert str(yaml_text.document(text)) == text
    else:
        assert f"column {MAX_DEPTH + 1}: the text has more than" in reason_of(text)


KIND = "apiVersion: kubefox.xigxog.io/v1alpha1\nkind: Environment\nmetadata: {name: one}\n"
HUGE = "x" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        f"kind: {HUGE}",
        f"{KIND}data: {{vars: {{a: {{b: {HUGE}}}}}}}",
        f"{KIND}data: {{vars: {{{HUGE}: {{b: c}}}}}}".replace(f"{HUGE}:", f"? {HUGE}\n:"),
        f"{KIND}? {HUGE}\n: 1",
        f"{KIND}spec: {{releasePolicy: {{type: {HUGE}}}}}",
        KIND.replace("one", HUGE),
        f"? {HUGE}\n: 1\n? {HUGE}\n: 2",
    ],
)
def test_a_long_value_is_cut_in_the_message(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_manifests(text, "file.yaml")

    assert refused.value.detail.startswith("file.yaml")
    assert len(refused.value.detail) < 700
