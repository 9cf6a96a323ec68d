"""Ids of events: none twice, and valid as ids of traces and spans."""

from __future__ import annotations

import re
import subprocess
import sys

from broker.ids import new_id, span_of

PRINT = "from broker.ids import new_id; print(new_id())"


def test_no_two_ids_are_alike() -> None:
    assert len({new_id() for _ in range(1_000)}) == 1_000


def test_processes_make_ids_that_differ() -> None:
    made = [subprocess.check_output([sys.executable, "-c", PRINT]) for _ in range(2)]

    assert made[0] != made[1]


def test_an_id_is_one_of_a_trace_and_of_a_span() -> None:
    made = new_id()

    assert re.fullmatch("[0-9a-f]{32}", made)
    assert re.fullmatch("[0-9a-f]{16}", span_of(made))
