"""``fox explain``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.tree import Tree

from fox.cli.locate import ControlUrl, DataDir, connect
from fox.cli.output import Output, OutputOption, show
from fox.cli.tables import problems_table, table, to_stream
from model.component import short
from model.errors import ErrorDetail, from_detail
from routing.explain import Candidate, Explanation, GraphNode
from routing.selectors import Selectors


def explain(
    url: Annotated[str, typer.Argument(metavar="URL", help="Absolute, or a path with its query.")],
    method: Annotated[
        str, typer.Option("--method", "-X", metavar="METHOD", help="HTTP method.")
    ] = "GET",
    headers: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="NAME:VALUE", help="May be given several times."),
    ] = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Tell which selector, release, rule and components would serve a URL, without sending it."""
    for header in headers or []:
        if ":" not in header:
            raise typer.BadParameter(f"{header!r} is no header: expected NAME:VALUE")
    control = connect(control_url, data_dir)
    query = {"url": url, "method": method.upper(), "header": headers or None}
    explanation = msgspec.convert(control.get("v1", "explain", **query), Explanation)
    show(output, explanation, lambda: _tell(explanation))
    if explanation.error is not None:
        raise from_detail(ErrorDetail(explanation.error.code, explanation.error.detail))


def _tell(explanation: Explanation) -> None:
    facts = [("selectors", _selectors_text(explanation.selectors))]
    if explanation.winner is not None:
        facts += _winner_facts(explanation.winner)
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        sys.stdout.write(f"{name:<{width}}  {text}\n")
    if explanation.winner is not None:
        sys.stdout.write("\n")
        to_stream(_graph(explanation.winner.component, explanation.graph), sys.stdout)
    _tell_others(explanation)


def _tell_others(explanation: Explanation) -> None:
    others = [each for each in explanation.candidates if not each.wins]
    if others:
        sys.stdout.write("\n")
        to_stream(_others_table(others), sys.stdout)
    if explanation.omitted:
        sys.stdout.write(f"… and {explanation.omitted} more\n")
    if explanation.problems:
        sys.stdout.write("\n")
        to_stream(problems_table(explanation.problems), sys.stdout)
    for each in explanation.conflicts:
        where = f"{each.deployment}, released in {each.virtual_environment}"
        sys.stdout.write(f"ties with {each.rule} of {where} ({each.path})\n")


def _selectors_text(selectors: Selectors) -> str:
    found = [
        ("deployment", selectors.deployment, selectors.deployment_source),
        (
            "virtual environment",
            selectors.virtual_environment,
            selectors.virtual_environment_source,
        ),
    ]
    parts = [f"{what} {name} ({where.value})" for what, name, where in found if name and where]
    return ", ".join(parts) or "none: releases decide"


def _winner_facts(winner: Candidate) -> list[tuple[str, str]]:
    params = ", ".join(f"{name}={value}" for name, value in winner.params.items())
    facts = [
        ("deployment", winner.deployment),
        ("virtual environment", winner.virtual_environment),
        ("release", winner.release),
        ("component", f"{winner.component}@{short(winner.hash)}, route {winner.route}"),
        ("rule", winner.rule),
        ("resolved", winner.resolved if winner.resolved != winner.rule else ""),
        ("parameters", params),
    ]
    return [(name, text) for name, text in facts if text]


def _graph(root: str, nodes: Iterable[GraphNode]) -> Tree:
    """Return the components that may take part, from the one that the request enters by."""
    by_name = {each.component: each for each in nodes}
    tree = Tree(f"{root}@{short(by_name[root].hash)}" if root in by_name else root)
    _grow(tree, root, by_name, above=frozenset({root}))
    return tree


def _grow(tree: Tree, name: str, nodes: dict[str, GraphNode], *, above: frozenset[str]) -> None:
    for edge in nodes[name].dependencies if name in nodes else ():
        at = f"@{short(edge.hash)}" if edge.hash else f" ({edge.kind.value})"
        branch = tree.add(f"{edge.name}{at}")
        # Components may call each other in a circle.
        if edge.hash and edge.name not in above:
            _grow(branch, edge.name, nodes, above=above | {edge.name})


def _others_table(others: list[Candidate]) -> Table:
    rows = [
        (
            each.virtual_environment,
            each.deployment,
            each.component,
            each.resolved,
            each.refused_by or "lower priority",
        )
        for each in others
    ]
    return table(["VIRTUAL-ENV", "DEPLOYMENT", "COMPONENT", "RULE", "NOT BECAUSE OF"], rows)
