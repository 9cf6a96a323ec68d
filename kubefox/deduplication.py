"""The id by which NATS finds duplicates of an emitted event."""

from __future__ import annotations

import hashlib

from kubefox.context import EventContext

_ID_LENGTH = 32


def deduplication_id(context: EventContext, emitter: str, component: str, key: str) -> str:
    """Return the id by which NATS finds duplicates of an event; empty without a key.

    A key is valid between two components of one deployment in one virtual environment. The same
    key elsewhere is another event.

    Args:
        context: Of the event.
        emitter: Name of the component that emits it.
        component: Name of the component that is to handle it.
        key: See ``Delivery.key``.
    """
    if not key:
        return ""
    place = (context.app, context.deployment, context.virtual_environment, emitter, component)
    return hashlib.sha256("\0".join((*place, key)).encode()).hexdigest()[:_ID_LENGTH]
