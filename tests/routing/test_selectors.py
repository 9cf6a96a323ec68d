"""Selectors: precedence of their sources, and their removal from the request."""

from __future__ import annotations

import pytest

from kubefox.errors import HeadersTooLarge, InvalidSelector
from kubefox.event import Headers
from routing.request_text import MAX_PAIRS
from routing.selectors import Selectors, Source, extract


def test_a_request_without_selectors_is_returned_unchanged() -> None:
    query, headers = "a=1&b=%20", (("accept", "*/*"),)

    selectors, same_query, same_headers = extract(query, headers)

    assert selectors == Selectors()
    assert same_query is query
    assert same_headers is headers


@pytest.mark.parametrize(
    ("query", "headers", "source"),
    [
        ("kf-dep=v1&kf-ve=a", (), Source.QUERY),
        ("kubefox-app-deployment=v1&kubefox-virtual-environment=a", (), Source.QUERY),
        ("kf%2Ddep=v1&kf%2dve=a", (), Source.QUERY),
        ("%6b%66-dep=v1&kf-ve=%61", (), Source.QUERY),
        ("%6b%66%2Ddep=v1&%6b%66%2Dve=%61", (), Source.QUERY),
        ("", (("kf-dep", "v1"), ("kf-ve", "a")), Source.HEADER),
        (
            "",
            (("kubefox-app-deployment", "v1"), ("kubefox-virtual-environment", "a")),
            Source.HEADER,
        ),
        ("", (("cookie", "kf-dep=v1; kf-ve=a"),), Source.COOKIE),
    ],
)
def test_every_selector_name_is_read_and_removed(
    query: str, headers: Headers, source: Source
) -> None:
    selectors, rest, left = extract(query, headers)

    assert (selectors.deployment, selectors.virtual_environment) == ("v1", "a")
    assert selectors.deployment_source is selectors.virtual_environment_source is source
    assert (rest, left) == ("", ())


def test_the_query_overrides_headers_and_headers_override_cookies() -> None:
    headers = (("kf-dep", "header"), ("kf-ve", "header"), ("cookie", "kf-dep=c; kf-ve=c"))

    selectors, _, left = extract("kf-dep=query", headers)

    assert (selectors.deployment, selectors.deployment_source) == ("query", Source.QUERY)
    assert (selectors.virtual_environment, selectors.virtual_environment_source) == (
        "header",
        Source.HEADER,
    )
    assert left == ()


@pytest.mark.parametrize(
    ("query", "rest"),
    [
        ("b=%2F&kf-dep=v1&a=+&&c", "b=%2F&a=+&&c"),
        ("%62=%2F&kf%2Ddep=v1&%6b=1", "%62=%2F&%6b=1"),
        ("kf-dep=v1&b=2", "b=2"),
        ("b=2&kf-ve=a", "b=2"),
        ("kf-type=cron&x", "x"),
        ("not-kf-dep=1", "not-kf-dep=1"),
    ],
)
def test_other_parameters_keep_their_order_and_bytes(query: str, rest: str) -> None:
    assert extract(query, ())[1] == rest


def test_a_sticky_cookie_without_a_value_is_ignored() -> None:
    headers = (("cookie", 'kf-dep=; a=1; kf-ve=""'),)

    assert extract("", headers) == (Selectors(), "", (("cookie", "a=1"),))


@pytest.mark.parametrize(
    "headers",
    [
        (("cookie", "kf-dep=v2; kf-ve=a; kf-dep=v1"),),
        (("cookie", "kf-dep=v2; kf-ve=a"), ("cookie", "kf-dep=v1")),
    ],
)
def test_the_first_of_several_sticky_cookies_wins(headers: Headers) -> None:
    selectors, _, rest = extract("", headers)

    assert (selectors.deployment, selectors.virtual_environment) == ("v2", "a")
    assert rest == ()


def test_other_headers_and_cookies_keep_their_order() -> None:
    headers = (
        ("x-a", "1"),
        ("kf-ve", "a"),
        ("cookie", "s=1; kf-dep=v1; t=2"),
        ("kf-type", "cron"),
        ("x-a", "2"),
        ("kubefox-explain", "1"),
    )

    _, _, left = extract("", headers)

    assert left == (
        ("x-a", "1"),
        ("cookie", "s=1; t=2"),
        ("x-a", "2"),
        ("kubefox-explain", "1"),
    )


def test_values_are_decoded() -> None:
    assert extract("kf-dep=order%2Dapp", ())[0].deployment == "order-app"


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("kf-dep=a&kf-dep=b", ()),
        ("kf-ve=a&kubefox-virtual-environment=b", ()),
        ("", (("kf-ve", "a"), ("kf-ve", "b"))),
        ("kf-dep=", ()),
        ("kf-dep", ()),
        ("", (("kf-ve", " "),)),
        ("kf-sample=maybe", ()),
    ],
)
def test_a_contradictory_or_empty_selector_is_refused(query: str, headers: Headers) -> None:
    with pytest.raises(InvalidSelector):
        extract(query, headers)


def test_a_repeated_selector_with_the_same_value_is_accepted() -> None:
    assert extract("kf-ve=a&kf-ve=a&kubefox-virtual-environment=a", ())[0] == Selectors(
        virtual_environment="a", virtual_environment_source=Source.QUERY
    )


@pytest.mark.parametrize(
    ("text", "sample"),
    [("true", True), ("1", True), ("TRUE", True), ("false", False), ("0", False)],
)
def test_sampling_is_a_flag(text: str, *, sample: bool) -> None:
    selectors, rest, _ = extract(f"kf-sample={text}", ())

    assert selectors.sample is sample
    assert selectors.sample_source is Source.QUERY
    assert rest == ""


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("kf-dep=v1" + "&a=1" * (MAX_PAIRS + 1), ()),
        ("", (("cookie", "kf-dep=v1" + ";" * (MAX_PAIRS // 2)), ("cookie", ";" * MAX_PAIRS))),
    ],
)
def test_a_selector_among_too_many_others_is_refused(query: str, headers: Headers) -> None:
    with pytest.raises(HeadersTooLarge, match=f"at most {MAX_PAIRS:,}"):
        extract(query, headers)
