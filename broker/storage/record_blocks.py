"""Records in blocks of bytes, as a checkpoint holds them.

A block has some records of one kind in their packed form, which is read in a quarter of the time
that reading them from NATS takes. Records with secrets, and the few that a process does not pack,
are stored as JetStream has them: as JSON, with encrypted secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from broker.storage.sealed_records import SealedRecords
from kubefox.app import Module
from routing.snapshot.packed_records import Packing, RecordEntry, SharedContent, packing_of
from routing.snapshot.records import Records, Writer

BLOCK_RECORDS = 256
"""Records of a block: they are written or read in about 1 ms."""


class _Content(msgspec.Struct, array_like=True):
    """A SharedContent."""

    app: str
    title: str
    components: dict[str, str]
    modules: dict[str, Module]


class _StoredRecord(msgspec.Struct, array_like=True, gc=False):
    """A record.

    Attributes:
        name: Its name in its kind.
        revision: KV revision.
        packed: The packed record; empty if it is stored as JSON.
        contents: Numbers of its shared contents.
        json: The record as JetStream has it; empty if it is packed.
    """

    name: str
    revision: int
    packed: bytes
    contents: tuple[int, ...]
    json: bytes


class _Block(msgspec.Struct, array_like=True):
    """Records of one kind.

    Attributes:
        kind: Their kind.
        contents: The shared contents that no block before has; their numbers go on.
        records: The records.
    """

    kind: str
    contents: list[_Content]
    records: list[_StoredRecord]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Block).decode


class BlockWriter:
    """Makes the blocks of some records.

    Args:
        records: The records.
        sealed_records: Encodes those with secrets.
    """

    def __init__(self, records: Records, sealed_records: SealedRecords) -> None:
        self._records = records
        self._sealed_records = sealed_records
        self._numbers: dict[SharedContent, int] = {}
        self._new: list[_Content] = []

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return sum([-(-len(entries) // BLOCK_RECORDS) for entries in self._records.kinds.values()])

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks, one in each step."""
        for kind, entries in self._records.kinds.items():
            waiting: list[_StoredRecord] = []
            for name, entry in entries.items():
                waiting.append(self._stored(kind, name, entry))
                if len(waiting) == BLOCK_RECORDS:
                    yield self._block(kind, waiting)
                    waiting = []
            if waiting:
                yield self._block(kind, waiting)

    def _block(self, kind: str, records: list[_StoredRecord]) -> bytes:
        contents, self._new = self._new, []
        return _encode(_Block(kind, contents, records))

    def _stored(self, kind: str, name: str, entry: RecordEntry[Any]) -> _StoredRecord:
        if entry.is_packed and not entry.has_secrets:
            contents = tuple(map(self._number, entry.contents))
            return _StoredRecord(name, entry.revision, entry.content, contents, b"")
        value = self._sealed_records.encode(f"{kind}.{name}", entry.record)
        return _StoredRecord(name, entry.revision, b"", (), value)

    def _number(self, content: SharedContent) -> int:
        found = self._numbers.get(content)
        if found is None:
            found = self._numbers[content] = len(self._numbers)
            self._new.append(
                _Content(content.app, content.title, content.components, content.modules)
            )
        return found


class BlockReader:
    """Adds the records of blocks to a writer.

    Args:
        writer: Takes the records.
        sealed_records: Decodes those with secrets.
    """

    def __init__(self, writer: Writer, sealed_records: SealedRecords) -> None:
        self._writer = writer
        self._sealed_records = sealed_records
        self._contents: list[SharedContent] = []

    def add(self, content: bytes) -> None:
        """Add the records of the next block; the blocks must come in their order.

        Raises:
            msgspec.MsgspecError: It is no block.
            FoxError: A record cannot be decoded.
        """
        block = _decode(content)
        self._contents += map(SharedContent.of, block.contents)
        packing = packing_of(block.kind)
        entries = {
            stored.name: self._packed(packing, stored)
            if stored.packed
            else self._decoded(block.kind, stored)
            for stored in block.records
        }
        self._writer.restore(block.kind, entries)

    def _packed(self, packing: Packing, stored: _StoredRecord) -> RecordEntry[Any]:
        shared = packing.shared_of([self._contents[number] for number in stored.contents])
        return RecordEntry(packing, stored.packed, shared, stored.revision)

    def _decoded(self, kind: str, stored: _StoredRecord) -> RecordEntry[Any]:
        record = self._sealed_records.decode(f"{kind}.{stored.name}", stored.json)
        return RecordEntry.of(kind, record, stored.revision)
