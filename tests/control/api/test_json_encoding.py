"""Large answers are encoded in short steps, and are the JSON that msgspec makes at once."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from control.api.json_encoding import encode_in_steps
from kubefox.steps import finish
from tests.support.bounded_work import MAX_CALLS, most_calls_of_a_step


class Row(msgspec.Struct, rename="camel"):
    """A row with renamed fields, one of them sometimes unset."""

    row_name: str
    items: tuple[int, ...] = ()
    memo: str | UnsetType = UNSET


class Table(msgspec.Struct):
    """An answer with rows."""

    rows: tuple[Row, ...]
    by_name: dict[str, Row] = {}


rows = st.builds(
    Row,
    row_name=st.text(max_size=3),
    items=st.sampled_from([(), (1, 2)]),
    memo=st.sampled_from([UNSET, "m"]),
)
tables = st.builds(
    Table,
    rows=st.builds(
        lambda few, times, large: (*(few * times), *large),
        st.lists(rows, max_size=3),
        st.sampled_from([1, 300]),
        st.sampled_from([(), (Row("large", tuple(range(600))),)]),
    ),
    by_name=st.dictionaries(st.text(max_size=2), rows, max_size=3),
)


@given(tables)
@settings(max_examples=50)
def test_the_json_is_the_one_of_msgspec(table: Table) -> None:
    for answer in (table, table.rows, table.by_name, [table, None, 1.5, "x"]):
        assert finish(encode_in_steps(answer)) == msgspec.json.encode(answer)


@pytest.mark.parametrize(
    "answer",
    [
        Table(tuple(Row(str(number)) for number in range(20_000))),
        Table((Row("one", tuple(range(100_000))), Row("two"))),
        [[Row(str(number)) for number in range(200)] for _ in range(100)],
        {str(number): number for number in range(50_000)},
    ],
    ids=["rows", "items", "lists of lists", "object"],
)
def test_a_large_answer_is_encoded_in_short_steps(answer: object) -> None:
    assert most_calls_of_a_step(encode_in_steps(answer)) < MAX_CALLS
