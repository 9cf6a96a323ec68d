"""All revisions that a bucket keeps, read one after another.

Not by nats-py's ``history`` and ``keys``, which sometimes end before the first message has arrived.
"""

from __future__ import annotations

from nats.js.errors import NotFoundError

from broker.nats.bus import Bus
from broker.storage import records_bucket


async def revisions(
    bus: Bus, pattern: str = ">", bucket: str = records_bucket.BUCKET
) -> dict[str, list[bytes]]:
    """Return the revisions of each key, oldest first; that of a deleted key ends with an empty one.

    Args:
        bus: Connection to use.
        pattern: Keys to read, with wildcards.
        bucket: Name of the bucket.
    """
    jetstream, prefix = bus.jetstream(), f"$KV.{bucket}."
    found: dict[str, list[bytes]] = {}
    after = 0
    while True:
        try:
            message = await jetstream.get_msg(
                f"KV_{bucket}", after + 1, prefix + pattern, next=True
            )
        except NotFoundError:
            return found
        after = message.seq or 0
        key = (message.subject or "").removeprefix(prefix)
        found.setdefault(key, []).append(message.data or b"")
