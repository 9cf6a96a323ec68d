"""The KV bucket of the control plane's records, and its errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from nats.errors import MaxPayloadError
from nats.js import api
from nats.js.errors import (
    APIError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NotFoundError,
)
from nats.js.kv import KeyValue

from broker.nats.bus import Bus
from broker.nats.cluster_jetstream import WRONG_LAST_SEQUENCE
from broker.nats.jetstream import translated_errors
from broker.nats.missing_storage import find_or_make
from broker.nats.replicas import create_replicated
from kubefox.errors import BodyTooLarge, RevisionConflict
from kubefox.records import kind_of

BUCKET = "kubefox"
STREAM = f"KV_{BUCKET}"
HISTORY = 64
"""Revisions that the bucket keeps of each record."""
MAX_REVISIONS_BYTES = 64 * 1024
"""Size of all revisions of a record of ``_LATEST_ONLY``."""

_LATEST_ONLY = frozenset({"release", "rollout"})
"""Kinds of which no earlier revision is read. Event contexts name revisions of others."""

# Error codes of nats-server for a sequence number without a message. The last one has other causes
# too, one of which is told from its text.
_NO_MESSAGE = (10037, 10043, 10057)
_NOT_PERMITTED = "not permitted"


def subject_of(key: str) -> str:
    """Return the subject of a key's revisions."""
    return f"$KV.{BUCKET}.{key}"


def removes_revisions(key: str, value: bytes) -> bool:
    """Return whether the server is to remove the earlier revisions together with this write."""
    return kind_of(key) in _LATEST_ONLY and len(value) * HISTORY > MAX_REVISIONS_BYTES


async def open_bucket(bus: Bus) -> KeyValue:
    """Return the bucket; make it if it is missing, or wait for control to make it.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    with translated_errors(bus, f"open {BUCKET}"):
        return await find_or_make(
            bus,
            f"bucket {BUCKET}",
            lambda: bus.jetstream().key_value(BUCKET),
            lambda: _make_bucket(bus),
        )


async def has_records(bus: Bus) -> bool:
    """Return whether the bucket exists and is not empty.

    Raises:
        NatsUnavailable: The server has no JetStream, or does not answer.
    """
    with translated_errors(bus, f"read {BUCKET}"):
        try:
            info = await bus.jetstream().stream_info(STREAM)
        except NotFoundError:
            return False
    return info.state.messages > 0


async def _make_bucket(bus: Bus) -> KeyValue:
    jetstream = bus.jetstream()
    # As nats-py makes it, except that a revision may be deleted. NATS overwrites its bytes
    # then; those of purged messages stay in the file until NATS writes it anew.
    config = api.StreamConfig(
        name=STREAM,
        subjects=[subject_of(">")],
        allow_rollup_hdrs=True,
        allow_msg_ttl=True,
        discard=api.DiscardPolicy.NEW,
        max_msgs_per_subject=HISTORY,
    )
    await create_replicated(
        bus, lambda replicas: jetstream.add_stream(config, num_replicas=replicas)
    )
    return await jetstream.key_value(BUCKET)


async def erase(bus: Bus, key: str, revision: int) -> None:
    """Remove a revision of a record, and overwrite its bytes on the disk of NATS.

    A bucket of an earlier version of the platform does not allow that. There, the revision is only
    removed, together with all earlier ones of its key.

    Raises:
        NatsUnavailable: NATS does not answer, or refuses.
    """
    with translated_errors(bus, f"erase {key} at revision {revision}", writes=True):
        jetstream = bus.jetstream()
        try:
            await jetstream.delete_msg(STREAM, revision)
        except APIError as error:
            if _NOT_PERMITTED in (error.description or ""):
                await jetstream.purge_stream(STREAM, seq=revision + 1, subject=subject_of(key))
            elif error.err_code not in _NO_MESSAGE:  # Another process may have erased it.
                raise


@contextlib.contextmanager
def record_errors(bus: Bus, action: str, key: str, *, writes: bool = False) -> Iterator[None]:
    """Turn the errors of nats-py into ours, except for KeyNotFoundError.

    Without a connection it fails at once. nats-py would keep a write and send it after the
    reconnect, when its caller has already reported a failure.
    """
    missing: KeyNotFoundError | None = None
    with translated_errors(bus, f"{action} {key}", writes=writes):
        try:
            yield
        except KeyWrongLastSequenceError as error:
            raise _conflict(key) from error
        except KeyNotFoundError as error:
            missing = error
        except APIError as error:
            # For a lost compare-and-set nats-py has an error when it writes, but none when it
            # deletes.
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise _conflict(key) from error
            raise
        except MaxPayloadError as error:
            limit = bus.max_payload_bytes
            raise BodyTooLarge(
                f"cannot {action} {key}: it is over the limit of {limit} bytes"
            ) from error
    if missing is not None:
        raise missing


def _conflict(key: str) -> RevisionConflict:
    return RevisionConflict(f"{key} was changed by another writer: read it again")
