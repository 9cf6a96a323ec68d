"""Refuses to begin a new platform where there has been one.

Control makes the keys and records of a new platform when NATS has none. A server that has lost its
disk has none either, and neither has one that ``FOX_NATS_URL`` names by mistake. So control does
not begin a platform when it knows of one: the data folder notes that the platform had records in a
NATS of its own, or other processes of the platform run.

The embedded server needs no such check: its data are in the data folder.
"""

from __future__ import annotations

from broker.nats.bus import Bus
from broker.nats.time_source import broker_time
from broker.storage.records_bucket import has_records
from fox.data_dir import DataDir
from kubefox.decoding import DECODE_ERRORS
from kubefox.errors import FoxError, NatsUnavailable

_CURE = (
    "Restore a backup: see docs/operations/backup.md. To begin a new platform, start control once "
    "with --new-platform"
)


async def refuse_lost_records(bus: Bus, data_dir: DataDir) -> None:
    """Check that NATS has records, unless there has been no platform yet.

    Args:
        bus: Connection of control, whose server answers.
        data_dir: Of control.

    Raises:
        NatsUnavailable: NATS has no records, and has lost them or is another one.
    """
    if await has_records(bus):
        return
    if data_dir.has_noted_records:
        raise NatsUnavailable(
            f"NATS has no records, and data folder {data_dir.path} belongs to a platform: NATS has "
            f"lost them, or FOX_NATS_URL names another NATS. {_CURE}"
        )
    # Another control may have made them since. It answers when it has.
    if await _is_served(bus) and not await has_records(bus):
        raise NatsUnavailable(
            f"NATS has no records, and processes of a platform run on it: it has lost them. {_CURE}"
        )


async def _is_served(bus: Bus) -> bool:
    """Return whether a process runs that has read the records of a platform."""
    try:
        await broker_time(bus)
    except (FoxError, *DECODE_ERRORS):
        return False
    return True
