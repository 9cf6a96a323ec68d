from __future__ import annotations

import io
import json
import re

import pytest
import yaml

from fox.cli.support.output import Output, show, to_text
from fox.cli.support.phrases import age, count, listed, source_text
from fox.cli.support.tables import console_for, print_to, problems_table, table
from kubefox.deployment import SourceRef
from kubefox.errors import Problem

PROBLEM = Problem(type="VariableNotFound", message="no ünit [bold]", path="vars.x")


def nothing() -> None:
    raise AssertionError


def test_a_struct_is_printed_as_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    show(Output.JSON, {"problem": PROBLEM}, nothing)

    printed = capsys.readouterr().out
    assert json.loads(printed)["problem"]["message"] == "no ünit [bold]"
    assert printed.endswith("}\n")


def test_a_struct_is_printed_as_yaml() -> None:
    text = to_text(Output.YAML, [PROBLEM])

    assert "ünit" in text
    assert yaml.safe_load(text) == [
        {"type": "VariableNotFound", "message": "no ünit [bold]", "path": "vars.x"}
    ]


def test_a_piped_table_has_no_colours_and_is_not_cut() -> None:
    stream = io.StringIO()

    print_to(stream, table(["NAME", "TEXT"], [("a", "long " * 100), ("b", None)]))

    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[2].split() == ["b", "-"]
    assert "\x1b" not in stream.getvalue()


def test_values_are_not_interpreted_as_markup() -> None:
    stream = io.StringIO()

    print_to(stream, problems_table([PROBLEM]))

    assert "no ünit [bold]" in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


NAME, ID, REASON = "shop-2026-11-release", "20261123-120000-123-ab12", "no such table " * 8


def on_terminal(columns: list[str], row: tuple[str, ...]) -> list[str]:
    """Return the lines of a table as they are read on a terminal."""
    stream = Terminal()
    print_to(stream, table(columns, [row]))
    shown = re.sub(r"\x1b\[[\d;]*m", "", stream.getvalue())
    return [line.rstrip() for line in shown.splitlines()]


@pytest.mark.parametrize("width", [62, 80, 120])
def test_free_text_is_wrapped_on_a_narrow_terminal_and_ids_are_not(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))

    lines = on_terminal(["POD", "MESSAGE", "RELEASE"], (NAME, REASON, ID))

    assert len(lines) > 2
    assert max(map(len, lines)) <= width
    assert NAME in lines[1]
    assert ID in lines[1]
    assert "".join(lines).count("table") == REASON.count("table")


def test_a_row_that_does_not_fit_runs_over_the_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    lines = on_terminal(["POD", "RELEASE", "MESSAGE"], (NAME, ID, REASON.strip()))

    assert lines == [f"{'POD':<20} {'RELEASE':<24} MESSAGE", f"{NAME} {ID} {REASON.strip()}"]


def test_gaps_shrink_before_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")

    lines = on_terminal(["NAME", "MESSAGE"], ("a" * 20, "b" * 18))

    assert lines == [f"{'NAME':<20} MESSAGE", f"{'a' * 20} {'b' * 18}"]


@pytest.mark.parametrize(("no_color", "has_color"), [("1", False), ("", True)])
def test_colours_are_off_with_no_color(
    monkeypatch: pytest.MonkeyPatch, no_color: str, has_color: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)

    assert (console_for(Terminal()).color_system is not None) is True
    assert console_for(Terminal()).no_color is not has_color


@pytest.mark.parametrize(
    ("passed_s", "expected"),
    [(0, "0s"), (59, "59s"), (61, "1m"), (7200, "2h"), (200_000, "2d"), (-5, "0s")],
)
def test_an_age_is_shown_in_its_largest_unit(passed_s: int, expected: str) -> None:
    assert age(1_000_000, 1_000_000 + passed_s) == expected


def test_the_age_of_no_time_is_empty() -> None:
    assert age(0, 5) == ""


def test_nouns_agree_with_their_number() -> None:
    assert (count(1, "pod"), count(2, "pod"), count(0, "pod")) == ("1 pod", "2 pods", "0 pods")
    assert listed({"b", "a"}) == "a, b"


def test_a_source_is_shown_as_far_as_it_is_known() -> None:
    source = SourceRef(commit="0123456789abcdef", branch="main", is_dirty=True)

    assert source_text(source) == "main 0123456789ab dirty"
    assert source_text(SourceRef()) == ""
