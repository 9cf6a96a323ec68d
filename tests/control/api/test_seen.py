"""A caller sees only the part of an answer that its roles cover."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable

import pytest

from control.access.caller import Caller, CallerKind
from control.api.seen import seen_lines, seen_stats, seen_traces
from kubefox.grants import Target, parse_grant
from kubefox.pod import LogLine
from kubefox.telemetry import ComponentRows, Row, Stats, Summary, TraceSummary


def sees(grant: str) -> Callable[[Target], bool]:
    caller = Caller(kind=CallerKind.TOKEN, name="x", grants=(parse_grant(grant),))
    assert caller.sees is not None
    return caller.sees


async def lines(*made: tuple[str, str]) -> AsyncGenerator[LogLine, None]:
    for app, virtual_environment in made:
        line = (
            json.dumps({"virtual_environment": virtual_environment}) if virtual_environment else "x"
        )
        yield LogLine(pod="p", component="c", hash="h", line=line, app=app)


@pytest.mark.parametrize(
    ("grant", "seen"),
    [
        ("view:shop", [("shop", "dev"), ("shop", "prod"), ("shop", "")]),
        ("view:shop:dev", [("shop", "dev")]),
        ("view:*:prod", [("shop", "prod"), ("cart", "prod")]),
    ],
)
async def test_lines_of_other_apps_and_environments_are_left_out(
    grant: str, seen: list[tuple[str, str]]
) -> None:
    made = [
        ("shop", "dev"),
        ("shop", "prod"),
        ("shop", ""),
        ("cart", "prod"),
        ("", "dev"),
        ("", ""),
    ]

    found = [line async for line in seen_lines(lines(*made), sees(grant))]

    assert [(line.app, line.fields.get("virtual_environment", "")) for line in found] == seen


async def test_a_notice_is_seen_by_those_who_see_the_app_that_it_is_about() -> None:
    async def notices() -> AsyncGenerator[LogLine, None]:
        for app in ("shop", "cart", ""):
            yield LogLine(pod="p", component="c", hash="h", line="x", app=app, is_notice=True)

    found = [line.app async for line in seen_lines(notices(), sees("view:shop"))]

    assert found == ["shop", ""]


def row(app: str, virtual_environment: str, requests: int) -> Row:
    total = Summary(requests=requests, errors=0)
    return Row(app=app, deployment="d", virtual_environment=virtual_environment, total=total)


def test_statistics_add_up_to_what_is_seen() -> None:
    rows = (row("shop", "dev", 1), row("shop", "prod", 2), row("", "", 4))
    whole = ComponentRows(component="c", hash="h", all=row("shop", "", 7), deployments=rows)
    other = ComponentRows(component="o", hash="h", all=row("cart", "", 1), deployments=())
    stats = Stats(at_s=0, window_s=0, deployments=rows, components=(whole, other))

    found = seen_stats(stats, sees("view:shop:dev"))

    assert found.deployments == rows[:1]
    [component] = found.components
    assert component.deployments == rows[:1]
    assert component.all.total.requests == 1


@pytest.mark.parametrize(
    ("app", "virtual_environment", "is_seen"),
    [("shop", "dev", True), ("shop", "prod", False), ("cart", "dev", False), ("", "", False)],
)
def test_traces_of_others_are_not_seen(
    app: str, virtual_environment: str, *, is_seen: bool
) -> None:
    summary = TraceSummary(
        trace_id="t",
        name="n",
        path="/",
        app=app,
        deployment="d",
        virtual_environment=virtual_environment,
        start_ns=0,
        duration_ns=0,
        status=200,
        error="",
        spans=1,
    )

    is_visible = seen_traces(sees("view:shop:dev"))

    assert is_visible is not None
    assert is_visible(summary) is is_seen
