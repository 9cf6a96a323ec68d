"""Cut an answer down to the part that the caller's roles cover."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from msgspec.structs import replace

from kubefox.dead_letter import DeadLetter
from kubefox.errors import MissingRole
from kubefox.grants import ALL, Target
from kubefox.pod import LogLine
from kubefox.telemetry import ComponentRows, Row, Stats, Summary, TraceSummary
from routing.explanation import Candidate, Explanation
from routing.snapshot.snapshot import Snapshot

Sees = Callable[[Target], bool]


def target_of_letter(letter: DeadLetter) -> Target:
    """Return what a dead letter is about; one that cannot be read could be about all."""
    return Target(letter.app or ALL, letter.virtual_environment or ALL)


async def seen_lines(
    lines: AsyncGenerator[LogLine, None], sees: Sees
) -> AsyncGenerator[LogLine, None]:
    """Yield the lines of apps and virtual environments that the caller sees.

    A line without a virtual environment, such as one of ``print``, may be about any. A notice
    without an app is about all output.
    """
    async with aclosing(lines):
        async for line in lines:
            app = line.app or ALL
            is_for_all = line.is_notice and not line.app
            if (
                is_for_all
                or sees(Target(app, ALL))
                or sees(Target(app, _virtual_environment(line)))
            ):
                yield line


def seen_stats(stats: Stats, sees: Sees) -> Stats:
    """Return the statistics without rows that the caller does not see."""
    components = (_seen_rows(rows, sees) for rows in stats.components)
    return replace(
        stats,
        deployments=tuple(row for row in stats.deployments if sees(_target(row))),
        components=tuple(rows for rows in components if rows.deployments),
    )


def seen_traces(sees: Sees | None) -> Callable[[TraceSummary], bool] | None:
    """Return whether the caller sees a trace, as a function; None if it sees all."""
    return None if sees is None else lambda summary: sees(_target(summary))


def seen_explanation(explanation: Explanation, snapshot: Snapshot, sees: Sees) -> Explanation:
    """Return an explanation without the candidates that the caller does not see.

    The texts of problems and conflicts may name others, so they are left out.

    Raises:
        MissingRole: The caller does not see the winner.
    """

    def is_seen(candidate: Candidate) -> bool:
        deployment = snapshot.deployments.get(candidate.deployment)
        app = ALL if deployment is None else deployment.app
        return sees(Target(app, candidate.virtual_environment or ALL))

    if explanation.winner is not None and not is_seen(explanation.winner):
        raise MissingRole("the URL reaches a deployment for which the token has no role")
    return replace(
        explanation,
        candidates=tuple(filter(is_seen, explanation.candidates)),
        problems=(),
        conflicts=(),
    )


def _virtual_environment(line: LogLine) -> str:
    name = line.fields.get("virtual_environment")
    return name if isinstance(name, str) and name else ALL


def _seen_rows(rows: ComponentRows, sees: Sees) -> ComponentRows:
    """Return the rows that the caller sees, with the sums of these rows only."""
    seen = tuple(row for row in rows.deployments if sees(_target(row)))
    if len(seen) == len(rows.deployments):
        return rows
    total = Summary(
        requests=sum(row.total.requests for row in seen),
        errors=sum(row.total.errors for row in seen),
    )
    in_flight = sum(row.in_flight for row in seen)
    summed = replace(rows.all, total=total, recent=None, in_flight=in_flight, queue_p95_ms=None)
    return replace(rows, all=summed, deployments=seen)


def _target(labelled: Row | TraceSummary) -> Target:
    return Target(labelled.app or ALL, labelled.virtual_environment or ALL)
