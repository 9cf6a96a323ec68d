"""The health of the platform's streams and buckets: their copies and their leaders."""

from __future__ import annotations

from typing import Any

from broker.nats.bus import Bus
from broker.nats.cluster_size import count_servers
from broker.nats.replicas import MOST_REPLICAS, PREFIXES
from broker.nats.stream_config import Streams, read_streams
from kubefox.status import Check, CheckState, checked

RECORDS = "KV_kubefox"
"""The bucket of the control plane's records, without which there is no platform."""
_KINDS = (("KV_", "bucket "), ("OBJ_", "object store "))


async def check_streams(bus: Bus) -> Check:
    """Return the health of each stream and bucket of the platform.

    Raises:
        FoxError: NATS does not answer.
    """
    found = await read_streams(bus)
    streams = [one for one in found.known if one["config"]["name"].startswith(PREFIXES)]
    missing = [name for name in found.missing if name.startswith(PREFIXES)]
    most = await _most_copies(bus, streams)
    items = (
        *_lost(found),
        *(_check(stream, most, is_set=bool(bus.replicas)) for stream in streams),
        *map(_missing, missing),
    )
    copies = sorted({stream["config"]["num_replicas"] for stream in streams})
    size = sum(stream.get("state", {}).get("bytes", 0) for stream in streams)
    detail = (
        f"{len(items)} streams and buckets, {size / 1e6:.1f} MB, copies of each: "
        f"{', '.join(map(str, copies)) or 'none'}"
    )
    return checked("streams", detail, items)


async def _most_copies(bus: Bus, streams: list[dict[str, Any]]) -> int:
    """Return how many copies NATS can keep; the servers are counted only if there are fewer."""
    if all(_replicas(stream) >= MOST_REPLICAS or not _leader(stream) for stream in streams):
        return 1
    return min(await count_servers(bus), MOST_REPLICAS)


def _lost(found: Streams) -> tuple[Check, ...]:
    names = {*found.missing, *(stream["config"]["name"] for stream in found.known)}
    if RECORDS in names:
        return ()
    detail = "missing: NATS has lost its data, restore a backup (docs/operations/backup.md)"
    return (Check(name=_name(RECORDS), state=CheckState.DEGRADED, detail=detail),)


def _missing(stream: str) -> Check:
    detail = "no answer: its leader is gone"
    return Check(name=_name(stream), state=CheckState.DEGRADED, detail=detail)


def _check(stream: dict[str, Any], most: int, *, is_set: bool) -> Check:
    """Return the health of a stream.

    Args:
        stream: As NATS describes it.
        most: Copies that NATS can keep, at least.
        is_set: Whether the number of copies is that of the settings.
    """
    copies, leader = _replicas(stream), _leader(stream)
    others = (stream.get("cluster") or {}).get("replicas") or ()
    late = [one["name"] for one in others if one.get("offline") or not one.get("current")]
    parts = [f"{copies} copies" if copies > 1 else "1 copy"]
    if leader:
        parts.append(f"leader {leader}")
    elif copies > 1:
        parts.append("no leader: most of its servers are gone")
    parts += [f"copy on {name} is behind or gone" for name in late]
    state = CheckState.OK if not late and (leader or copies == 1) else CheckState.DEGRADED
    if copies < most:
        parts.append(_too_few(most, is_set=is_set))
        state = CheckState.OFF if is_set and state is CheckState.OK else CheckState.DEGRADED
    facts: dict[str, int | str] = {"replicas": copies, "leader": leader}
    return Check(
        name=_name(stream["config"]["name"]), state=state, detail=", ".join(parts), facts=facts
    )


def _too_few(most: int, *, is_set: bool) -> str:
    if is_set:
        return f"the servers can keep {most} (FOX_NATS_REPLICAS)"
    return f"the servers can keep {most}: the log of control says why it adds none"


def _replicas(stream: dict[str, Any]) -> int:
    return int(stream["config"]["num_replicas"])


def _leader(stream: dict[str, Any]) -> str:
    """Return the name of the server that leads; empty without one, or without a cluster."""
    cluster = stream.get("cluster") or {}
    return str(cluster.get("leader", "")) if cluster.get("name") else ""


def _name(stream: str) -> str:
    for prefix, kind in _KINDS:
        if stream.startswith(prefix):
            return kind + stream.removeprefix(prefix)
    return f"stream {stream}"
