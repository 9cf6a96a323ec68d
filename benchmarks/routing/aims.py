"""The aims of routing at every size, each with the measured value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.routing.live import LiveResult
from benchmarks.routing.size import SizeResult
from benchmarks.support.document import table
from benchmarks.support.rounds import Spread

EXPLICIT_US = 5
PLAIN_US = 10
GROWTH = 2
BYTES = 2_048
PROPAGATION_MS = 20
CURRENT_S = 1


def aims(sizes: Sequence[SizeResult], growth: dict[str, Spread], live: Sequence[LiveResult]) -> str:
    """Return a table: each aim, the worst value of all sizes, and whether the aim is met."""
    rows = [
        (name, f"{wanted:g}", f"{reached:,.2f}", "yes" if reached <= wanted else "**no**")
        for name, wanted, reached in _reached(sizes, growth, live)
    ]
    return table(("aim, at every size", "at most", "worst", "met"), rows)


def _reached(
    sizes: Sequence[SizeResult], growth: dict[str, Spread], live: Sequence[LiveResult]
) -> Iterator[tuple[str, float, float]]:
    for name, wanted in (("explicit", EXPLICIT_US), ("plain", PLAIN_US)):
        medians = [
            found.p50_us
            for size in sizes
            for kind, found in size.decisions.items()
            if kind.startswith(name)
        ]
        yield f"decision for {name} URLs, p50 in µs", wanted, max(medians)
    for kind, found in growth.items():
        spread = f"median of the rounds, {found.low:.2f} to {found.high:.2f}"
        yield (
            f"growth of {kind} from the smallest size to the largest ({spread})",
            GROWTH,
            found.median,
        )
    memory = max(size.bytes_per_deployment for size in sizes)
    yield "memory of a deployment that shares components, bytes", BYTES, memory
    propagation = max(one.p99_us for result in live for one in result.propagation.values())
    yield "release answered → routed by it, p99 in ms", PROPAGATION_MS, propagation / 1e3
    recovered = max(result.recovered_s for result in live)
    yield "current again after a kill of NATS, s", CURRENT_S, recovered
