"""The output of a container in files, each line with its time, as a container runtime keeps it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns

import msgspec

_CHUNK_BYTES = 1 << 16


class LogRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a request for a log, as the API has them.

    Attributes:
        follow: Whether new lines follow until the process ends.
        previous: Whether the log is that of the process before.
        timestamps: Whether each line begins with its time.
        tail_lines: How many of the last lines to begin with; None for all.
        since: Older lines are left out; to the second, as a kubelet does.
        limit_bytes: The log ends after so many bytes; None for all.
    """

    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since: datetime | None = None
    limit_bytes: int | None = None

    def select(self, lines: list[bytes]) -> list[bytes]:
        """Return those of the lines of a log with which the answer begins."""
        if self.since is not None:
            lines = [line for line in lines if _time_of(line) >= self.since]
        first = 0 if self.tail_lines is None else max(len(lines) - self.tail_lines, 0)
        return lines[first:]

    def show(self, line: bytes) -> bytes:
        """Return a line of a log as it is sent."""
        return line if self.timestamps else text_of(line)


class ContainerLog:
    """The output of the process of a container that runs now, and of the one before.

    Args:
        file: For the one that runs now: lines of a time, a space and a text.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.previous = file.with_suffix(".previous")
        self._rest = b""
        self._starts = 0
        self._is_ended = True
        self._changed = asyncio.Event()

    def begin(self) -> None:
        """Note that a process starts: its output comes from now on."""
        if self.file.exists():
            self.file.replace(self.previous)
        self.file.touch()
        self._starts += 1
        self._is_ended = False

    def end(self) -> None:
        """Note that the process has ended."""
        if self._rest:
            self.append(b"\n")
        self._is_ended = True
        self._notify()

    async def copy(self, pipe: int) -> None:
        """Append the output of a process to its end, and close the end of the pipe."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb", buffering=0)
        )
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                self.append(chunk)
        finally:
            transport.close()

    def append(self, chunk: bytes) -> None:
        """Append output; each line gets the time of its end."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if lines:
            with self.file.open("ab") as file:
                file.writelines(b"%s %s\n" % (_now(), line) for line in lines)
            self._notify()

    def texts(self) -> bytes:
        """Return the output of the process that runs now, without times."""
        return texts_of(self.file.read_bytes())

    async def read(self, request: LogRequest) -> AsyncGenerator[bytes, None]:
        """Yield the lines that a request asks for."""
        left = request.limit_bytes
        async for line in self._lines(request):
            shown = request.show(line)[:left]
            yield shown
            if left is not None:
                left -= len(shown)
                if left <= 0:
                    return

    async def _lines(self, request: LogRequest) -> AsyncGenerator[bytes, None]:
        if request.previous:
            for line in request.select(_lines_of(self.previous.read_bytes())):
                yield line
            return
        number = self._starts
        with self.file.open("rb") as file:
            changed, is_ended = self._changed, self._is_ended
            lines = request.select(_lines_of(file.read()))
            while True:
                for line in lines:
                    yield line
                if is_ended or not request.follow:
                    return
                await changed.wait()
                # Another process may write another file by now.
                changed, is_ended = self._changed, self._is_ended or self._starts != number
                lines = _lines_of(file.read())

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def texts_of(log: bytes) -> bytes:
    """Return the lines of a log without their times."""
    return b"".join(map(text_of, _lines_of(log)))


def text_of(line: bytes) -> bytes:
    """Return a line of a log without its time."""
    return line.partition(b" ")[2]


def _lines_of(log: bytes) -> list[bytes]:
    return [line + b"\n" for line in log.split(b"\n")[:-1]]


def _now() -> bytes:
    """Return the time with nine digits after the second, as a container runtime writes it."""
    seconds, nanoseconds = divmod(time_ns(), 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}Z".encode()


def _time_of(line: bytes) -> datetime:
    return datetime.fromisoformat(line.partition(b" ")[0].decode())
