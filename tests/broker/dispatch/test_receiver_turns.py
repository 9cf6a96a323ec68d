"""Between two handlers that hold the loop, a receiver reads what has arrived and writes answers."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from broker.dispatch.event_queue import HOLD_S
from broker.dispatch.handling import Reply
from broker.dispatch.receiving import receive
from broker.nats.bus import Bus
from kubefox import codec
from kubefox.event import Event
from kubefox.subjects import REPLY
from tests.support.nats import NatsServer
from tests.support.receiving import event

LIMIT_S = 20
FLOOD, NEIGHBOUR = "flood", "neighbour"
EVENTS = 8


class Sender:
    """A client of NATS that works while the loop is held; it never waits for the loop."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._received = b""
        self._write(b"CONNECT {}\r\nSUB %s> 1\r\n" % REPLY.encode())

    def send_event(self, context: str) -> None:
        """Send an event of a lane."""
        head = msgspec.structs.replace(event(context), context=context)
        self.publish("work", codec.encode(head), f"{REPLY}sender.1")

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Send one message."""
        self._write(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    def get_answers(self, count: int) -> bool:
        """Return whether so many answers arrive while the loop is held."""
        return hold_loop_until(lambda: self._read().count(b"MSG ") >= count)

    def _read(self) -> bytes:
        with contextlib.suppress(BlockingIOError):
            self._received += self._connection.recv(1 << 16)
        return self._received

    def _write(self, command: bytes) -> None:
        assert self._connection.send(command) == len(command)


@pytest.fixture
def sender(own_nats_server: NatsServer) -> Iterator[Sender]:
    with socket.create_connection(("127.0.0.1", own_nats_server.port)) as connection:
        yield Sender(connection)


@pytest.fixture
def unread(bus: Bus) -> Iterator[socket.socket]:
    """A second descriptor of the connection to NATS, to look at what the loop has not read."""
    writer = bus._client._transport._io_writer
    assert writer is not None
    descriptor = writer.get_extra_info("socket").fileno()
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        copy.setblocking(False)
        yield copy


def hold_loop_until(is_true: Callable[[], bool]) -> bool:
    """Hold the loop for so long that events take turns, and until a condition is true.

    Returns:
        Whether it has become true.
    """
    begin_s = time.perf_counter()
    while time.perf_counter() < begin_s + LIMIT_S:
        if time.perf_counter() > begin_s + HOLD_S + 0.001 and is_true():
            return True
    return False


def has_arrived(unread: socket.socket, text: str) -> bool:
    try:
        waiting = unread.recv(1 << 20, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return text.encode() in waiting


@pytest.mark.parametrize("in_front", [0, 1, 3])
async def test_an_event_that_arrives_while_a_handler_holds_the_loop_is_next(
    bus: Bus, sender: Sender, unread: socket.socket, in_front: int
) -> None:
    begun: list[str] = []
    arrived: list[bool] = []

    async def note(payload: bytes, reply: str) -> None: ...

    async def handle(head: Event, body: codec.Body) -> Reply:
        begun.append(head.context)
        if head.context == FLOOD:
            if len(begun) == EVENTS // 2:
                for _ in range(in_front):
                    sender.publish("other", b"")
                sender.send_event(NEIGHBOUR)
                arrived.append(hold_loop_until(lambda: has_arrived(unread, NEIGHBOUR)))
            hold_loop_until(lambda: True)
        return Reply()

    await bus.serve("other", note)
    async with receive(bus, "work", "q", handle, source="api@1", max_wait_s=60):
        for _ in range(EVENTS):
            sender.send_event(FLOOD)
        while len(begun) < EVENTS + 1:
            await bus.flush()

    assert arrived == [True]
    assert begun.index(NEIGHBOUR) == EVENTS // 2


async def test_an_answer_is_written_before_the_next_handler_begins(
    bus: Bus, sender: Sender
) -> None:
    are_written: list[bool] = []

    async def handle(head: Event, body: codec.Body) -> Reply:
        if all(are_written):
            are_written.append(sender.get_answers(len(are_written)))
        return Reply()

    async with receive(bus, "work", "q", handle, source="api@1", max_wait_s=60):
        for _ in range(EVENTS):
            sender.send_event(FLOOD)
        while len(are_written) < EVENTS and all(are_written):
            await bus.flush()

    assert are_written == [True] * EVENTS
