"""The private names of nats-py and asyncio that this room uses, all of them in one list.

The fast path (``client``, ``parser``, ``transport``) replaces parts of nats-py that have no public
name. It saves 15 of 29 µs of CPU per round trip. nats-py's version is therefore pinned below its
next minor version. ``tests/broker/nats/test_private_api.py`` checks each name against the
installed version and fails by name, and it fails when a module uses a name that is not listed.

When a new version changes a name: read how nats-py uses it now, adapt the module named in
``used_by``, then correct the entry here.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import NamedTuple

from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.aio.transport import TcpTransport
from nats.js import JetStreamContext
from nats.protocol.parser import Parser


class NameKind(Enum):
    """The kind of thing that a private name denotes."""

    ATTRIBUTE = "attribute that __init__ sets"
    METHOD = "method"
    COROUTINE = "coroutine method"


class PrivateName(NamedTuple):
    """One name that nats-py or asyncio may change without notice.

    Attributes:
        owner: Class that has the name.
        name: The name.
        kind: Kind of the named thing.
        used_by: Module of this room that uses it.
        reason: Why it is used, and what is expected of it.
        parameters: Names of a method's parameters after ``self``.
    """

    owner: type
    name: str
    kind: NameKind
    used_by: str
    reason: str
    parameters: tuple[str, ...] = ()


PRIVATE_NAMES = (
    PrivateName(
        Client,
        "_ps",
        NameKind.ATTRIBUTE,
        "client",
        "The parser, replaced by FastPathParser. The read loop awaits `_ps.parse(data)`, and a "
        "reconnect calls `_ps.reset()`.",
    ),
    PrivateName(
        Client,
        "_transport",
        NameKind.ATTRIBUTE,
        "client",
        "The socket, replaced by FastPathTransport. nats-py makes one only if it is false.",
    ),
    PrivateName(
        Client,
        "_pending",
        NameKind.ATTRIBUTE,
        "client",
        "Commands that nats-py has not written; `send` must not overtake them.",
    ),
    PrivateName(
        Client,
        "_pending_data_size",
        NameKind.ATTRIBUTE,
        "client",
        "Bytes of `_pending`: the flusher writes only if there are any. `post` adds to both, after "
        "nats-py has woken the flusher.",
    ),
    PrivateName(
        Client,
        "_status",
        NameKind.ATTRIBUTE,
        "client",
        "`send` is only for Client.CONNECTED. The property `is_connected` is also true while the "
        "client drains, and costs a call.",
    ),
    PrivateName(
        Client,
        "_max_payload",
        NameKind.ATTRIBUTE,
        "client",
        "The server's limit in bytes; the public property costs a call per message.",
    ),
    PrivateName(
        Client,
        "_process_msg",
        NameKind.COROUTINE,
        "client",
        "Called by nats-py's parser for every message that it parses itself; overridden to pass "
        "messages that were read in pieces to the fast-path callback.",
        ("sid", "subject", "reply", "data", "headers"),
    ),
    PrivateName(
        Client,
        "_current_server",
        NameKind.ATTRIBUTE,
        "client",
        "The server in use, with the URL whose scheme may be tls; None before the first attempt.",
    ),
    PrivateName(
        Client,
        "_process_info",
        NameKind.COROUTINE,
        "client",
        "Awaited with each server's first INFO, before the command that connects; overridden to "
        "have the server's challenge signed.",
        ("info", "initial_connection"),
    ),
    PrivateName(
        Client,
        "_attempt_reconnect",
        NameKind.COROUTINE,
        "client",
        "Closes the connection and waits for that; overridden to drop what is not written.",
    ),
    PrivateName(
        Client,
        "_connect_command",
        NameKind.METHOD,
        "client",
        "Called after the TLS handshake, if there is one; overridden to refuse a connection that "
        "has none and should.",
    ),
    PrivateName(
        Subscription,
        "_id",
        NameKind.ATTRIBUTE,
        "client",
        "The subscription's id in MSG commands, by which FastPathParser finds its callback.",
    ),
    PrivateName(
        Subscription,
        "_pending_queue",
        NameKind.ATTRIBUTE,
        "client",
        "The messages that wait for the subscription's callback, an asyncio.Queue; the fast path "
        "puts those of `subscribe_queued` there.",
    ),
    PrivateName(
        Subscription,
        "_pending_size",
        NameKind.ATTRIBUTE,
        "client",
        "The bytes of these messages. nats-py subtracts each one that it takes out.",
    ),
    PrivateName(
        TcpTransport,
        "_io_reader",
        NameKind.ATTRIBUTE,
        "transport",
        "The reader of the connection, set by `connect`.",
    ),
    PrivateName(
        TcpTransport,
        "_bare_io_reader",
        NameKind.ATTRIBUTE,
        "transport",
        "The reader before TLS, set by `connect`.",
    ),
    PrivateName(
        TcpTransport,
        "_io_writer",
        NameKind.ATTRIBUTE,
        "transport",
        "The writer of the connection, set by `connect`; None before the first connection.",
    ),
    PrivateName(
        TcpTransport,
        "_bare_io_writer",
        NameKind.ATTRIBUTE,
        "transport",
        "The writer before TLS, set by `connect`.",
    ),
    PrivateName(
        TcpTransport,
        "connect",
        NameKind.COROUTINE,
        "transport",
        "Overridden to read with a protocol of our own.",
        ("uri", "buffer_size", "connect_timeout"),
    ),
    PrivateName(
        TcpTransport,
        "writelines",
        NameKind.METHOD,
        "transport",
        "Called by nats-py's flusher; overridden to write first what `send` has collected.",
        ("payload",),
    ),
    PrivateName(
        TcpTransport,
        "drain",
        NameKind.COROUTINE,
        "transport",
        "Called by nats-py also on a client that never connected; overridden to allow that.",
    ),
    PrivateName(
        Parser,
        "buf",
        NameKind.ATTRIBUTE,
        "parser",
        "The part of a command that was read; while there is any, the fast path is closed.",
    ),
    PrivateName(
        Parser,
        "state",
        NameKind.ATTRIBUTE,
        "parser",
        "AWAITING_CONTROL_LINE when the next byte begins a command.",
    ),
    PrivateName(
        Parser,
        "parse",
        NameKind.COROUTINE,
        "parser",
        "Called by nats-py's read loop; overridden to take whole messages off the front of the "
        "data.",
        ("data",),
    ),
    PrivateName(
        JetStreamContext,
        "_api_request",
        NameKind.COROUTINE,
        "cluster_jetstream",
        "All requests to the API of JetStream, which are repeated in a cluster.",
        ("req_subject", "req", "timeout"),
    ),
    PrivateName(
        asyncio.StreamReader,
        "_buffer",
        NameKind.ATTRIBUTE,
        "transport",
        "Data that nats-py's read loop has not read; until it has, the fast path must not overtake "
        "it.",
    ),
)
