"""The page and the picture show the measured results, as the JSON holds them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest

from benchmarks.e2e.__main__ import DOCUMENT, RESULTS
from benchmarks.e2e.aims import aims
from benchmarks.e2e.page import page, picture
from benchmarks.e2e.report import Report
from benchmarks.support.chart import Bar, Panel, svg
from benchmarks.support.document import place, placed, table
from benchmarks.support.rounds import Spread
from benchmarks.support.wrk import parse

PICTURE = DOCUMENT.with_name("performance-e2e.svg")
WRK = """\
Running 1s test @ http://127.0.0.1:9301/x
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.91ms    1.76ms  18.16ms   90.47%
    Req/Sec    19.60k     5.18k   27.81k    60.00%
  Latency Distribution
     50%  987.00us
     75%    1.85ms
     90%    3.51ms
     99%   10.02ms
  20000 requests in 1.00s, 24.72MB read
  Non-2xx or 3xx responses: 3
Requests/sec:  19464.60
"""


@pytest.fixture(scope="module")
def report() -> Report:
    return msgspec.json.decode((RESULTS / "e2e.json").read_bytes(), type=Report)


def test_the_page_shows_the_results_that_are_kept(report: Report) -> None:
    assert placed(DOCUMENT, "e2e") == page(report, PICTURE.name) + "\n"


def test_the_picture_shows_the_results_that_are_kept(report: Report) -> None:
    assert PICTURE.read_text() == picture(report)


def test_the_results_name_no_host(report: Report) -> None:
    assert set(msgspec.structs.asdict(report.machine)) == {
        *("python", "system", "processor", "cores", "memory_gib", "packages", "busy")
    }


def test_every_contestant_answered_every_request(report: Report) -> None:
    failures = {
        (experiment.name, result.name): result.failures
        for experiment in report.experiments
        for result in experiment.results
        if result.failures
    }

    assert failures == {}


def test_every_aim_has_a_measured_value(report: Report) -> None:
    found = aims(report)

    assert len(found) == 15
    assert all(aim.wanted and aim.reached for aim in found)


@pytest.mark.parametrize(("cores", "is_judged"), [(2, False), (8, True)])
def test_workers_are_judged_where_there_are_cores_for_them(
    report: Report, cores: int, *, is_judged: bool
) -> None:
    machine = msgspec.structs.replace(report.machine, cores=cores)

    found = aims(msgspec.structs.replace(report, machine=machine))

    [workers] = [aim for aim in found if aim.text.startswith("2 workers")]
    assert (workers.is_met is not None) is is_judged


def test_a_section_is_replaced_and_the_rest_of_the_page_kept(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n")

    place(document, "one", "old")
    document.write_text(document.read_text() + "after\n")
    place(document, "one", "new")

    text = "before\n<!-- one: measured -->\nnew\n<!-- one: end -->\nafter\n"
    assert document.read_text() == text
    assert placed(document, "one") == "new\n"


def test_a_table_lines_figures_up_on_the_right() -> None:
    assert table(("", "µs"), [("floor", "3")]) == "|  | µs |\n| --- | ---: |\n| floor | 3 |"


def test_bars_are_as_long_as_their_values_and_names_are_escaped() -> None:
    bars = tuple(
        Bar(label=f"<{value}>", value=value, low=value, high=value, note="", kind="own")
        for value in (50, 100)
    )

    drawn = ET.fromstring(svg([Panel(title="A & B", bars=bars)]))  # noqa: S314 - our own

    short, long = (
        float(element.attrib["width"])
        for element in drawn.iter("{http://www.w3.org/2000/svg}rect")
        if element.attrib["height"] == "18"
    )
    texts = [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert long == 2 * short
    assert texts[:2] == ["A & B", "<50>"]


def test_the_output_of_wrk_is_parsed() -> None:
    found = parse(WRK)

    assert (found.answers, round(found.rate_per_s)) == (20_000, 19_465)
    assert (found.latencies.p50_us, found.latencies.p99_us) == (987, 10_020)
    assert found.failures == {"other": 3}


def test_unexpected_output_of_wrk_is_refused() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parse("unable to connect to 127.0.0.1:1 Connection refused")


def test_the_duration_of_a_wake_up_is_shown(report: Report) -> None:
    found = Spread(median=0.2, low=0.1, high=0.3)
    lifecycle = msgspec.structs.replace(report.lifecycle, wake_s=found)

    measured = msgspec.structs.replace(report, lifecycle=lifecycle)

    (aim,) = [aim for aim in aims(measured) if "idle version" in aim.text]
    assert (aim.reached, aim.is_met) == ("0.2 s", True)
    assert "0.20 (0.10–0.30)" in page(measured, PICTURE.name)
