import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubefox.errors import InvalidRequest
from kubefox.formats import MAX_NAME_LENGTH
from kubefox.names import check_name, clean_name


@pytest.mark.parametrize("name", ["a", "7", "order-app", "a--b", "v1", "a" * MAX_NAME_LENGTH])
def test_a_dns_label_is_a_name(name: str) -> None:
    assert check_name(name, "deployment") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        "-",
        "A",
        "a.b",
        "a_b",
        "a b",
        "a\n",
        "ä",
        "a*",
        "a>",
        "a" * (MAX_NAME_LENGTH + 1),
    ],
)
def test_an_invalid_name_is_refused_with_its_noun(name: str) -> None:
    with pytest.raises(InvalidRequest, match="deployment name " + re.escape(repr(name))):
        check_name(name, "deployment")


@given(st.text(max_size=100))
def test_a_cleaned_text_is_a_name_or_empty(text: str) -> None:
    name = clean_name(text)

    assert name == "" or check_name(name, "deployment") == name


@given(
    st.from_regex(r"[a-z0-9]([a-z0-9]|-(?!-)){0,61}", fullmatch=True).map(lambda n: n.strip("-"))
)
def test_a_name_without_doubled_dashes_is_clean_already(name: str) -> None:
    assert clean_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("order-app-feature/Review", "order-app-feature-review"),
        ("order-app-1.2.0", "order-app-1-2-0"),
        ("__x__", "x"),
        ("///", ""),
        ("a" * 62 + "-b", "a" * 62),
    ],
)
def test_a_text_is_cleaned(text: str, name: str) -> None:
    assert clean_name(text) == name
