"""A change log returns what changed since a position, or says that it does not know any more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routing.change_log import ChangeLog

LIMIT = 5


@given(st.lists(st.none() | st.integers(0, 9), max_size=20), st.data())
def test_a_reader_misses_no_change(steps: list[int | None], data: st.DataObject) -> None:
    log = ChangeLog[int](LIMIT)
    positions = [log.position]
    for step in steps:
        if step is None:
            log.reset()
        else:
            log.add(step)
        positions.append(log.position)
    at = data.draw(st.integers(0, len(steps)))

    found = log.since(positions[at])

    missed = steps[at:]
    if None in missed or len(missed) > LIMIT:
        assert found is None
    else:
        assert found is not None
        assert set(found) == set(missed)


def test_a_reader_that_has_read_nothing_reads_everything() -> None:
    assert ChangeLog[int]().since(-1) is None
