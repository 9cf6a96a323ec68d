"""A client that goes on with another process of a pod runner gets each line once."""

from __future__ import annotations

import time

from broker.dispatch.seen_lines import OVERLAP_S, SeenLines
from broker.storage.pod_logs import MAX_TAIL, LogQuery
from kubefox.pod import LogLine

NOW_S = 1_700_000_000.0


def line(text: str, at_s: float, *, pod: str = "api-1", is_notice: bool = False) -> LogLine:
    return LogLine(
        pod=pod, component="api", hash="a" * 32, line=text, at_s=at_s, is_notice=is_notice
    )


def test_lines_that_come_again_are_left_out() -> None:
    seen = SeenLines()
    first = [line("1", NOW_S), line("2", NOW_S), line("other", NOW_S - 9, pod="api-2")]

    read = list(filter(seen.take, first))
    rest = seen.rest(LogQuery(component="api", tail=5, follow=True))
    again = [*first, line("3", NOW_S + 1), line("later", NOW_S - 8, pod="api-2")]

    assert read == first
    assert rest == LogQuery(component="api", tail=MAX_TAIL, since_s=NOW_S - OVERLAP_S, follow=True)
    assert [each.line for each in filter(seen.take, again)] == ["3", "later"]


def test_a_client_that_has_got_nothing_asks_for_the_same() -> None:
    query = LogQuery(tail=5, follow=True)

    assert SeenLines().rest(query) == query


def test_a_query_never_reaches_further_back_than_before() -> None:
    seen = SeenLines()
    seen.take(line("1", NOW_S))

    assert seen.rest(LogQuery(since_s=NOW_S - 1)).since_s == NOW_S - 1


def test_a_clock_that_is_ahead_hides_no_lines_of_other_pods() -> None:
    seen = SeenLines()
    seen.take(line("1", time.time() + 3600))
    later = line("later", time.time(), pod="api-2")

    rest = seen.rest(LogQuery(follow=True))

    assert rest.matches(later)
    assert seen.take(later)


def test_each_notice_is_new() -> None:
    seen = SeenLines()
    seen.take(line("1", NOW_S))
    seen.rest(LogQuery())

    assert seen.take(line("away", 0, is_notice=True))
