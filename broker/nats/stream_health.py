"""The health of the platform's streams and buckets: their copies and their leaders."""

from __future__ import annotations

from typing import Any

from broker.nats.bus import Bus
from broker.nats.replicas import PREFIXES
from broker.nats.stream_config import read_streams
from kubefox.status import Check, CheckState, checked

_KINDS = (("KV_", "bucket "), ("OBJ_", "object store "))


async def check_streams(bus: Bus) -> Check:
    """Return the health of each stream and bucket of the platform.

    Raises:
        FoxError: NATS does not answer.
    """
    found = await read_streams(bus)
    streams = [one for one in found.known if one["config"]["name"].startswith(PREFIXES)]
    missing = [name for name in found.missing if name.startswith(PREFIXES)]
    items = (*map(_check, streams), *map(_missing, missing))
    copies = sorted({stream["config"]["num_replicas"] for stream in streams})
    size = sum(stream.get("state", {}).get("bytes", 0) for stream in streams)
    detail = (
        f"{len(items)} streams and buckets, {size / 1e6:.1f} MB, copies of each: "
        f"{', '.join(map(str, copies)) or 'none'}"
    )
    return checked("streams", detail, items)


def _missing(stream: str) -> Check:
    detail = "no answer: its leader is gone"
    return Check(name=_name(stream), state=CheckState.DEGRADED, detail=detail)


def _check(stream: dict[str, Any]) -> Check:
    config, cluster = stream["config"], stream.get("cluster") or {}
    leader, others = cluster.get("leader", ""), cluster.get("replicas") or ()
    late = [one["name"] for one in others if one.get("offline") or not one.get("current")]
    parts = [f"{config['num_replicas']} copies" if config["num_replicas"] > 1 else "1 copy"]
    if config["num_replicas"] > 1:
        parts.append(f"leader {leader}" if leader else "no leader: most of its servers are gone")
    parts += [f"copy on {name} is behind or gone" for name in late]
    is_well = not late and (leader or config["num_replicas"] == 1)
    state = CheckState.OK if is_well else CheckState.DEGRADED
    return Check(name=_name(config["name"]), state=state, detail=", ".join(parts))


def _name(stream: str) -> str:
    for prefix, kind in _KINDS:
        if stream.startswith(prefix):
            return kind + stream.removeprefix(prefix)
    return f"stream {stream}"
