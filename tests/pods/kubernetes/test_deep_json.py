"""JSON that is nested too deeply for a decoder is split without one."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pods.kubernetes.deep_json import elements, members

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(values))
def test_the_elements_of_an_array_are_those_that_a_decoder_finds(array: list[object]) -> None:
    found = elements(msgspec.json.format(msgspec.json.encode(array), indent=2))

    assert [msgspec.json.decode(each) for each in found] == array


@given(st.dictionaries(st.text(), values))
def test_the_members_of_an_object_are_those_that_a_decoder_finds(
    object_: dict[str, object],
) -> None:
    found = members(msgspec.json.format(msgspec.json.encode(object_), indent=2))

    assert {key: msgspec.json.decode(each) for key, each in found.items()} == object_


def test_no_depth_is_too_much() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000

    found = members(b'{"spec":' + deep + b',"kind":"Environment"}')

    assert bytes(found["spec"]) == deep
    assert bytes(found["kind"]) == b'"Environment"'
