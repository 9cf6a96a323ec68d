"""Records are the same after they were written in blocks and read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.record_blocks import BLOCK_RECORDS, BlockReader, BlockWriter
from broker.storage.sealed_records import SealedRecords
from kubefox.deployment import Deployment
from kubefox.errors import InvalidEvent
from kubefox.records import KINDS, Change, Record
from routing.snapshot.records import Records
from tests.broker.storage.test_sealed_records import OneKey
from tests.routing.snapshot.test_packed_records import deployment, strategy_of

SEALED = SealedRecords(OneKey())


def is_storable(record: Record) -> bool:
    """Return whether JetStream could have the record: JSON knows no infinity, for example."""
    key = f"{next(kind for kind, type_ in KINDS.items() if type_ is type(record))}.n"
    try:
        return SEALED.decode(key, SEALED.encode(key, record)) == record
    except InvalidEvent:
        return False


def records_of(kind: str, found: Mapping[str, Record], *, has_labels: bool = True) -> Records:
    writer = Records.empty(has_labels=has_labels).writer()
    for revision, (name, record) in enumerate(found.items(), start=7):
        writer.write(Change(key=f"{kind}.{name}", revision=revision, record=record))
    return writer.finish()


def read_again(before: Records, *, has_labels: bool = True) -> Records:
    writer = Records.empty(has_labels=has_labels).writer()
    reader, blocks = BlockReader(writer, SEALED), BlockWriter(before, SEALED)
    found = list(blocks.blocks())
    assert len(found) == blocks.count
    for block in found:
        reader.add(block)
    return writer.finish()


def known(records: Records) -> dict[str, Any]:
    """Return all that is known of records."""
    kinds = {
        kind: {name: (entry.record, entry.revision) for name, entry in entries.items()}
        for kind, entries in records.kinds.items()
    }
    labelled = {label: set(names) for label, names in (records.labelled or {}).items()}
    return {
        "kinds": kinds,
        "uses": dict(records.uses),
        "labelled": labelled,
        "rolling": dict(records.rolling),
        "revision": records.revision,
    }


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_records_of_each_kind_are_the_same(kind: str, data: st.DataObject) -> None:
    found = data.draw(st.lists(strategy_of(KINDS[kind]).filter(is_storable), max_size=3))
    before = records_of(kind, {f"n{number}": record for number, record in enumerate(found)})

    assert known(read_again(before)) == known(before)


def test_records_of_several_blocks_share_their_contents() -> None:
    found = {f"n{number}": deployment(number) for number in range(2 * BLOCK_RECORDS + 1)}
    before = records_of("deployment", found, has_labels=False)

    after = read_again(before, has_labels=False)

    assert len(list(BlockWriter(before, SEALED).blocks())) == 3
    assert len({id(entry.shared) for entry in after.deployments.values()}) == 1
    assert after.labelled is None
    assert all(isinstance(entry.record, Deployment) for entry in after.deployments.values())
