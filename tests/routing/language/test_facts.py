"""Facts of a request."""

from __future__ import annotations

from urllib.parse import unquote, unquote_plus

import pytest

from kubefox.errors import HeadersTooLarge
from routing.language import facts
from routing.language.facts import Facts
from routing.request import GenesisRequest
from routing.request_text import MAX_PAIRS, MAX_SEGMENTS, decoded, decoded_plus


def test_an_overlong_host_is_not_cached() -> None:
    before = facts._cached_host.cache_info().currsize

    long = Facts(GenesisRequest(host="A" * 60_000 + ":80"))

    assert long.host == "a" * 60_000
    assert facts._cached_host.cache_info().currsize == before


@pytest.mark.parametrize("text", ["%41b%2Fc", "%", "%4", "%zz%41", "é%C3%A9", "%FF%41", "a+b"])
def test_text_is_decoded_like_urllib_does(text: str) -> None:
    assert decoded(text) == unquote(text)
    assert decoded_plus(text) == unquote_plus(text)


def test_a_path_of_too_many_segments_is_refused_before_it_is_decoded() -> None:
    assert len(Facts(GenesisRequest(path="/%61" * MAX_SEGMENTS)).segments) == MAX_SEGMENTS

    with pytest.raises(HeadersTooLarge, match=f"at most {MAX_SEGMENTS}"):
        Facts(GenesisRequest(path="/%61" * (MAX_SEGMENTS + 1)))


def test_a_query_of_too_many_parameters_is_refused_when_a_rule_reads_it() -> None:
    long = Facts(GenesisRequest(query="%61=1&" * (MAX_PAIRS + 1)))

    with pytest.raises(HeadersTooLarge, match=f"at most {MAX_PAIRS:,}"):
        _ = long.query
