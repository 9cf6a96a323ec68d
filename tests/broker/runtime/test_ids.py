"""Ids of events: unique, and valid as ids of traces and spans."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from broker.runtime.ids import PROCESS_IDS, UNKNOWN_PROCESS, EventIds, new_id, process_of, span_of

PRINT = "from broker.runtime.ids import new_id; print(new_id())"


def test_ids_are_unique() -> None:
    assert len({new_id() for _ in range(1_000)}) == 1_000


def test_ids_are_unique_across_threads() -> None:
    with ThreadPoolExecutor(4) as threads:
        made = [new for part in threads.map(lambda _: make(20_000), range(4)) for new in part]

    assert len(set(made)) == len(made)


def test_a_forked_process_makes_other_ids() -> None:
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 32).decode() not in make(200)


def make(count: int) -> list[str]:
    return [new_id() for _ in range(count)]


def test_ids_differ_between_processes() -> None:
    made = [subprocess.check_output([sys.executable, "-c", PRINT]) for _ in range(2)]

    assert made[0] != made[1]


def test_an_id_is_valid_as_trace_id_and_contains_a_span_id() -> None:
    made = new_id()

    assert re.fullmatch("[0-9a-f]{32}", made)
    assert re.fullmatch("[0-9a-f]{16}", span_of(made))


def test_an_id_tells_which_process_has_made_it() -> None:
    others = EventIds()

    assert {process_of(made) for made in make(300)} == {PROCESS_IDS.process}
    assert process_of(others.new()) == others.process != PROCESS_IDS.process


@given(st.text())
def test_an_id_of_any_text_has_a_process_number_of_32_bits(event_id: str) -> None:
    assert UNKNOWN_PROCESS <= process_of(event_id) < 1 << 32
