"""``fox explain``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated

import msgspec
import typer
from rich.table import Table
from rich.tree import Tree

from fox.cli.support.connection import ControlUrl, DataDir, connect
from fox.cli.support.output import Output, OutputOption, show
from fox.cli.support.tables import print_to, problems_table, table
from fox.cli.support.times import show_time
from kubefox import printable
from kubefox.component import short
from kubefox.errors import ErrorDetail, from_detail
from kubefox.selection import Selection
from routing.explanation import Candidate, ExplainedShare, Explanation, GraphNode
from routing.selectors import Selectors

_POLICIES = {
    Selection.OPEN: "open: also versions that are not released, where the listener allows it",
    Selection.SIGNED: "signed: a version that is not released needs a share",
    Selection.RELEASED: "released: only released versions",
}


def explain(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Absolute URL, or a path with its query.")
    ],
    method: Annotated[
        str, typer.Option("--method", "-X", metavar="METHOD", help="HTTP method.")
    ] = "GET",
    headers: Annotated[
        list[str] | None,
        typer.Option(
            "--header", "-H", metavar="NAME:VALUE", help="Request header; may be repeated."
        ),
    ] = None,
    output: OutputOption = Output.TABLE,
    control_url: ControlUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Show what would serve a URL, without sending a request.

    The result names the selectors, the release, the rule and the components, and the routes that
    did not match. The URL of a share is explained as a request with its token: whether the share is
    valid, what it selects, and what a browser gets.
    """
    for header in headers or []:
        if ":" not in header:
            raise typer.BadParameter(f"{header!r} is not a header: expected NAME:VALUE")
    control = connect(control_url, data_dir)
    query = {"url": url, "method": method.upper(), "header": headers or None}
    explanation = msgspec.convert(control.get("v1", "explain", **query), Explanation)
    show(output, explanation, lambda: _print_explanation(explanation))
    if explanation.error is not None:
        raise from_detail(ErrorDetail(explanation.error.code, explanation.error.detail))


def _print_explanation(explanation: Explanation) -> None:
    facts = [("selectors", _selectors_text(explanation.selectors))]
    if explanation.selection is not None:
        facts.append(("selection", _POLICIES[explanation.selection]))
    if explanation.share is not None:
        facts += _share_facts(explanation.share)
    if explanation.winner is not None:
        facts += _winner_facts(explanation.winner)
    width = max(len(name) for name, _ in facts)
    for name, text in facts:
        sys.stdout.write(f"{name:<{width}}  {printable.one_line(text)}\n")
    if explanation.winner is not None:
        sys.stdout.write("\n")
        print_to(sys.stdout, _graph(explanation.winner.component, explanation.graph))
    _print_others(explanation)


def _print_others(explanation: Explanation) -> None:
    others = [candidate for candidate in explanation.candidates if not candidate.wins]
    if others:
        sys.stdout.write("\n")
        print_to(sys.stdout, _others_table(others))
    if explanation.omitted:
        sys.stdout.write(f"… and {explanation.omitted} more\n")
    if explanation.problems:
        sys.stdout.write("\n")
        print_to(sys.stdout, problems_table(explanation.problems))
    for conflict in explanation.conflicts:
        place = f"{conflict.deployment}, released in {conflict.virtual_environment}"
        line = f"ties with {conflict.rule} of {place} ({conflict.path})"
        sys.stdout.write(f"{printable.one_line(line)}\n")


def _selectors_text(selectors: Selectors) -> str:
    found = [
        ("deployment", selectors.deployment, selectors.deployment_source),
        (
            "virtual environment",
            selectors.virtual_environment,
            selectors.virtual_environment_source,
        ),
    ]
    parts = [f"{kind} {name} ({source.value})" for kind, name, source in found if name and source]
    return ", ".join(parts) or "none: the active releases are matched"


def _share_facts(share: ExplainedShare) -> list[tuple[str, str]]:
    what = f"{share.deployment} in {share.virtual_environment}"
    end = f"until {show_time(share.expires_at_s)}" if share.name else ""
    if share.fault:
        text = f"{share.name} is not valid: {share.fault}" if share.name else share.fault
    else:
        text = f"{share.name}: {what} {end}, where the listener's policy is open or signed"
    facts = [("share", text if share.name or share.fault else ""), ("answer", share.effect)]
    return [(name, text) for name, text in facts if text]


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
    """Return the call graph below the component that handles the request."""
    by_name = {node.component: node for node in nodes}
    tree = Tree(f"{root}@{short(by_name[root].hash)}" if root in by_name else root)
    _add_dependencies(tree, root, by_name, path=frozenset({root}))
    return tree


def _add_dependencies(
    tree: Tree, name: str, nodes: dict[str, GraphNode], *, path: frozenset[str]
) -> None:
    for edge in nodes[name].dependencies if name in nodes else ():
        suffix = f"@{short(edge.hash)}" if edge.hash else f" ({edge.kind.value})"
        branch = tree.add(f"{edge.name}{suffix}")
        # The graph may have cycles.
        if edge.hash and edge.name not in path:
            _add_dependencies(branch, edge.name, nodes, path=path | {edge.name})


def _others_table(others: list[Candidate]) -> Table:
    rows = [
        (
            candidate.virtual_environment,
            candidate.deployment,
            candidate.component,
            candidate.resolved,
            candidate.refused_by or "lower priority",
        )
        for candidate in others
    ]
    return table(["VIRTUAL-ENV", "DEPLOYMENT", "COMPONENT", "RULE", "FAILED ON"], rows)
