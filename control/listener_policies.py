"""The policies of selection of the platform's HTTP listeners, as their processes report them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from broker.telemetry.collector import Collector
from kubefox.selection import ListenerPolicy

GAUGE = "http_selection"
_CURE = "start the HTTP adapter with FOX_HTTP_SELECTION=signed"
_MEANINGS = {
    ListenerPolicy.RELEASED: "released",
    ListenerPolicy.OPEN_IF_DIRECT: "open for direct requests, released for others",
    ListenerPolicy.SIGNED: "signed",
    ListenerPolicy.OPEN: "open",
}


async def listener_policies(collector: Collector) -> list[ListenerPolicy]:
    """Return the policy of each HTTP process that answers at once.

    Raises:
        NatsUnavailable: NATS does not answer.
    """
    known = {float(policy): policy for policy in ListenerPolicy}
    values = await collector.platform_gauge(GAUGE)
    return [known[value] for value in values if value in known]


def policies_text(policies: Sequence[ListenerPolicy]) -> str:
    """Return the policies of the HTTP processes in one line, with the counts if they differ."""
    if not policies:
        return "no HTTP process answers"
    counts = sorted(Counter(policies).items())
    if len(counts) == 1:
        return _MEANINGS[counts[0][0]]
    return "; ".join(
        f"{_MEANINGS[policy]} in {count} of {len(policies)}" for policy, count in counts
    )


def share_warnings(policies: Sequence[ListenerPolicy]) -> Iterator[str]:
    """Yield why the link of a new share may not work.

    Args:
        policies: Of the HTTP processes.
    """
    released = policies.count(ListenerPolicy.RELEASED)
    if not policies:
        yield (
            "no HTTP process has answered, so it is not known whether one accepts the share: that "
            "depends on its policy of selection"
        )
    elif released:
        which = "the HTTP adapter"
        if released < len(policies):
            which = f"{released} of {len(policies)} HTTP processes"
        yield (
            f"the link gets 404 from {which}, where the policy of selection is released: {_CURE}"
        )
    elif ListenerPolicy.OPEN_IF_DIRECT in policies:
        yield (
            "the link works on this machine only, where the deployment can be selected without it. "
            f"For other machines, and behind a proxy, {_CURE}"
        )
