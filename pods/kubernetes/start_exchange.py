"""A starting pod of a cluster fetches its login, and its bundle in parts, from the platform.

All pods of a version have the same first login, from a Secret. It allows these requests and nothing
else. The subject proves the version: NATS lets nobody else publish on it.
"""

from __future__ import annotations

import importlib.metadata

import msgspec

from broker.nats.credentials.login import Login

PLATFORM_VERSION = importlib.metadata.version("kubefox")
"""Version of the platform that this process runs."""

CHUNK_BYTES = 256 << 10
"""A part of a bundle; NATS carries messages of 1 MiB by default."""


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a pod.

    Attributes:
        pod: Its name in the cluster.
        offset: Where the wanted part of the bundle begins.
        version: Version of the platform in its image; empty in that of an earlier version.
    """

    pod: str
    offset: int
    version: str = ""


class StartReply(msgspec.Struct, frozen=True, kw_only=True):
    """The reply.

    Attributes:
        fault: Why there is none; the pod asks again.
        login: The pod's own login to NATS, with the first part.
        part: A part of the bundle.
        size_bytes: Size of the whole bundle.
    """

    fault: str = ""
    login: Login | None = None
    part: bytes = b""
    size_bytes: int = 0


encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(StartRequest).decode
decode_reply = msgspec.msgpack.Decoder(StartReply).decode
